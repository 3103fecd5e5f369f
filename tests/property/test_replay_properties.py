"""What holds for every replay: nobody is lost, bills close, the same input gives the same."""

import math
from operator import ge

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_worlds import (
    POLICIES,
    box,
    catalogue_of,
    frozen,
    hosted,
    kind,
    strong,
    trace_of,
    world_of,
)

from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, Settings
from router.replay.run import replay

FLEETS = catalogue_of(
    box("a", replicas={"min": 1, "max": 3, "concurrency_each": 2}),
    box("a2", usd_per_hour=2, replicas={"min": 0, "max": 2, "concurrency_each": 2}),
    strong("mixed", profile="box/mixed", replicas={"min": 1, "max": 1, "concurrency_each": 4}),
    strong(
        "p5",
        usd_per_hour=None,
        instance="p5.48xlarge",
        region="us-east-1",
        purchase="spot",
        profile="p5.48xlarge/llama-4-scout",
        replicas={"min": 1, "max": 2, "concurrency_each": 64},
    ),
    hosted("api", fallback_usd_per_mtok=2.0),
)
BUDGET = """
budgets:
  - {id: team, match: {team: "*"}, usd: 0.002, per: hour, when_spent: reject}
  - {id: all, match: {tenant: "*"}, usd: 0.004, per: day, when_spent: downgrade, hard_usd: 0.008}
"""
TIGHT = """
version: 1
name: tight
baseline: big@p5
defaults:
  limits: {deadline_ms: 20000, ttft_timeout_ms: 3000}
  slo: {ttft_p95_ms: null, e2e_p95_ms: null}
rules: [{id: all, use: [a, a2, mixed], quality_floor: 0}]
"""
WORLDS = [
    world_of(policy, FLEETS)
    for policy in (*POLICIES[:3], POLICIES[0] + BUDGET, TIGHT, TIGHT + BUDGET)
]
KINDS = (
    kind(),
    kind(tier="heavy", task="code", team="ads", service_class="interactive"),
    kind(n=2, max_tokens=40, service_class="deferrable"),
    kind(max_usd=0.001, requested_model="auto:best", may=("best",)),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.1, 2.0, 30.0, 400.0]),  # since the one before
        st.sampled_from([1, 200, 3000]),
        st.sampled_from([1, 30, 400]),
        st.sampled_from([0, 0, 0, 1, 2, 3]),
        st.sampled_from([10, 100]),
    ),
    min_size=1,
    max_size=40,
)


def trace(rows):
    at_s, found = 0.0, []
    for gap_s, tokens_in, tokens_out, of, expected in rows:
        at_s += gap_s
        found.append((at_s, tokens_in, tokens_out, {"kind": of, "expected": expected}))
    return trace_of(found, KINDS)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(WORLDS) - 1),
    ROWS,
    st.sampled_from([Settings(), Settings(3, 2, 20.0, 13.0), Settings(0, 0, 0.0, 300.0)]),
)
def test_nobody_is_lost_bills_close_and_the_same_gives_the_same(which, rows, given_):
    world, asked = WORLDS[which], trace(rows)
    out = replay(world, asked, given_)
    assert set(out.outcome) <= {SERVED, REFUSED, TIMED_OUT}
    assert sum(out.refusals.values()) == out.outcome.count(REFUSED)
    for i, outcome in enumerate(out.outcome):
        if outcome == SERVED:
            assert 0 <= out.ttft_ms[i] <= out.e2e_ms[i] * (1 + 1e-6)
            assert out.fleet[i] >= 0
        else:
            assert math.isnan(out.e2e_ms[i])
    charged = sum(nano for nano in out.usd_nano if nano > 0)
    assert sum(fleet.usd_allocated for fleet in out.fleets) == pytest.approx(charged / 1e9)
    for fleet in out.fleets:
        assert len(fleet.usd) == len(fleet.replicas) == len(fleet.paid) == len(fleet.in_flight)
        assert all(map(ge, fleet.paid, fleet.replicas))
        if fleet.usd_bill is None:
            continue
        idle, variance = fleet.usd_bill - fleet.usd_busy, fleet.usd_busy - fleet.usd_allocated
        assert fleet.usd_allocated + idle + variance == pytest.approx(fleet.usd_bill)
        assert fleet.usd_bill >= fleet.usd_busy * (1 - 1e-9) or fleet.usd_bill == 0
        assert list(fleet.usd) == sorted(fleet.usd)
    assert frozen(replay(world, asked, given_)) == frozen(out)

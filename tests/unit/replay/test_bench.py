"""Several policies over one trace, and what is told of them."""

from dataclasses import replace
from functools import partial

import pytest
from replayed import LARGE, SMALL, by_hand, fleet_run, kind, replayed, served, trace

from router.replay.baseline import Alone
from router.replay.bench import Asked, bench, delta_json, found_json, moved
from router.replay.curve import SHARES
from router.replay.outcome import REFUSED, TIMED_OUT
from router.replay.summary_json import saving

CONTRACT = {
    "requests",
    "usd_total",
    "usd_allocated",
    "usd_idle",
    "usd_router",
    "usd_baseline",
    "slo_attainment",
    "ttft_ms",
    "by_fleet",
    "by_rule",
    "assumptions",
}


def engine(world, trace, *, bill=4.0, ms=100.0):
    """Serve all at the last fleet, at once and for a fixed bill."""
    names = [fleet.id for fleet in world.catalogue.fleets]
    runs = [fleet_run(name, bill=bill, busy=1.0, allocated=0.75) for name in names]
    rows = [(names[-1], 0, 0, ms, 2 * ms, 10)] * len(trace)
    return replayed(rows, fleets=runs, router=0.5)


def made(run=engine, **asked):
    traces = [kind("simple"), kind("heavy")]
    return bench([by_hand()], trace(traces), run, Asked(**asked), lambda _: None)[0]


def test_json_has_what_the_contract_names():
    told = found_json(made())
    assert set(told) >= CONTRACT
    assert {"p50", "p95"} <= set(told["ttft_ms"])
    assert told["requests"] == 2


def test_the_sums_close():
    told = found_json(made())
    parts = ("usd_allocated", "usd_idle", "usd_variance", "usd_router")
    assert sum(told[part] for part in parts) == pytest.approx(told["usd_total"])
    for row in told["by_fleet"]:
        parts = ("usd_allocated", "usd_idle", "usd_variance")
        assert sum(row[part] for part in parts) == pytest.approx(row["usd_bill"])


def test_the_saving_is_against_the_baseline_alone():
    told = found_json(made())
    assert told["usd_baseline"] == 4.5  # one fleet and the router
    assert told["saving"] == pytest.approx(1 - told["usd_total"] / 4.5)


def test_unknown_money_is_null_and_never_zero():
    told = found_json(made(partial(engine, bill=None)))
    for name in ("usd_total", "usd_idle", "usd_baseline", "saving"):
        assert told[name] is None


def test_a_trace_without_texts_is_replayed_at_every_simple_share():
    shares = []

    def at(share):
        shares.append(share)
        return trace([kind("simple"), kind("heavy")])

    told = found_json(made(traces=at))
    assert shares == list(SHARES)
    assert [row["simple_share"] for row in told["saving_by_simple_share"]] == list(SHARES)


def test_a_delta_is_what_the_new_policy_has_more():
    new, old = made(partial(engine, bill=3.0, ms=80.0)), made()
    told = delta_json(new, old)
    fleets = len(new.run.fleets)
    assert told["usd_total"] == pytest.approx(-1.0 * fleets)
    assert told["ttft_ms"]["p95"] == pytest.approx(-20.0)
    assert told["moved"] == 0


def test_who_moved_is_told_by_the_fleets_names():
    both = [fleet_run(SMALL), fleet_run(LARGE)]
    old = replayed([served(SMALL, 0, 1, 2), served(LARGE, 0, 1, 2), served(SMALL, 0, 1, 2)])
    rows = [served(SMALL, 0, 1, 2), served(SMALL, 0, 1, 2), (None, 0, REFUSED, None, None, 0)]
    assert moved(replayed(rows, fleets=both), old) == 2
    assert moved(replayed(rows, fleets=both[::-1]), old) == 2


def test_who_is_too_late_on_the_same_fleet_has_moved():
    old = replayed([served(SMALL, 0, 1, 2)] * 2)
    late = replayed([served(SMALL, 0, 1, 2), (SMALL, 0, TIMED_OUT, None, None, 5)])
    assert moved(late, old) == moved(old, late) == 1
    assert moved(late, late) == 0


def test_a_delta_and_a_saving_hold_both_bills_until_the_later_end():
    def ends(seconds):
        def run(world, trace):
            found = engine(world, trace)
            found.seconds = seconds
            return found

        return run

    short, long = made(ends(60.0)), made(ends(90.0))
    told = delta_json(long, short)
    fleets = len(short.run.fleets)
    assert told["usd_total"] == pytest.approx(fleets * (4.0 - 6.0))  # the short one's looks go on
    assert told["usd_idle"] == pytest.approx(fleets * (3.0 - 5.0))
    alone = replace(short.baseline.run, seconds=90.0)
    beside = Alone(lambda _world, _trace: alone, 60.0)
    found = beside.of(short.at, trace([kind("simple"), kind("heavy")]), short.run, 1.0)
    assert (found.money.total, found.usd_policy) == (4.5, pytest.approx(fleets * 6.0 + 0.5))
    assert saving(found) == pytest.approx(1 - (fleets * 6.0 + 0.5) / 4.5)

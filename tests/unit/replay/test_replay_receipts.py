"""What a replay makes of receipts and of profiles that were measured at several lengths."""

from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from router.replay.choosing import Choosers
from router.replay.fleet import Fleet
from router.replay.run import replay
from router.sources import Sources
from router.traces.mix import Mix
from router.traces.opening import open_trace

PROFILES = """
version: 1
profiles:
  - id: measured
    model: m
    instance: here
    source: test
    mark: measured
    points:
      - {concurrency: 1, tokens_in: 100, tokens_out: 100, tok_s: 100, ttft_ms: 50, itl_ms: 10}
      - {concurrency: 1, tokens_in: 1000, tokens_out: 100, tok_s: 33, ttft_ms: 500, itl_ms: 30}
"""
FLEETS = """
version: 1
models: [{{id: m, context_tokens: 32000}}]
fleets:
  - {{id: one, model: m, lane: cpu, engine: {engine}, kind: {kind}, url: "http://127.0.0.1:9/v1",
     instance: here, region: local, usd_per_hour: 1, profile: measured,
     replicas: {{min: 1, max: 1, concurrency_each: 1}}}}
"""
POLICY = """
version: 1
name: p
baseline: m@one
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules:
  - {id: ours, when: {tenant: tenant-7}, use: cpu}
  - {id: all, use: cpu}
"""


@pytest.fixture
def world(tmp_path):
    def of(kind="openai_http", engine="llama.cpp"):
        state = tmp_path / kind
        (state / "profiles").mkdir(parents=True)
        (state / "profiles" / "measured.yaml").write_text(PROFILES)
        fleets, policy = state / "fleets.yaml", state / "policy.yaml"
        fleets.write_text(FLEETS.format(kind=kind, engine=engine))
        policy.write_text(POLICY)
        return Sources(Path(state), fleets, policy).load()

    return of


def one_request(tokens_in, counted=None):
    text = f"gen:poisson?rate=0.01&seconds=300&in=fixed:{tokens_in}&out=fixed:100"
    trace = open_trace(text, Mix(length_error=0.0))
    column = None if counted is None else array("l", [counted] * len(trace))
    return replace(trace, counted=column)


def decode_ms(world, trace):
    run = replay(world, trace)
    return run.e2e_ms[0] - run.ttft_ms[0]


def test_lengths_that_were_measured_have_their_own_speeds_on_a_real_fleet(world):
    found = world()
    short, long = (decode_ms(found, one_request(tokens)) for tokens in (100, 1000))
    assert short == pytest.approx(99 * 10, rel=0.01)
    assert long == pytest.approx(99 * 30, rel=0.01)


def test_an_emulated_fleet_goes_by_the_concurrency_alone_as_the_emulator_does(world):
    found = world("emulated", "emulated")
    short, long = (decode_ms(found, one_request(tokens)) for tokens in (100, 1000))
    assert short == pytest.approx(long, rel=0.01)


def test_prompts_take_and_cost_what_the_fleet_counted_not_what_the_router_estimated(world):
    found = world()
    estimated, counted = (replay(found, one_request(100, count)) for count in (None, 1000))
    assert counted.ttft_ms[0] > 5 * estimated.ttft_ms[0]
    assert counted.usd_nano[0] > estimated.usd_nano[0]


def test_tenants_share_what_decides_about_them_unless_a_rule_tells_them_apart(world):
    found = world()
    kind = one_request(100).kinds[0]
    kinds = [replace(kind, tenant=f"tenant-{n}", key=f"key-{n}") for n in range(50)]
    fleets = [Fleet(place, on) for place, on in enumerate(found.fleets)]
    choosers = Choosers(found, fleets)
    cases = [choosers.of(kind) for kind in kinds]
    assert len({id(each) for each in cases}) == 2
    assert [case.rule for case in cases[7]] == [0]
    assert [case.rule for case in cases[8]] == [1]

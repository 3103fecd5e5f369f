"""A cascade in a replay: an answer that isn't good enough is charged, and asked for again."""

import pytest
from replay_worlds import box, catalogue_of, strong, trace_of, world_of

from router.replay.outcome import REFUSED, SERVED
from router.replay.run import replay

POLICY = """
version: 1
name: cascade
baseline: big@p5
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules: [{id: all, cascade: {try: cpu, accept_if: {json_valid: true}, then: accelerator}}]
"""
P5 = strong("p5", usd_per_hour=90, profile="p5.48xlarge/llama-4-scout")


def outcome(acceptable, p_small=0.5, many=1):
    world = world_of(POLICY, catalogue_of(box("a"), P5))
    rows = [(60.0 * i, 20, 10, {"acceptable": acceptable, "p_small": p_small}) for i in range(many)]
    return world, replay(world, trace_of(rows))


def test_a_good_answer_is_kept_and_comes_whole():
    _, out = outcome(1)
    assert (out.fleets[out.fleet[0]].fleet, out.ttft_ms[0]) == ("a", out.e2e_ms[0])


def test_a_weak_answer_is_charged_beside_the_one_that_follows():
    world, out = outcome(0)
    both = [world.fleets[place].card.charge_nano(20, 0, 10) for place in (0, 1)]
    assert out.usd_nano[0] == sum(both)
    assert out.fleets[out.fleet[0]].fleet == "p5"
    assert [run.requests for run in out.fleets] == [1, 1]
    assert [run.usd_allocated for run in out.fleets] == pytest.approx([n / 1e9 for n in both])
    assert out.outcome[0] == SERVED
    assert any("cascade" in said for said in out.assumptions)


def test_where_nobody_follows_a_weak_answer_is_none():
    cold = strong("p5", replicas={"min": 0, "max": 1, "concurrency_each": 4})
    world = world_of(POLICY, catalogue_of(box("a"), cold))
    out = replay(world, trace_of([(0.0, 20, 10, {"acceptable": 0})]))
    assert out.outcome[0] == REFUSED
    assert out.refusals == {"upstream_failed": 1}
    assert out.usd_nano[0] > 0


def test_what_the_trace_says_nothing_of_is_kept_as_often_as_p_small_says():
    _, out = outcome(-1, 0.7, many=300)
    kept = sum(out.fleets[place].fleet == "a" for place in out.fleet) / 300
    assert 0.6 < kept < 0.8

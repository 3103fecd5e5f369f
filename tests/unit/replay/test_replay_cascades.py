"""A cascade in a replay: an answer that isn't good enough is charged, and asked for again."""

import pytest
from replay_worlds import box, catalogue_of, kind, strong, trace_of, world_of

from backends.load import Load
from router.replay.draws import Draws
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT
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


def test_a_weak_answer_that_is_none_wakes_nobody_once_more_when_it_ends():
    # Its try takes longer than the fleet that it woke stays awake.
    cold = strong("p5", replicas={"min": 0, "max": 1, "concurrency_each": 4})
    patient = "{limits: {deadline_ms: 9000000, ttft_timeout_ms: 60000}, max_output_tokens: 90000, "
    world = world_of(POLICY.replace("{", patient, 1), catalogue_of(box("a", model="big"), cold))
    out = replay(world, trace_of([(0.0, 20, 90_000, {"acceptable": 0, "expected": 10})]))
    assert out.refusals == {"upstream_failed": 1}
    run = next(run for run in out.fleets if run.fleet == "p5")
    assert run.replicas[-1] == 0
    assert run.starts == 1


def test_what_the_trace_says_nothing_of_is_kept_as_often_as_p_small_says():
    _, out = outcome(-1, 0.7, many=300)
    kept = sum(out.fleets[place].fleet == "a" for place in out.fleet) / 300
    assert 0.6 < kept < 0.8


def waiting(ttft_timeout_ms, first, tokens_out):
    """Return what becomes of one request whose first answer, of the fleet `first`, is no good."""
    limits = f"{{ttft_timeout_ms: {ttft_timeout_ms}, deadline_ms: 60000}}"
    policy = POLICY.replace("big@p5", "big@b").replace("{", f"{{limits: {limits}, ", 1)
    world = world_of(policy, catalogue_of(first, strong("b")))
    return world, replay(world, trace_of([(0.0, 500, tokens_out, {"acceptable": 0})]))


def test_the_time_to_a_first_token_is_counted_anew_for_each_attempt():
    # The first token of each takes 4.85 s, and the second attempt begins at 7.6 s.
    _, out = waiting(8000, box("a"), 100)
    assert out.outcome[0] == SERVED
    assert out.ttft_ms[0] > 8000


def test_a_later_attempt_is_given_up_when_its_own_time_is_over():
    fast = box("a", profile="p5.48xlarge/llama-4-scout")
    world, out = waiting(4000, fast, 100)
    assert out.outcome[0] == TIMED_OUT
    first, then = world.fleets
    assert out.seconds == pytest.approx(4 + first.predict(500, 100, 1, Load()).e2e_p50_ms / 1000)
    assert out.usd_nano[0] == first.card.charge_nano(500, 0, 100) + then.card.charge_nano(500, 0, 0)


def test_whether_an_answer_is_kept_hangs_on_the_request_alone():
    rule = "{id: heavy, when: {tier: heavy}, use: accelerator}, "
    world = world_of(POLICY.replace("[{", f"[{rule}{{", 1), catalogue_of(box("a"), P5))
    row = {"acceptable": -1, "p_small": 0.5}
    luck = []
    for of in (0, 1):  # of one request: a cascade is asked for it, or none
        rows = [(60.0 * i, 20, 10, {**row, "kind": of if i == 7 else 0}) for i in range(60)]
        luck.append(replay(world, trace_of(rows, (kind(), kind(tier="heavy")))).fleet)
    assert luck[0][8:] == luck[1][8:]
    assert set(luck[0][8:]) == {0, 1}


def test_numbers_by_place_are_those_one_after_the_other():
    by_place = Draws(3, "cascades")
    in_order = Draws(3, "cascades")
    assert [by_place.at(i) for i in range(5)] == [in_order.next() for _ in range(5)]

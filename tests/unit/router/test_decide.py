"""From facts and loads to a plan, over the embedded catalogue and policy."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.load import Load
from policies.model import Facts
from router.decide import decide
from router.receipt import (
    RECOMPUTED,
    Outcome,
    decision_part,
    facts_from,
    load_from,
    receipt,
)
from router.sources import Sources

WORLD = Sources(Path("nowhere")).load()
IDLE = tuple(Load(committed=on.fleet.replicas.min) for on in WORLD.fleets)
TICKET = Facts(
    at="2026-01-05T12:00:00.000Z",
    tenant="acme",
    team=None,
    key="k",
    tags={},
    task="classification",
    tier="simple",
    complexity=0.1,
    p_small=0.95,
    language="zh-Hans",
    tokens_in=40,
    tokens_out=4,
    tokens_in_bound=300,
)
PROOF = replace(TICKET, task="math", tier="heavy", complexity=0.9, p_small=0.2, tokens_out=400)


def plan(facts, loads=IDLE, **more):
    return [a.candidate.fleet for a in decide(WORLD, facts, loads, **more).plan.attempts]


def with_load(fleet, **changes):
    return tuple(
        replace(load, **changes) if on.fleet.id == fleet else load
        for on, load in zip(WORLD.fleets, IDLE, strict=True)
    )


def test_simple_work_goes_to_the_cpu_and_heavy_work_to_paid_idle_capacity():
    assert plan(TICKET)[0] == "local-qwen3-tiny"
    assert plan(PROOF)[0] == "trn2-scout"  # the only accelerator with committed replicas


def test_a_busy_committed_fleet_loses_to_the_cheapest_by_the_card():
    assert plan(PROOF, with_load("trn2-scout", in_flight=700))[0] == "inf2-scout"


def test_an_open_circuit_is_passed_over():
    assert plan(TICKET, with_load("local-qwen3-tiny", state="open-circuit"))[0] == "trn2-scout"


def test_a_fleet_at_its_limit_is_passed_over_and_below_it_is_not():
    for in_flight, first in ((1, "local-qwen3-tiny"), (2, "trn2-scout"), (3, "trn2-scout")):
        loads = with_load("local-qwen3-tiny", in_flight=in_flight, limit=2)
        assert plan(TICKET, loads)[0] == first
    full = decide(WORLD, TICKET, with_load("local-qwen3-tiny", in_flight=2, limit=2)).verdict
    assert [(r.candidate.fleet, r.code) for r in full.refused] == [("local-qwen3-tiny", "at_limit")]


def test_a_load_without_a_limit_is_one_of_an_older_receipt_and_never_full():
    loads = [load_from({"state": "ready", "in_flight": 4, "replicas": 1, "committed": 1})]
    assert loads[0].limit is None
    assert plan(TICKET, with_load("local-qwen3-tiny", limit=None, in_flight=1))


def test_a_full_cpu_lane_overflows_to_the_accelerators():
    assert plan(TICKET, with_load("local-qwen3-tiny", in_flight=200))[0] == "trn2-scout"


def test_no_more_attempts_than_the_policy_allows():
    assert len(plan(TICKET)) == WORLD.policy.defaults.limits.attempts


def test_the_cap_of_the_caller_holds_for_all_attempts_together():
    first = decide(WORLD, PROOF, IDLE).plan.attempts[0]
    usd = first.candidate.usd_at_most(first.max_tokens)
    facts = replace(PROOF, max_usd=usd * 1.01)
    attempts = decide(WORLD, facts, IDLE).plan.attempts
    assert attempts
    assert sum(a.candidate.usd_at_most(a.max_tokens) for a in attempts) <= facts.max_usd


@pytest.mark.parametrize(("asked", "limit"), [(7, 7), (None, 4096)])
def test_the_output_limit_is_the_callers_else_the_policys(asked, limit):
    facts = replace(PROOF, max_tokens=asked)
    assert decide(WORLD, facts, IDLE).plan.attempts[0].max_tokens == limit


def test_the_policys_limit_shrinks_to_the_room_in_the_context():
    attempt = decide(WORLD, replace(TICKET, tokens_in=200), IDLE).plan.attempts[0]
    assert attempt.max_tokens == 2048 - 220 - 32  # what the count of the prompt may be wrong by


def test_a_long_wish_counts_as_far_as_the_policy_lets_it_come_true():
    wish = replace(PROOF, tokens_out=67_500)
    longest = replace(PROOF, tokens_out=WORLD.policy.defaults.max_output_tokens)
    ours, same = decide(WORLD, wish, IDLE), decide(WORLD, longest, IDLE)
    assert decision_part(ours) == decision_part(same)


def test_images_have_no_known_worst_case_and_are_refused_under_a_cap():
    facts = replace(PROOF, needs=("vision",), max_usd=1.0)
    refused = {r.candidate.fleet: r.code for r in decide(WORLD, facts, IDLE).verdict.refused}
    assert refused["trn2-scout"] == "unknown_cost"


def test_a_stream_waits_for_its_first_token_and_a_plain_answer_for_all_of_them():
    limits = WORLD.policy.defaults.limits
    stream = decide(WORLD, PROOF, IDLE, stream=True).plan.attempts[0]
    plain = decide(WORLD, PROOF, IDLE).plan.attempts[0]
    assert stream.timeout_ms == limits.ttft_timeout_ms
    itl_p95_ms = 1.5 * plain.candidate.itl_p50_ms
    wanted = limits.ttft_timeout_ms + 2 * (plain.max_tokens - 1) * itl_p95_ms
    assert plain.timeout_ms == pytest.approx(min(wanted, limits.deadline_ms))


def test_emulated_fleets_say_so_in_every_candidate():
    for candidate in decide(WORLD, TICKET, IDLE).verdict.ranked:
        assert ("emulated" in candidate.marks) == (candidate.lane == "accelerator")


facts = st.builds(
    replace,
    st.sampled_from([TICKET, PROOF]),
    complexity=st.sampled_from([0.0, 0.5, 1.0]),
    p_small=st.sampled_from([0.0, 0.84, 0.85, 1.0]),
    tokens_in=st.sampled_from([1, 2000, 2048, 500_000]),
    tokens_out=st.sampled_from([1, 300]),
    max_tokens=st.sampled_from([None, 1, 100_000]),
    max_usd=st.sampled_from([None, 1e-6, 0.01]),
    needs=st.sampled_from([(), ("json",), ("vision", "tools"), ("thinking",)]),
    service_class=st.sampled_from(["standard", "deferrable"]),
    requested_model=st.sampled_from(["auto", "auto:cheapest", "qwen3-tiny", "llama-4-maverick"]),
    tags=st.sampled_from([{}, {"data": "private"}]),
    lanes=st.sampled_from([None, ("cpu",), ("accelerator",)]),
)
loads = st.tuples(
    *(
        st.builds(
            Load,
            state=st.sampled_from(["ready", "ready", "open-circuit", "cold"]),
            in_flight=st.sampled_from([0, 1, 4, 900, 5000]),
            limit=st.sampled_from([None, None, 4, 900]),
            committed=st.just(on.fleet.replicas.min),
            ewma_ttft=st.sampled_from([0.1, 1.0, 10.0]),
        )
        for on in WORLD.fleets
    )
)


@given(facts, loads)
def test_a_receipt_gives_back_its_own_decision_byte_for_byte(facts, loads):
    decision = decide(WORLD, facts, loads)
    stored = orjson.loads(receipt("id", WORLD, decision, Outcome()))
    again = decide(
        WORLD,
        facts_from(stored["facts"]),
        [load_from(stored["load"][on.fleet.id]) for on in WORLD.fleets],
    )
    for name in RECOMPUTED:
        assert orjson.dumps(decision_part(again)[name]) == orjson.dumps(stored[name])


@given(facts, loads)
def test_every_fleet_is_in_the_receipt_once_ranked_or_with_its_reason(facts, loads):
    found = decision_part(decide(WORLD, facts, loads))
    fleets = [candidate["fleet"] for candidate in found["candidates"]]
    assert sorted(fleets) == sorted(on.fleet.id for on in WORLD.fleets)
    refused = [candidate["refused"] for candidate in found["candidates"]]
    ranked = refused.count(None)
    assert all(reason is None for reason in refused[:ranked])
    assert all(reason["code"] and reason["detail"] for reason in refused[ranked:])
    assert found["plan"] == fleets[: len(found["plan"])]


@given(facts, loads)
def test_private_data_never_leaves_the_cpu_lane(facts, loads):
    decision = decide(WORLD, replace(facts, tags={"data": "private"}), loads)
    assert {attempt.candidate.lane for attempt in decision.plan.attempts} <= {"cpu"}


def test_facts_survive_their_json():
    facts = replace(PROOF, needs=("json",), lanes=("cpu",), tags={"团队": "搜索"})
    assert facts_from(orjson.loads(orjson.dumps(facts))) == facts


def test_wrong_facts_are_told():
    with pytest.raises(ValueError, match="unknown fact `unknown`"):
        facts_from({"unknown": 1})
    with pytest.raises(ValueError, match="`facts` lacks `tenant`, `team`, `key`"):
        facts_from({"at": "now"})


def test_a_wrong_load_is_told():
    with pytest.raises(ValueError, match="cpu_load"):
        load_from({"cpu_load": 1})
    with pytest.raises(ValueError, match="must be an object"):
        load_from(None)


def test_what_was_relaxed_stands_in_the_marks():
    slow = tuple(replace(load, ewma_ttft=10.0, in_flight=5000) for load in IDLE)
    found = decision_part(decide(WORLD, PROOF, slow))
    assert "relaxed:slo.ttft" in found["candidates"][0]["marks"]


# -- cascades --------------------------------------------------------------------------------------

CASCADES = Sources(
    Path("nowhere"), policy=Path(str(files("policies").joinpath("examples/cascades.yaml")))
).load()


def cascade(facts=TICKET, loads=IDLE, **more):
    return decide(CASCADES, facts, loads, **more)


def test_a_cascade_tests_the_first_fleet_only_and_others_follow():
    first, *rest = cascade().plan.attempts
    assert (first.candidate.lane, rest[0].candidate.lane) == ("cpu", "accelerator")
    assert [test.name for test in first.accept_if] == ["mean_logprob_above", "tokens", "no_refusal"]
    assert all(attempt.accept_if == () for attempt in rest)
    assert 1 + len(rest) == CASCADES.policy.defaults.limits.attempts


def test_a_stream_that_is_tested_has_the_time_of_a_whole_answer():
    plain, stream = cascade().plan.attempts, cascade(stream=True).plan.attempts
    assert stream[0].timeout_ms == plain[0].timeout_ms
    assert stream[1].timeout_ms == CASCADES.policy.defaults.limits.ttft_timeout_ms


def test_without_a_feasible_fleet_to_try_the_others_answer_untested():
    attempts = cascade(loads=with_load("local-qwen3-tiny", state="open-circuit")).plan.attempts
    assert {attempt.candidate.lane for attempt in attempts} == {"accelerator"}
    assert all(attempt.accept_if == () for attempt in attempts)


def worst_usd(attempt):
    return attempt.candidate.usd_at_most(attempt.max_tokens)


def test_a_cap_counts_both_answers_and_where_it_pays_for_one_takes_the_sure_one():
    facts = replace(TICKET, max_tokens=10)
    first, second, *_ = cascade(facts).plan.attempts
    both = worst_usd(first) + worst_usd(second)
    capped = cascade(replace(facts, max_usd=both * 1.001)).plan.attempts
    assert [a.candidate.fleet for a in capped] == [first.candidate.fleet, second.candidate.fleet]
    either = max(worst_usd(first), worst_usd(second)) * 1.001
    sure = cascade(replace(facts, max_usd=either)).plan.attempts[0]
    assert (sure.candidate.lane, sure.accept_if) == ("accelerator", ())


def test_what_was_relaxed_for_those_who_follow_is_not_said_of_those_who_are_tried():
    slow = tuple(
        load if on.fleet.lane == "cpu" else replace(load, ewma_ttft=10.0, in_flight=5000)
        for on, load in zip(CASCADES.fleets, IDLE, strict=True)
    )
    first, second, *_ = decision_part(cascade(loads=slow))["candidates"]
    assert "cascade:try" in first["marks"]
    assert "relaxed:slo.ttft" in second["marks"]
    assert "relaxed:slo.ttft" not in first["marks"]


def test_a_receipt_says_who_was_to_be_tried_and_gives_its_decision_back():
    decision = cascade()
    stored = orjson.loads(receipt("id", CASCADES, decision, Outcome()))
    assert ["cascade:try" in c["marks"] for c in stored["candidates"]][:2] == [True, False]
    loads = [load_from(stored["load"][on.fleet.id]) for on in CASCADES.fleets]
    again = decision_part(decide(CASCADES, facts_from(stored["facts"]), loads))
    assert orjson.dumps([again[name] for name in RECOMPUTED]) == orjson.dumps(
        [stored[name] for name in RECOMPUTED]
    )

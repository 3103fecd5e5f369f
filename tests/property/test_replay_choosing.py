"""Whom a replay chooses fast is whom the router chooses, over every load, kind and policy."""

import math
from dataclasses import replace
from functools import cache
from importlib import resources

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from replay_worlds import POLICIES, START_S, box, catalogue_of, kind, strong, world_of

from backends import files
from policies.parse import parse
from router.budgets import worst_nano
from router.decide import decide
from router.refusals import NO_FLEET, no_candidate
from router.replay.choosing import UNSURE, Choosers, Clock, Seen, seen_as
from router.replay.fleet import Fleet
from router.sources import names_of
from router.traces.trace import Trace
from router.wake_worth import if_awake, sleeper
from router.world import world

EXAMPLES = sorted(
    entry.name
    for entry in resources.files("policies").joinpath("examples").iterdir()
    if entry.name.endswith(".yaml")
)


CASCADES = """
version: 1
name: cascades
baseline: big@p5
defaults: {quality_floor: 0.85, slo: {ttft_p95_ms: 3000, e2e_p95_ms: 15000}, relax: [slo.e2e]}
rules:
  - id: once
    when: {tier: heavy}
    cascade: {try: [cpu, api], accept_if: {no_refusal: true}, then: [p5, mixed]}
    limits: {attempts: 2}
  - id: read
    when: {task: classification}
    cascade: {try: [cpu, p5], accept_if: {mean_logprob_above: -0.1}, then: accelerator}
  - id: all
    cascade: {try: a-cold, accept_if: {no_refusal: true}, then: [a, blind, mixed]}
    minimize: ttft
    strict: true
    relax: [quality_floor, slo.ttft, slo.e2e]
"""
GIVING_WAY = """
version: 1
name: giving-way
baseline: big@p5
defaults: {quality_floor: 0.85, slo: {ttft_p95_ms: 800, e2e_p95_ms: 4000}}
rules:
  - {id: one, when: {tier: heavy}, use: {in_order: [cpu, accelerator]}, relax: [slo.ttft]}
  - {id: two, when: {task: code}, use: [cpu, accelerator], relax: [quality_floor, slo.e2e]}
  - {id: three, when: {task: math}, use: [cpu, accelerator], minimize: e2e, relax: [slo.e2e]}
  - {id: all, use: [cpu, p5, mixed], minimize: average_cost, strict: true,
     relax: [slo.e2e, slo.ttft, quality_floor]}
"""
BY_ROUTER = """
version: 1
name: by-router
baseline: big@p5
defaults: {quality_floor: 0, minimize: marginal_cost, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules: [{id: all, use: [cpu, accelerator]}]
"""
OWN = (*POLICIES, CASCADES, GIVING_WAY)
OURS = 2 * len(OWN) + 1  # worlds, half of them with a router that costs


@cache
def worlds():
    """Return our own worlds, and every shipped policy over the packaged fleets."""
    found = [world_of(policy) for policy in OWN]
    found += [world_of(policy, place="lambda") for policy in (*OWN, BY_ROUTER)]
    catalogue = files.catalogue(None)
    names = names_of(catalogue)
    for name in EXAMPLES:
        given_ = files.packaged("policies", "examples", name)
        found.append(world(parse(given_.text, given_.name, names), catalogue))
    default = files.packaged("policies", "default.yaml")
    return [*found, world(parse(default.text, default.name, names), catalogue)]


KINDS = st.builds(
    kind,
    tier=st.sampled_from(["simple", "heavy"]),
    task=st.sampled_from(["classification", "code", "math", "other"]),
    language=st.sampled_from(["en", "zh-Hans"]),
    service_class=st.sampled_from(["interactive", "standard", "deferrable"]),
    needs=st.sampled_from([(), (), ("json",), ("tools",), ("vision",)]),
    tags=st.sampled_from([{}, {"data": "private"}]),
    n=st.sampled_from([1, 1, 3]),
    max_tokens=st.sampled_from([None, None, 50, 3500]),
    tokens_in_bound=st.sampled_from([None, 900]),
    lanes=st.sampled_from([None, None, ("cpu",), ("accelerator",)]),
    models=st.sampled_from([None, None, ("m", "llama-4-scout")]),
    requested_model=st.sampled_from(["auto", "auto", "auto", "auto:best"]),
    max_usd=st.sampled_from([None, None, None, 0.001]),
    slo_ttft_ms=st.sampled_from([None, None, None, 500.0]),
)
REQUESTS = st.tuples(
    st.sampled_from([1, 20, 206, 299, 300, 301, 1000, 3900, 50_000]),  # tokens in
    st.sampled_from([1, 2, 100, 300, 4096, 9000]),  # expected
    st.sampled_from([0.0, 0.3, 0.6, 0.61, 1.0]),  # complexity
    st.sampled_from([0.0, 0.5, 0.85, 0.9, 1.0]),  # p_small
)
LOADS = st.tuples(
    st.sampled_from([1, 1, 2, 0, 0]),  # replicas
    st.sampled_from(["cold", "waking", "draining"]),  # without any
    st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.99, 1.0, 1.0, 1.5]),  # in flight, of the limit
    st.sampled_from([1.0, 1.3, 2.0, 2.0]),  # the limit, of the places: beyond them requests wait
)

EDGES = st.tuples(
    st.integers(0, 2),  # of the candidates, best first: whose prediction is the limit
    st.sampled_from(["ttft_p95_ms", "e2e_p95_ms"]),
    st.booleans(),  # just met, or just missed
)


def at_edge(found, decision, edge):
    """Return the world with a limit that one candidate's prediction just meets, or just misses."""
    which, limit, met = edge
    verdict = decision.verdict
    candidates = [*verdict.ranked, *(refused.candidate for refused in verdict.refused)]
    predicted = getattr(candidates[which % len(candidates)], limit)
    if predicted is None:
        return found
    most = {limit: predicted if met else math.nextafter(predicted, 0.0)}
    rules = tuple(
        replace(
            rule,
            settings=replace(rule.settings, slo=replace(rule.settings.slo, **most)),
        )
        for rule in found.policy.rules
    )
    return replace(found, policy=replace(found.policy, rules=rules))


def fleets_at(found, loads):
    fleets = [Fleet(place, on) for place, on in enumerate(found.fleets)]
    for fleet, (replicas, state, share, grown) in zip(fleets, loads, strict=False):
        fleet.limiter.share = grown
        fleet.resize(replicas, 0.0, state)
        fleet.in_flight = int(fleet.limit * share) if replicas else 0
        fleet.changed()
    return fleets


def matching(cases, at_s, tokens_in, complexity):
    seen = Seen(Clock(START_S).at(at_s), complexity, tokens_in)
    return next(
        (case for case in cases if all(matches(seen_as(seen)) for matches in case.varying)), None
    )


IDLE, AWAY = (1, "cold", 0.0, 1.0), (0, "waking", 0.0, 1.0)


# The caller's own limit leaves no room in a context that the expected answer would fit in.
@example(2, kind(max_tokens=3500), (1000, 100, 0.3, 0.9), [IDLE] * 8, 0.0, None)
# A strict rule, and only a fleet of unknown price is there.
@example(3, kind(), (20, 100, 0.3, 0.9), [AWAY] * 7 + [IDLE], 0.0, None)
# A cascade's first token counts as coming with its last: nobody is tried.
@example(len(POLICIES), kind(tier="heavy"), (20, 100, 0.3, 0.9), [IDLE] * 8, 0.0, None)
@settings(max_examples=1500, deadline=None)
@given(
    st.one_of(
        st.integers(0, OURS - 1),
        st.integers(0, OURS + len(EXAMPLES)),
        st.sampled_from([len(POLICIES), len(POLICIES) + 1]),  # CASCADES, GIVING_WAY
    ),
    KINDS,
    REQUESTS,
    st.lists(LOADS, min_size=8, max_size=8),
    st.sampled_from([0.0, 14_399.9994, 14_400.0, 43_199.9996, 43_200.0]),  # 22:00 and 6:00 there
    st.one_of(st.none(), EDGES),
)
def test_who_is_chosen_fast_is_who_the_router_chooses(which, of, request, loads, at_s, edge):
    found = worlds()[which]
    fleets = fleets_at(found, loads)
    tokens_in, expected, complexity, p_small = request
    columns = {
        "at_s": [at_s],
        "tokens_in": [tokens_in],
        "tokens_out": [1],
        "expected": [expected],
        "complexity": [complexity],
        "p_small": [p_small],
        "acceptable": [1],
        "kind": [0],
    }
    facts = Trace("t", START_S, kinds=(of,), **columns).facts(0)
    decision = decide(found, facts, [fleet.load() for fleet in fleets])
    if edge is not None and decision.verdict.rule is not None:
        found = at_edge(found, decision, edge)
        decision = decide(found, facts, [fleet.load() for fleet in fleets])
    case = matching(Choosers(found, fleets).of(of), at_s, tokens_in, complexity)
    if case is None or decision.verdict.rule is None:
        assert case is None
        assert decision.verdict.rule is None
        return
    assert found.policy.rules[case.rule] == decision.verdict.rule
    if case.pick is None:
        return
    bound = tokens_in if facts.tokens_in_bound is None else facts.tokens_in_bound
    place = case.pick(*request)
    if place != UNSURE:
        attempt = decision.plan.attempts[0]
        assert fleets[place].on.fleet.id == attempt.candidate.fleet
        assert not attempt.accept_if
        assert not decision.verdict.relaxed
        assert case.weighing.worst(request, bound) == worst_nano(decision)
        assert missed_by(found, decision) is None  # nobody wakes who wakes already
    chosen = case.weighing.chosen(request)
    missed = case.weighing.missed(request)
    assert named(fleets, missed) == missed_by(found, decision)
    if not decision.plan.attempts:
        assert chosen is None
        hope, told = case.weighing.hope(request), hope_of(found, facts, decision, fleets)
        assert isinstance(told, str) if hope is None else (hope or NO_FLEET) == told
        return
    first, *others = decision.plan.attempts
    assert fleets[chosen.place].on.fleet.id == first.candidate.fleet
    assert chosen.relaxed == bool(decision.verdict.relaxed)
    assert chosen.missed == missed
    assert chosen.tested == bool(first.accept_if)
    if chosen.tested:
        follows = None if chosen.follows is None else fleets[chosen.follows].on.fleet.id
        assert follows == (others[0].candidate.fleet if others else None)
    else:
        assert case.weighing.worst(request, bound) == worst_nano(decision)


def missed_by(found, decision):
    """Return who sleeps and is missed, and from how many requests on it is woken; None: nobody."""
    awake = if_awake(found, decision)
    missed = None if awake is None else sleeper(decision, awake)
    if missed is None or missed.candidate.state == "waking":
        return None
    return missed.candidate.fleet, missed.beyond


def named(fleets, missed):
    return None if missed is None else (fleets[missed[0]].on.fleet.id, missed[1])


def hope_of(found, facts, decision, fleets):
    """Return the full fleets that a request waits for, or the code of its refusal."""
    full = {r.candidate.fleet for r in decision.verdict.refused if r.code == "at_limit"}
    hoped = decide(found, facts, [with_one_place(fleet) for fleet in fleets])
    if hoped.plan.attempts:
        return {c.fleet for c in hoped.verdict.ranked if c.fleet in full}
    return no_candidate(hoped, None).code


def with_one_place(fleet):
    before = fleet.in_flight
    fleet.in_flight = min(before, fleet.limit - 1)
    fleet.changed()
    load = fleet.load()
    fleet.in_flight = before
    fleet.changed()
    return load


def test_most_requests_are_chosen_fast():
    found = worlds()[-1]
    fleets = fleets_at(found, [])
    for of in (kind(), kind(tier="heavy", task="code")):
        case = matching(Choosers(found, fleets).of(of), 0.0, 200, 0.2)
        assert case.pick(200, 100, 0.2, 0.9) != UNSURE


def test_tenants_that_no_rule_tells_apart_share_what_was_worked_out():
    found = worlds()[-1]
    asked = Choosers(found, fleets_at(found, []))
    assert asked.of(kind(tenant="a")) is asked.of(kind(tenant="b"))
    assert asked.of(kind(tags={"data": "private"})) is not asked.of(kind())
    assert asked.of(kind(lanes=("cpu",))) is not asked.of(kind())
    assert asked.of(kind(max_usd=0.1)) is not asked.of(kind())


@pytest.mark.parametrize(("by", "usd_per_hour"), [("marginal_cost", 392), ("average_cost", 6.4)])
@pytest.mark.parametrize(("place", "wins"), [("local", "slow"), ("lambda", "quick")])
def test_the_cost_of_the_router_decides_between_fleets_that_cost_about_as_much(
    by, usd_per_hour, place, wins
):
    quick = strong("quick", usd_per_hour=usd_per_hour, profile="p5.48xlarge/llama-4-scout")
    policy = BY_ROUTER.replace("big@p5", "big@quick").replace("marginal_cost", by)
    found = world_of(policy, catalogue_of(box("slow"), quick), place=place)
    fleets = fleets_at(found, [])
    (case,) = Choosers(found, fleets).of(kind())
    assert fleets[case.pick(500, 100, 0.2, 0.9)].on.fleet.id == wins


@pytest.mark.parametrize("limit", ["ttft_p95_ms", "e2e_p95_ms"])
@pytest.mark.parametrize("met", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.75])
@pytest.mark.parametrize("tokens", [(20, 100), (300, 2)])
def test_a_limit_is_met_to_the_last_bit_where_requests_wait_too(limit, met, share, tokens):
    policy = BY_ROUTER.replace("big@p5", "m@a").replace("cpu, accelerator", "cpu")
    found = world_of(policy, catalogue_of(box("a")), place="lambda")
    fleets = fleets_at(found, [(1, "cold", share, 2.0)])
    (on,) = fleets
    seen = on.on.predict(*tokens, 1, on.load())
    assert (on.in_flight > on.on.capacity) == (share > 0)
    predicted = getattr(seen, limit)
    edge = predicted if met else math.nextafter(predicted, 0.0)
    rule = found.policy.rules[0]
    slo = replace(rule.settings.slo, **{limit: edge})
    rule = replace(rule, settings=replace(rule.settings, slo=slo))
    found = replace(found, policy=replace(found.policy, rules=(rule,)))
    (case,) = Choosers(found, fleets).of(kind())
    assert (case.pick(*tokens, 0.2, 0.9) == 0) == met

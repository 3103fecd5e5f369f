"""Whom a request would have woken, and from how many on: in tables, and over the embedded world."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.load import Load
from policies.evaluate import Verdict
from policies.model import Facts, Limits, Rule, Settings, Slo
from router.decide import Attempt, Decision, Plan, decide
from router.sources import Sources
from router.wake_worth import if_awake, sleeper

WORLD = Sources(Path("nowhere")).load()
IDLE = tuple(Load(committed=on.fleet.replicas.min) for on in WORLD.fleets)
ACCELERATORS = {on.fleet.id for on in WORLD.fleets if on.fleet.lane != "cpu"}
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
)
PROOF = replace(TICKET, task="math", tier="heavy", complexity=0.9, p_small=0.2, tokens_out=400)


# -- in tables -------------------------------------------------------------------------------------


def candidate(name, usd=0.0, *, price=36.0, router=0.0, ttft=100.0):
    fleet = SimpleNamespace(id=name, wake_seconds=300, min_run_seconds=600)
    on = SimpleNamespace(fleet=fleet, usd_per_hour=price)  # $9 to wake it, at 36 an hour
    return SimpleNamespace(
        fleet=name, on=on, usd_marginal=usd, usd_router=router, ttft_p95_ms=ttft, state="cold"
    )


def decided(*ranked, cold=(), relaxed=(), tried=0, hint=None, slo=None, code="cold"):
    refused = tuple(SimpleNamespace(candidate=each, code=code) for each in cold)
    rule = Rule("r", (), (frozenset({"cpu"}),), Settings(), None)
    tests = ("shape",) if tried else ()
    attempts = tuple(Attempt(c, 1.0, 8, () if i else tests) for i, c in enumerate(ranked))
    plan = Plan(attempts, Limits(), settings=Settings(slo=Slo(ttft_p95_ms=slo)))
    facts = replace(TICKET, slo_ttft_ms=hint)
    return Decision(
        facts, Verdict(rule, "marginal_cost", ranked, refused, relaxed, tried), (), plan
    )


BIG, SMALL = candidate("big", 1.0), candidate("small", 4.0)


@pytest.mark.parametrize(
    ("real", "served", "beyond"),
    [
        (SMALL, BIG, 3.0),  # saves 3 of the 9 that waking costs
        (candidate("small", 10.5), BIG, pytest.approx(9 / 9.5)),
        (candidate("small", 4.0, router=0.5), candidate("big", 1.0, router=2.0), 6.0),
        (candidate("small", 1.0), BIG, math.inf),  # saves nothing
        (candidate("small", 0.0), BIG, math.inf),  # is cheaper
        (candidate("small", 1.0), candidate("big", 5e-324 + 1.0), math.inf),
        (candidate("small", 5e-324), candidate("big", 0.0), math.inf),
        (candidate("small", None), BIG, math.inf),  # unknown is no price
        (SMALL, candidate("big", None), math.inf),
        (SMALL, candidate("big", 1.0, price=None), math.inf),
        (SMALL, candidate("big", 1.0, price=0.0), 0.0),
    ],
)
def test_the_savings_of_those_who_miss_it_have_to_pay_for_waking(real, served, beyond):
    found = sleeper(decided(real, cold=[served]), decided(served, real))
    assert (found.candidate.fleet, found.beyond) == ("big", beyond)


def test_where_nobody_can_serve_only_who_would_have_is_worth_it_at_once():
    other = candidate("other")
    found = sleeper(decided(cold=[other, BIG]), decided(BIG, other))
    assert (found.candidate.fleet, found.beyond) == ("big", 0.0)


@pytest.mark.parametrize(
    ("real", "awake"),
    [
        (decided(SMALL, cold=[BIG]), decided(SMALL, BIG)),  # served by whom it always is
        (decided(cold=[BIG]), decided()),  # refused for something else beside
        (decided(SMALL), decided(candidate("third"))),  # who sleeps not
        (decided(SMALL, cold=[BIG], code="max_usd"), decided(BIG)),
    ],
)
def test_nobody_is_missed_where_no_sleeper_would_have_served(real, awake):
    assert sleeper(real, awake) is None


@pytest.mark.parametrize(
    ("relaxed", "still", "hint", "slo", "at_once"),
    [
        (("quality_floor",), (), None, None, True),
        (("slo.ttft", "slo.e2e"), ("slo.ttft",), None, 50, True),
        (("slo.ttft",), ("slo.ttft",), None, 50, False),  # it meets it no more than the other
        (("slo.ttft",), (), None, 50, True),
        (("slo.ttft",), (), 20, None, False),  # the caller's wish alone
        (("slo.ttft",), (), 20, 150, False),  # the policy's own is met
        (("slo.ttft",), (), 20, 50, True),
        (("slo.ttft", "quality_floor"), (), 20, None, True),
    ],
)
def test_a_limit_of_the_policy_that_gave_way_is_worth_it_at_once(
    relaxed, still, hint, slo, at_once
):
    cheap = candidate("small", 0.0)
    real = decided(cheap, cold=[BIG], relaxed=relaxed, hint=hint, slo=slo)
    found = sleeper(real, decided(BIG, cheap, relaxed=still))
    assert found.beyond == (0.0 if at_once else math.inf)


def test_a_cascade_that_nobody_follows_misses_who_would():
    alone = decided(SMALL, cold=[BIG], tried=1)
    found = sleeper(alone, decided(SMALL, BIG, tried=1))
    assert (found.candidate.fleet, found.beyond) == ("big", 0.0)
    followed = decided(SMALL, candidate("sure"), cold=[BIG], tried=1)
    assert sleeper(followed, decided(SMALL, BIG, tried=1)) is None


# -- over the embedded world -----------------------------------------------------------------------


def asleep(*names):
    return tuple(
        replace(load, state="cold", replicas=0, committed=0) if on.fleet.id in names else load
        for on, load in zip(WORLD.fleets, IDLE, strict=True)
    )


def missed(facts, loads):
    real = decide(WORLD, facts, loads)
    awake = if_awake(WORLD, real)
    return None if awake is None else sleeper(real, awake)


def test_nothing_is_decided_again_where_nobody_sleeps():
    assert if_awake(WORLD, decide(WORLD, TICKET, IDLE)) is None


def test_a_ticket_that_the_cpu_serves_well_misses_nobody():
    assert missed(TICKET, asleep(*ACCELERATORS)) is None


def test_a_proof_misses_the_one_that_would_have_served():
    loads = asleep(*ACCELERATORS)
    found = missed(PROOF, loads)
    awake = decide(WORLD, PROOF, [replace(load, state="ready", replicas=1) for load in loads])
    assert found.candidate.fleet == awake.plan.attempts[0].candidate.fleet
    assert found.candidate.state == "cold"
    assert found.beyond == 0.0  # the small model is too weak, and its floor was relaxed


def test_who_loads_its_model_is_missed_as_one_that_wakes():
    first = missed(PROOF, asleep(*ACCELERATORS)).candidate.fleet
    loads = [
        replace(load, state="waking") if on.fleet.id == first else load
        for on, load in zip(WORLD.fleets, asleep(*ACCELERATORS), strict=True)
    ]
    assert missed(PROOF, loads).candidate.state == "waking"


def test_a_cap_of_the_caller_that_no_sleeper_meets_wakes_nobody():
    assert missed(replace(PROOF, max_usd=1e-9), asleep(*(on.fleet.id for on in WORLD.fleets))) is (
        None
    )


def test_nobody_is_missed_by_a_request_that_costs_nothing_more():
    free, asleep = candidate("free"), candidate("asleep")
    assert if_awake(WORLD, decided(free, cold=(asleep,))) is None

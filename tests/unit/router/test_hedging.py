"""When a second attempt is worth its cost."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from policies.model import Facts, Hedge, Limits, Slo
from router.decide import decide
from router.hedging import hedge_after_ms, miss_given_late
from router.sources import Sources

FIRST = SimpleNamespace(ttft_p50_ms=400.0, ttft_p95_ms=600.0)
AFTER_P95 = Hedge(None, 0.01)
CENT = 10_000_000  # nano-USD


def test_the_probability_of_a_miss_is_that_of_the_tail_over_the_tail():
    assert miss_given_late(400, 600, 600, 600) == 1
    assert miss_given_late(400, 600, 1e-9, 600) == pytest.approx(0.05)
    assert miss_given_late(400, 600, 400, 600) == pytest.approx(0.1)
    sigma = math.log(1.5) / 1.6448536
    tail = 0.5 * math.erfc(math.log(2) / sigma / math.sqrt(2))
    assert miss_given_late(400, 600, 600, 800) == pytest.approx(tail / 0.05, rel=1e-6)


def test_later_is_surer_and_a_later_objective_is_less_often_missed():
    by_after = [miss_given_late(400, 600, after, 800) for after in (1, 400, 600, 799)]
    assert by_after == sorted(by_after)
    by_slo = [miss_given_late(400, 600, 300, slo) for slo in (300, 600, 800, 5000)]
    assert by_slo == sorted(by_slo, reverse=True)


def test_a_time_without_spread_is_either_there_or_what_it_foretold_was_wrong():
    assert miss_given_late(400, 400, 300, 350) == 1
    assert miss_given_late(400, 400, 300, 500) == 0
    assert miss_given_late(400, 400, 450, 500) == 1


def test_a_hedge_starts_where_what_it_may_save_is_worth_its_worst_cost():
    worth = miss_given_late(400, 600, 600, 800) * CENT
    assert hedge_after_ms(AFTER_P95, FIRST, int(worth), 800) == 600
    assert hedge_after_ms(AFTER_P95, FIRST, int(worth) + 2, 800) is None


def test_it_never_costs_more_than_the_policy_spends():
    sure = Hedge(500, 0.01)
    slow = SimpleNamespace(ttft_p50_ms=5000.0, ttft_p95_ms=7500.0)
    assert hedge_after_ms(sure, slow, CENT - 1, 600) == 500
    assert hedge_after_ms(sure, slow, CENT + 1, 600) is None


def test_one_that_would_come_after_the_objective_is_missed_is_not_sent():
    assert hedge_after_ms(AFTER_P95, FIRST, 1, 600) is None
    assert hedge_after_ms(Hedge(700, 0.01), FIRST, 1, 700) is None


@pytest.mark.parametrize("unknown", ["ttft_p50_ms", "ttft_p95_ms"])
def test_what_is_not_known_is_not_paid_for(unknown):
    first = SimpleNamespace(**{**vars(FIRST), unknown: None})
    assert hedge_after_ms(AFTER_P95, first, 1, 800) is None
    assert hedge_after_ms(AFTER_P95, FIRST, None, 800) is None


# -- in a plan -------------------------------------------------------------------------------------

EXAMPLE = Path(__file__).parents[3] / "policies" / "examples" / "hedges.yaml"
WORLD = Sources(Path("nowhere"), policy=EXAMPLE).load()
RULE = WORLD.policy.rules[0]
ASKED = Facts(
    at="2026-01-05T12:00:00.000Z",
    tenant="acme",
    team=None,
    key="k",
    tags={},
    task="reasoning",
    tier="heavy",
    complexity=0.9,
    p_small=0.2,
    language="zh-Hans",
    tokens_in=40,
    tokens_out=100,
    tokens_in_bound=300,
    max_tokens=100,
    service_class="interactive",
)


def planned(facts=ASKED, *, stream=True, **rule):
    from backends.load import Load

    changed = replace(RULE, **rule)
    policy = replace(WORLD.policy, rules=(changed, *WORLD.policy.rules[1:]))
    loads = tuple(Load(committed=on.fleet.replicas.min) for on in WORLD.fleets)
    return decide(replace(WORLD, policy=policy), facts, loads, stream=stream).plan


SURE = Hedge(None, 1000.0)


# The p5 is 180 ms late in one of twenty cases and comes first, the trn2 225 ms.
NEAR = replace(RULE.settings, slo=Slo(226.0))


def test_a_stream_of_a_rule_with_a_hedge_has_one_after_the_first_ones_p95():
    plan = planned(hedge=SURE, settings=NEAR)
    assert plan.hedge_after_ms == plan.attempts[0].candidate.ttft_p95_ms


def test_a_plain_answer_has_none_for_its_first_token_is_not_seen():
    assert planned(hedge=SURE, settings=NEAR, stream=False).hedge_after_ms is None


def test_a_spent_budget_that_downgrades_sends_none():
    assert (
        planned(replace(ASKED, downgraded=("team",)), hedge=SURE, settings=NEAR).hedge_after_ms
        is None
    )


def test_a_cap_that_pays_for_one_attempt_sends_none():
    first = planned(hedge=SURE).attempts[0]
    usd = first.candidate.usd_at_most(first.max_tokens)
    plan = planned(replace(ASKED, max_usd=usd * 1.01), hedge=SURE, settings=NEAR)
    assert (len(plan.attempts), plan.hedge_after_ms) == (1, None)


def test_one_attempt_alone_has_none():
    settings = replace(NEAR, limits=Limits(attempts=1))
    assert planned(hedge=SURE, settings=settings).hedge_after_ms is None


def test_a_callers_tighter_objective_counts():
    assert planned(hedge=Hedge(170, 1000.0), settings=NEAR).hedge_after_ms == 170
    tighter = replace(ASKED, slo_ttft_ms=170)
    relaxed = replace(NEAR, relax=("slo.ttft",))
    assert planned(tighter, hedge=Hedge(170, 1000.0), settings=relaxed).hedge_after_ms is None


def test_an_objective_that_gave_way_is_kept_by_nothing():
    settings = replace(RULE.settings, slo=Slo(1.0), relax=("slo.ttft",))
    plan = planned(hedge=SURE, settings=settings)
    assert plan.attempts
    assert plan.hedge_after_ms is None

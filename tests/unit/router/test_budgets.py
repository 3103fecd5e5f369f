"""What is set aside for a request, and in which budgets."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from backends.cost import RateCard
from policies.model import Budget, Facts, Match
from router.budgets import Periods, least_hard_nano, scopes_of, within, worst_nano

AT = 1_795_219_200.0  # 2026-11-21T00:00:00Z
FACTS = Facts(
    at="2026-11-21T00:00:00.000Z",
    tenant="shop",
    team="search",
    key="ab12",
    tags={},
    task="code",
    tier="heavy",
    complexity=0.9,
    p_small=0.1,
    language="en",
    tokens_in=10,
    tokens_out=10,
    tokens_in_bound=200,
    n=2,
)


def attempt(card, max_tokens=100):
    prompt = None if card is None else card.charge_nano(200, 0, 0)
    candidate = SimpleNamespace(on=SimpleNamespace(card=card), nano_at_most=lambda most: prompt)
    return SimpleNamespace(candidate=candidate, max_tokens=max_tokens)


def decision(*attempts, retries=0, **known):

    facts = replace(FACTS, **known)
    return SimpleNamespace(facts=facts, plan=SimpleNamespace(attempts=attempts, retries=retries))


def test_the_worst_case_is_every_attempt_with_every_byte_a_token_and_all_choices_at_their_limit():
    dear, cheap = RateCard(3_000, 0, 5_000), RateCard(1_000, 0, 2_000)
    both = decision(attempt(dear), attempt(cheap, 50))
    assert worst_nano(both) == dear.charge_nano(200, 0, 200) + cheap.charge_nano(200, 0, 100)


def test_every_retry_adds_the_dearest_prompt_for_of_a_fleets_tries_at_most_one_has_an_answer():
    dear, cheap = RateCard(3_000, 0, 5_000), RateCard(1_000, 0, 2_000)
    attempts = attempt(dear), attempt(cheap, 50)
    more = worst_nano(decision(*attempts, retries=3)) - worst_nano(decision(*attempts))
    assert more == 3 * dear.charge_nano(200, 0, 0)


def test_without_a_price_or_with_images_nobody_knows():
    card = RateCard(3_000, 0, 5_000)
    assert worst_nano(decision(attempt(card), attempt(None))) is None
    assert worst_nano(decision(attempt(card), needs=("vision",))) is None
    assert worst_nano(decision()) == 0


def test_scopes_are_those_that_match_in_their_running_periods():
    budgets = (
        Budget("all", 1.5, "day", "Asia/Shanghai", when_spent="alert", alert_at=(0.5,)),
        Budget("ads", 1.0, "day", match=Match(team="ads")),
        Budget("team", 2.0, "month", match=Match(team="*"), when_spent="downgrade", hard_usd=2.2),
    )
    day, month = scopes_of(budgets, FACTS, AT, Periods())
    assert (day.budget, day.value, day.period) == ("all", "all", "2026-11-21")
    assert day.ends == "2026-11-21T16:00:00Z"  # midnight in Shanghai
    assert (day.soft_nano, day.hard_nano, day.on_spent) == (1_500_000_000, None, "alert")
    assert day.alert_at == (0.5,)
    assert (month.value, month.period, month.ends) == (
        "team=search",
        "2026-11",
        "2026-12-01T00:00:00Z",
    )
    assert (month.soft_nano, month.hard_nano) == (2_000_000_000, 2_200_000_000)
    assert least_hard_nano((day, month)) == 2_200_000_000
    assert least_hard_nano((day,)) is None


def test_a_period_that_is_over_is_followed_by_the_next():
    periods, daily = Periods(), (Budget("all", 1.0, "day"),)
    names = [scopes_of(daily, FACTS, AT + s, periods)[0].period for s in (0, 86_399.9, 86_400, 10)]
    assert names == ["2026-11-21", "2026-11-21", "2026-11-22", "2026-11-21"]


@pytest.mark.parametrize(("asked", "nano", "usd"), [(None, 5, 5e-9), (1e-9, 5, 1e-9), (1.0, -5, 0)])
def test_what_is_left_only_narrows_what_the_caller_allows(asked, nano, usd):

    assert within(replace(FACTS, max_usd=asked), nano).max_usd == usd

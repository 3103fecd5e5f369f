"""Budgets that a trace is too short to break, and those it never met."""

from dataclasses import dataclass, field

import pytest

from policies.model import Budget
from router.compare.foreseen import foreseen, unmet

HOUR_S = 3600.0


@dataclass
class Written:
    budgets: tuple
    name: str = "p"


@dataclass
class Run:
    budgets: dict = field(default_factory=dict)


def spent(usd, value="search"):
    return Run({("team", value, "2026-01"): (round(usd * 1e9), None)})


def policy(**more):
    return Written((Budget("team", usd=100.0, per="month", **more),))


def test_an_hour_that_spends_a_months_budget_in_a_week_is_told():
    (said,) = foreseen(policy(), spent(1.0), HOUR_S).values()
    assert said.startswith("budget `team` (search): $720.00 a month at this trace's rate, $100.00")


@pytest.mark.parametrize(
    ("written", "usd", "seconds"),
    [
        (policy(), 0.13, HOUR_S),  # $94 a month
        (policy(when_spent="alert"), 1.0, HOUR_S),  # which refuses nobody
        (policy(), 500.0, 31 * 24 * HOUR_S),  # the trace itself tells
    ],
)
def test_what_would_not_break_is_not_told(written, usd, seconds):
    assert foreseen(written, spent(usd), seconds) == {}


def test_every_value_is_judged_by_itself():
    run = Run({**spent(1.0).budgets, **spent(0.01, "客服").budgets})
    assert list(foreseen(policy(), run, HOUR_S)) == [("team", "search")]


def test_a_budget_that_no_request_counts_in_is_told():
    assert list(unmet(policy(), Run())) == [
        "no request of the trace counts in budget `team` of policy `p`"
    ]
    assert list(unmet(policy(), spent(0.0))) == []

"""What a limit is told to cost, as far as two plans are known to be the cheapest."""

from dataclasses import replace

import pytest
from unit.plan import made

from router.cli.plan.asked import PLAN, VALUE
from router.plan.highs import Highs
from router.plan.program import Limits, Solution
from router.plan.slo import Slo
from router.plan.solve import solve
from router.plan.values import Terms, values

TERMS = Terms(Slo(ttft_ms=200))


class Within:
    """A solver that proves its plans within `gap` of the cheapest."""

    def __init__(self, gap):
        self.gap = gap

    def solve(self, program, limits) -> Solution:
        return replace(Highs().solve(program, limits), gap=self.gap)


def worth(gap, *, usd=10.0, relaxed_usd=9.9):
    """Return the value of the limit, of a plan at `usd` an hour and one at `relaxed_usd`."""

    def make(terms):
        unit = made.unit("a", usd if terms == TERMS else relaxed_usd)
        return made.made_problem(
            [unit], [made.requests("x", {"a"})], [(0.5,)], {"a": (1.0,)}, {"a": (1.0, 2.0, 3.0)}
        )

    solver, limits = Within(gap), Limits(gap=0.0)
    plan = solve(make(TERMS), solver, limits)
    return values(plan, TERMS, (), make, solver, limits)[0]


def test_a_value_beyond_both_gaps_is_told():
    assert worth(1e-3).usd_per_week == pytest.approx(0.1)
    assert worth(0.0, relaxed_usd=10.0).usd_per_week == 0.0


@pytest.mark.parametrize("relaxed_usd", [9.9, 10.0, 10.05])
def test_a_value_within_the_gaps_is_told_as_less_than_what_it_may_be(relaxed_usd):
    found = worth(0.01, relaxed_usd=relaxed_usd)
    assert found.usd_per_week is None
    assert found.less_than_usd == pytest.approx(10.0 - relaxed_usd * 0.99)


def test_a_relaxed_plan_is_solved_as_close_as_the_plan():
    assert VALUE.gap == PLAN.gap

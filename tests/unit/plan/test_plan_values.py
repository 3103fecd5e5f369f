"""What a limit is told to cost, as far as two plans are known to be the cheapest."""

from dataclasses import replace
from itertools import pairwise

import pytest
from unit.plan import made

from backends import files
from policies.parse import parse as parse_policy
from router.cli.plan.asked import PLAN, VALUE
from router.plan.highs import Highs
from router.plan.making import Maker
from router.plan.offers import market
from router.plan.program import Limits, Solution
from router.plan.slo import Slo
from router.plan.solve import solve
from router.plan.values import Terms, values
from router.sources import names_of
from router.traces.opening import open_trace
from router.world import world

CATALOGUE = files.catalogue(None)
SOURCE = files.packaged("policies", "default.yaml")
POLICY = parse_policy(SOURCE.text, SOURCE.name, names_of(CATALOGUE))
EXACT = Limits(gap=0.0)
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


# -- a looser limit --------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[
        "gen:poisson?rate=60&seconds=120",
        "gen:gamma?rate=40&seconds=240&in=lognormal:400:1.2&out=lognormal:200:1",
        "gen:day?rate=15&days=0.01&in=lognormal:2000:.6",
    ],
)
def maker(request):
    sold = market(CATALOGUE, from_zero=True)
    return Maker(world(POLICY, CATALOGUE), open_trace(request.param), sold)


def dollars(maker, terms):
    return solve(maker(terms), Highs(), EXACT).usd_per_week


@pytest.mark.parametrize("limit", ["ttft_ms", "e2e_ms"])
def test_a_looser_limit_never_makes_the_same_requests_dearer(maker, limit):
    """Among the times are those at which classes that were too long can just be held."""
    times = (20_000, 24_000, 30_000, 40_000, 80_000, None)
    if limit == "ttft_ms":
        times = (3_000, 4_000, 6_000, 8_000, 12_000, *times)
    tightest = Terms(Slo(**{limit: times[0]}), None, 0.95)
    late = frozenset(c.id for c in maker(tightest).classes if c.late)
    bills = [dollars(maker, replace(tightest, slo=Slo(**{limit: ms}), late=late)) for ms in times]
    assert all(bill >= after - 0.01 for bill, after in pairwise(bills))
    assert bills[0] > bills[-1]


def test_the_values_are_what_planning_again_for_the_same_requests_saves(maker):
    terms = Terms(Slo(ttft_ms=3_000), None, 0.95)
    plan = solve(maker(terms), Highs(), EXACT)
    late = frozenset(c.id for c in plan.problem.classes if c.late)
    assert late
    worth = {
        each.relaxed: each.usd_per_week
        for each in values(plan, terms, (), maker, Highs(), EXACT)
        if each.limit == "ttft_p95=3000ms"
    }
    for relaxed, ms in (("6000ms", 6_000), ("none", None)):
        again = dollars(maker, replace(terms, slo=Slo(ttft_ms=ms), late=late))
        assert worth[relaxed] == pytest.approx(plan.usd_per_week - again, abs=0.01)
    assert 0 < worth["6000ms"] <= worth["none"]

"""The program against every plan there is, on small pools."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.plan import made

from router.plan.highs import Highs
from router.plan.program import Limits
from router.plan.shadow import relaxation, shadow_prices
from router.plan.solve import solve

EXACT = Limits(gap=0.0)
USD = st.sampled_from([1.0, 2.0, 3.0, 5.0])
BUSY = st.sampled_from([None, 0.25, 0.5, 1.0])
RATE = st.sampled_from([0.0, 0.5, 1.0, 2.0])
CARRIED = {"a": (0.5, 1.5), "b": (1.0, 2.0)}


@st.composite
def problems(draw):
    units = [
        made.unit(name, draw(USD), least=draw(st.sampled_from([0, 0, 1])), most=2,
                  ahead=draw(st.sampled_from([None, 0.5, 1.5])),
                  start_s=draw(st.sampled_from([0.0, 1800.0])))
        for name in "ab"
    ]  # fmt: skip
    classes = [made.requests(name, {"a", "b"}) for name in ("x", "y")]
    rates = draw(st.lists(st.tuples(RATE, RATE), min_size=1, max_size=2))
    busy_s = {name: draw(st.tuples(BUSY, BUSY)) for name in "ab"}
    return made.made_problem(units, classes, rates, busy_s, CARRIED)


def carries(problem, hour, counts):
    """Whether some split of the classes over the fleets fits: by the corners of the routes.

    Two fleets, two classes: give each class to a as far as it goes, in either order.
    """
    rates = problem.levels[hour].rates
    room = {f: (CARRIED[f][n - 1] if n else 0.0) for f, n in counts.items()}
    busy = {
        f: dict(zip(ways[0].classes, ways[0].busy_s, strict=True)) if ways else {}
        for f, ways in problem.modes.items()
    }
    for order in itertools.permutations(range(2)):
        for first in ("a", "b"):
            second = "b" if first == "a" else "a"
            left, fits = dict(room), True
            for place in order:
                rate = rates[place]
                for fleet in (first, second):
                    each = busy[fleet].get(place)
                    if each is None or rate <= 0:
                        continue
                    take = min(rate, left[fleet] / each)
                    rate, left[fleet] = rate - take, left[fleet] - take * each
                fits = fits and rate <= 1e-9
            if fits:
                return True
    return False


def cheapest(problem):
    """Return the least bill of all counts, or None."""
    hours = len(problem.levels)
    ahead = [[(u, n) for n in (range(3) if u.offers[0].fixed else (0,))] for u in problem.units]
    best = None
    for fixed in itertools.product(*ahead):
        for hourly in itertools.product(
            itertools.product(range(3), repeat=len(problem.units)), repeat=hours
        ):
            usd = bill(problem, fixed, hourly)
            if usd is not None and (best is None or usd < best):
                best = usd
    return best


def bill(problem, fixed, hourly):
    usd, hours = 0.0, len(problem.levels)
    for place, (unit, ahead) in enumerate(fixed):
        listed = unit.offers[-1].usd_per_hour
        if ahead:
            usd += ahead * unit.offers[0].usd_per_hour * hours
        for hour in range(hours):
            if not unit.least <= ahead + hourly[hour][place] <= unit.most:
                return None
            usd += hourly[hour][place] * listed
            grown = hourly[hour][place] - hourly[hour - 1][place]
            usd += max(0, grown) * listed * unit.start_hours
    for hour in range(hours):
        counts = {u.id: n + hourly[hour][i] for i, (u, n) in enumerate(fixed)}
        if not carries(problem, hour, counts):
            return None
    return usd


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems())
def test_the_plan_is_the_cheapest_of_all_there_are(problem):
    plan = solve(problem, Highs(), EXACT)
    best = cheapest(problem)
    if best is None:
        assert plan is None
    else:
        assert plan is not None
        assert plan.usd == pytest.approx(best, abs=1e-6)


def one_fleet(rate, *, ahead=None, most=3):
    units = [made.unit("a", 10.0, ahead=ahead, most=most), made.unit("b", 30.0)]
    classes = [made.requests("x", {"a", "b"})]
    busy_s = {"a": (0.5,), "b": (0.5,)}
    carried = {"a": (0.9, 1.9, 2.9), "b": (0.9, 1.9, 2.9)}
    return made.made_problem(units, classes, [(rate,)], busy_s, carried)


def test_what_is_routed_is_what_is_asked_for():
    plan = solve(one_fleet(3.0), Highs(), EXACT)
    assert sum(run.routed[0] for run in plan.runs) == pytest.approx(3.0)
    assert all(run.busy <= run.carries + 1e-9 for run in plan.runs)
    assert plan.purchase("a").machines == (2,)


def test_the_same_problem_has_the_same_plan():
    first, second = (solve(one_fleet(2.5), Highs(), EXACT) for _ in range(2))
    assert first == second


def test_cheap_machines_are_bought_ahead_for_what_is_always_there():
    units = [made.unit("a", 10.0, ahead=6.0)]
    carried = {"a": (1.0, 2.0, 3.0)}
    problem = made.made_problem(
        units, [made.requests("x", {"a"})], [(1.0,), (1.0,), (3.0,)], {"a": (1.0,)}, carried
    )
    bought = solve(problem, Highs(), EXACT).purchase("a")
    assert bought.fixed == {"reserved": 1}
    assert bought.machines == (1, 1, 3)


def test_the_shadow_price_is_that_of_the_hours_machine_where_the_fleet_grows():
    prices = shadow_prices(solve(one_fleet(3.0), Highs(), EXACT), Highs(), EXACT)
    per_replica = 1.9 / 2  # what each of the two planned replicas carries
    assert prices["a"] == (pytest.approx(10 / 3600 / per_replica),)


def test_room_that_is_paid_anyway_has_no_price():
    units = [made.unit("a", 10.0, ahead=1.0)]
    problem = made.made_problem(
        units, [made.requests("x", {"a"})], [(0.5,)], {"a": (1.0,)}, {"a": (0.9, 1.9, 2.9)}
    )
    assert shadow_prices(solve(problem, Highs(), EXACT), Highs(), EXACT)["a"] == (0.0,)


def test_a_fleet_that_cannot_grow_is_worth_what_it_saves_elsewhere():
    problem = one_fleet(3.0, most=1)
    prices = shadow_prices(solve(problem, Highs(), EXACT), Highs(), EXACT)
    assert prices["a"][0] > 10 / 3600 / 0.9


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_duals_are_what_the_bill_changes_by(problem):
    plan = solve(problem, Highs(), EXACT)
    if plan is None:
        return
    relaxed = relaxation(plan)
    base = Highs().solve(relaxed.program, EXACT)
    for row in relaxed.capacity.values():
        dual, step = base.duals[row], 1e-5
        moved = []
        for by in (-step, step):
            high = relaxed.program.high[row]
            relaxed.program.high[row] = high + by
            moved.append(Highs().solve(relaxed.program, EXACT))
            relaxed.program.high[row] = high
        if any(not each.values for each in moved):
            continue  # at the edge of what can be done
        left, right = (
            (each.cost - base.cost) / by for each, by in zip(moved, (-step, step), strict=True)
        )
        # convex: where it has a kink, the dual lies between its two slopes
        assert min(left, right) - 1e-4 <= dual <= max(left, right) + 1e-4

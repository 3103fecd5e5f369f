"""The program against every plan there is, on small pools."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.plan import made

from backends.prices import Pool
from router.plan.highs import Highs
from router.plan.program import Limits
from router.plan.shadow import relaxation, shadow_prices
from router.plan.solve import solve

EXACT = Limits(gap=0.0)
USD = st.sampled_from([1.0, 2.0, 3.0, 5.0])
BUSY = st.sampled_from([None, 0.25, 0.5, 1.0])
RATE = st.sampled_from([0.0, 0.5, 1.0, 2.0])
CARRIED = {"a": (0.5, 1.5), "b": (1.0, 2.0)}


LEVELS_OF = {
    1: [(0,), (0, 0, 0)],
    2: [(0, 1), (0, 0, 1), (0, 1, 0, 1), (1, 0, 1, 1, 0, 1)],
}


@st.composite
def problems(draw):
    """Small pools, so that bills tie and limits bind: levels of several hours, Spot, and a savings
    plan that exists.
    """
    units = [
        replace(
            made.unit(name, draw(USD), least=draw(st.sampled_from([0, 0, 1])), most=2,
                      ahead=draw(st.sampled_from([None, 0.5, 1.5])),
                      spot=draw(st.sampled_from([None, 0.4, 1.0])) if name == "a" else None,
                      plan_usd=draw(st.sampled_from([None, 0.5, 1.0]))),
            wake_s=draw(st.sampled_from([0.0, 1800.0])),
        )
        for name in "ab"
    ]  # fmt: skip
    classes = [made.requests(name, {"a", "b"}) for name in ("x", "y")]
    rates = draw(st.lists(st.tuples(RATE, RATE), min_size=1, max_size=2))
    return replace(
        made.made_problem(
            *(units, classes, rates),
            {name: draw(st.tuples(BUSY, BUSY)) for name in "ab"},
            CARRIED,
            weights=[draw(st.sampled_from([0.5, 1.0, 3.0])) for _ in rates],
            level_of=draw(st.sampled_from(LEVELS_OF[len(rates)])),
            pools=[Pool(made.POOL, draw(st.sampled_from([0.25, 0.75, 3.0])), (), ())],
        ),
        spot_interruptions_per_hour=draw(st.sampled_from([0.0, 0.5])),
    )


def room(problem, unit, firm, spot):
    """Return what machines of this unit carry: as many replicas as is best, first where firm."""
    away = problem.spot_interruptions_per_hour * unit.wake_s / 3600
    found = [0.0]
    for n in range(1, firm + spot + 1):
        on_spot = max(0, n - firm)
        found.append(CARRIED[unit.id][n - 1] * ((n - on_spot) + on_spot * (1 - away)) / n)
    return max(found)


def carries(problem, level, room_of):
    """Whether some split of the classes over the fleets fits: by the corners of the routes.

    Two fleets, two classes: give each class to a as far as it goes, in either order.
    """
    rates = problem.levels[level].rates
    busy = {
        f: dict(zip(ways[0].classes, ways[0].busy_s, strict=True)) if ways else {}
        for f, ways in problem.modes.items()
    }
    for order in itertools.permutations(range(2)):
        for first in ("a", "b"):
            second = "b" if first == "a" else "a"
            left, fits = dict(room_of), True
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


def usd_of(unit, option):
    return next((o.usd_per_hour for o in unit.offers if o.option == option), None)


def hourly_counts(unit):
    """Return each count of machines of the hour: on demand, and on Spot if it is sold."""
    spot = range(3) if usd_of(unit, "spot") is not None else (0,)
    return [both for both in itertools.product(range(3), spot) if sum(both) <= unit.most]


def covered(problem, counts):
    """Return USD an hour that the savings plan saves: it goes where a dollar of it saves most."""
    left, saved = problem.market.pools[0].usd_per_hour, 0.0
    able = [
        (usd_of(unit, "on_demand") / unit.plan_usd, unit.plan_usd, on_demand)
        for unit, (on_demand, _) in zip(problem.units, counts, strict=True)
        if unit.plan_usd is not None and usd_of(unit, "on_demand") > unit.plan_usd
    ]
    for per_usd, each, machines in sorted(able, reverse=True):
        taken = min(left, each * machines)
        left, saved = left - taken, saved + taken * per_usd
    return saved


def levels_bills(problem, ahead, level):
    """Return the machines of the hour that suffice for this level, each with its bill."""
    found = {}
    for counts in itertools.product(*(hourly_counts(unit) for unit in problem.units)):
        bought = list(zip(problem.units, ahead, counts, strict=True))
        if any(not unit.least <= n + sum(both) <= unit.most for unit, n, both in bought):
            continue
        usd, room_of = -covered(problem, counts), {}
        for unit, fixed, (on_demand, spot) in bought:
            usd += on_demand * usd_of(unit, "on_demand") + spot * (usd_of(unit, "spot") or 0.0)
            room_of[unit.id] = room(problem, unit, fixed + on_demand, spot)
        if carries(problem, level, room_of):
            found[counts] = usd * problem.levels[level].weight
    return found


def starts(problem, hourly):
    """Return what machines of the hour cost while they start: hour by hour, round and round."""
    usd = 0.0
    for place, unit in enumerate(problem.units):
        each = min(o.usd_per_hour for o in unit.offers if not o.fixed) * unit.wake_s / 3600
        running = [sum(hourly[level][place]) for level in problem.level_of]
        usd += sum(max(0, n - running[hour - 1]) * each for hour, n in enumerate(running))
    return usd


def cheapest(problem):
    """Return the least bill of all counts, or None."""
    hours = sum(level.weight for level in problem.levels)
    pool = hours * problem.market.pools[0].usd_per_hour
    bills = []
    sold = [usd_of(unit, "reserved") for unit in problem.units]
    for ahead in itertools.product(*(range(3) if usd is not None else (0,) for usd in sold)):
        fixed = sum(n * (usd or 0.0) for n, usd in zip(ahead, sold, strict=True)) * hours
        levels = [levels_bills(problem, ahead, level) for level in range(len(problem.levels))]
        for hourly in itertools.product(*levels):
            own = sum(bill[counts] for bill, counts in zip(levels, hourly, strict=True))
            bills.append(pool + fixed + own + starts(problem, hourly))
    return min(bills, default=None)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(problems())
def test_the_plan_is_the_cheapest_of_all_there_are(problem):
    plan = solve(problem, Highs(), EXACT)
    best = cheapest(problem)
    if best is None:
        assert plan is None
    else:
        assert plan is not None
        assert plan.usd == pytest.approx(best, abs=1e-6)


def test_every_start_of_a_machine_is_paid():
    problem = made.made_problem(
        [made.unit("a", 10.0, start_s=1800.0)],
        [made.requests("x", {"a"})],
        [(0.0,), (0.5,)],
        {"a": (1.0,)},
        {"a": (1.0,)},
        weights=[8.0, 2.0],
        level_of=(0, 1, 0, 1),
    )
    assert solve(problem, Highs(), EXACT).usd == pytest.approx(2 * 10.0 + 2 * 10.0 / 2)


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


@pytest.mark.parametrize("weight", [0.5, 3.0])
def test_a_shadow_price_is_of_one_second_however_many_hours_a_level_stands_for(weight):
    problem = one_fleet(3.0)
    (hour,) = problem.levels
    other = replace(problem, levels=(replace(hour, weight=weight),))
    once, often = (
        shadow_prices(solve(each, Highs(), EXACT), Highs(), EXACT) for each in (problem, other)
    )
    assert often["a"] == pytest.approx(once["a"])


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

"""What is told beside a plan, with its figures."""

from dataclasses import replace

import pytest
from unit.plan import made

from router.plan.highs import Highs
from router.plan.program import Limits
from router.plan.solve import solve
from router.plan.verify import ByClass, Played
from router.plan.warned import warnings_of

HELD = Played(1.0, None, None, 1234.5, 0, {}, {"many": ByClass(100, 100)})


def planned(*rates):
    """Return the plan of an hour of each of these rates, which a machine serves up to 1 of."""
    classes = [made.requests("x", {"a"})]
    carried = {"a": (1.0, 2.0, 3.0)}
    hours = [(rate,) for rate in rates]
    problem = made.made_problem([made.unit("a", 10.0)], classes, hours, {"a": (1.0,)}, carried)
    return solve(problem, Highs(), Limits(gap=0.0))


def test_a_plan_that_holds_with_even_hours_has_no_warning():
    assert warnings_of(planned(0.5, 0.6), HELD) == ()


def test_hours_of_different_counts_are_told_to_be_no_timetable():
    (told,) = warnings_of(planned(0.5, 2.5), HELD)
    assert "no timetable (a 1 to 3)" in told
    assert "for $1,234.50 a week instead of $40.00" in told
    (told,) = warnings_of(planned(0.5, 2.5), replace(HELD, usd_per_week=None))
    assert "for unknown a week" in told


def test_one_late_of_few_is_told_with_how_many():
    few = {"a": ByClass(4, 3), "b": ByClass(19, 18), "c": ByClass(9, 9), "d": ByClass(3, 0, True)}
    played = replace(HELD, by_class={**HELD.by_class, **few, "e": ByClass(20, 19)})
    (told,) = warnings_of(planned(0.5), played)
    assert "classes of fewer than 20 requests may have one late" in told
    assert "2 of 23 requests in 2 such classes are" in told


@pytest.mark.parametrize("classes", [1, 5])
def test_a_plan_that_does_not_hold_says_by_how_much_and_which_classes_are_worst(classes):
    missed = {f"c{n}": ByClass(100, 90 - n) for n in range(classes)}
    played = replace(HELD, attained=0.96, by_class=missed)
    (told,) = warnings_of(planned(0.5), played)
    assert "the plan doesn't hold: 96.00% of the replay's requests" in told
    assert f"missed by {classes} classes: `c{classes - 1}` {91 - classes}.00% of 100" in told
    assert told.count("`") == 2 * min(classes, 3)

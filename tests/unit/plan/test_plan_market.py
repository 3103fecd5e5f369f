from dataclasses import replace

import pytest
from unit.plan import made

from router.plan.highs import Highs
from router.plan.offers import market
from router.plan.program import Limits
from router.plan.solve import solve


def test_a_fleet_is_offered_by_its_own_option_and_those_of_the_price_book(tmp_path):
    sold = market(made.catalogue(tmp_path, made.fleet("f")))
    (unit,) = sold.units
    assert [(o.option, o.usd_per_hour, o.fixed) for o in unit.offers] == [
        ("reserved", 6, True),
        ("on_demand", 10, False),
        ("spot", 3, False),
    ]
    assert (unit.least, unit.most, unit.start_hours) == (0, 3, 600 / 3600)


def test_an_own_price_is_the_only_offer(tmp_path):
    sold = market(made.catalogue(tmp_path, made.fleet("f", more=", usd_per_hour: 4")))
    assert [(o.option, o.usd_per_hour) for o in sold.units[0].offers] == [("on_demand", 4)]


def test_a_fleet_without_a_price_is_left_out_with_the_reason(tmp_path):
    sold = market(made.catalogue(tmp_path, made.fleet("f"), made.fleet("g", instance="none")))
    assert [unit.id for unit in sold.units] == ["f"]
    assert sold.left_out == (("g", "its price is unknown"),)


def test_fleets_of_one_host_come_together_and_share_its_price(tmp_path):
    host = ", host: h, host_share: {}"
    sold = market(
        made.catalogue(
            tmp_path,
            made.fleet("f", more=host.format(0.6)),
            made.fleet("g", more=host.format(0.4)),
        )
    )
    (unit,) = sold.units
    assert (unit.id, unit.fleets) == ("h", ("f", "g"))
    assert unit.offers[1].usd_per_hour == 10


def test_a_plan_from_zero_forgets_what_is_there(tmp_path):
    found = made.catalogue(tmp_path, made.fleet("f", least=2))
    assert market(found).units[0].least == 2
    assert market(found, from_zero=True).units[0].least == 0


def test_a_spot_machine_counts_for_less_as_it_is_away_while_another_starts(tmp_path):
    unit = market(made.catalogue(tmp_path, made.fleet("f"))).units[0]
    assert unit.spot_worth(0.6) == 1 - 0.6 / 6
    assert unit.spot_worth(0.0) == 1


def on_spot(*, rate=0.5, on_demand=10.0, most=3):
    """Return the plan of a fleet whose one replica carries 0.9; a Spot machine is away 1 %."""
    unit = replace(made.unit("a", on_demand, spot=3.0, most=most), wake_s=720.0)
    carried = {"a": (0.9, 1.9, 2.9)[:most]}
    problem = made.made_problem(
        [unit], [made.requests("x", {"a"})], [(rate,)], {"a": (1.0,)}, carried
    )
    return solve(problem, Highs(), Limits(gap=0.0))


@pytest.mark.parametrize("most", [1, 3])
def test_one_spot_machine_serves_what_one_replica_can_its_absence_aside(most):
    bought = on_spot(most=most).purchase("a")
    assert bought.hourly == ({"on_demand": 0, "spot": 1},)


def test_another_machine_is_bought_where_the_absence_of_spot_matters():
    assert on_spot(rate=0.89).purchase("a").machines == (1,)
    assert on_spot(rate=0.895).purchase("a").machines == (2,)
    assert on_spot(rate=0.895, on_demand=5.0).purchase("a").hourly == ({"on_demand": 1, "spot": 0},)


def test_what_a_fleet_on_spot_carries_is_less_by_the_absence():
    (run,) = on_spot().runs
    assert run.carries == pytest.approx(0.9 * 0.99)


def test_each_of_two_spot_machines_takes_from_what_two_replicas_carry():
    unit = replace(made.unit("a", 10.0, spot=3.0, most=2), wake_s=7200.0)  # away 10 % of the time
    problem = made.made_problem(
        [unit], [made.requests("x", {"a"})], [(1.36,)], {"a": (1.0,)}, {"a": (0.5, 1.5)}
    )
    bought = solve(problem, Highs(), Limits(gap=0.0)).purchase("a")
    assert bought.hourly == ({"on_demand": 1, "spot": 1},)

"""By which groups of machines the replicas of a fleet on ECS are bought."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.tariff import Tariff, Tranche
from router import lane_names
from router.deploy import purchase, read
from router.deploy.lane import Unmade

ROOT = Path(__file__).parents[4]
BLOCK = Tranche(
    "capacity_block", 2, None, "cr-0123456789abcdef0", "2026-12-01T11:30:00Z", "2026-12-08T11:30Z"
)
ON_DEMAND, SPOT = Tranche("on_demand", 1, None), Tranche("spot", None, None)
RESERVED = Tranche("reserved", 1, None, "cr-00000000000000001")


@pytest.fixture(scope="module")
def example():
    stage = read.stages(ROOT / "infra" / "examples" / "lanes" / "deploy.yaml")["lanes"]
    return next(lane.fleet for lane in stage.lanes if lane.fleet.id == "scout-trn2")


@pytest.fixture
def fleet(example):
    def made(*tranches):
        found = replace(example, tranches=tranches)
        assert found.tariff == Tariff(tranches)
        return found

    return made


def test_machines_on_demand_stand_in_one_group(fleet):
    found = purchase.bought([fleet(ON_DEMAND)])
    assert found == purchase.Bought(purchase.Standing(4, None, ()), None)


def test_spot_has_those_by_the_hour_before_it(fleet):
    plan = Tranche("savings_plan", 1, None)
    found = purchase.bought([fleet(plan, ON_DEMAND, SPOT)])
    assert found.standing == purchase.Standing(4, 2, ())
    assert purchase.bought([fleet(SPOT)]).standing == purchase.Standing(4, 0, ())


def test_a_reservation_s_id_goes_to_its_group(fleet):
    found = purchase.bought([fleet(RESERVED, ON_DEMAND)])
    assert found.standing == purchase.Standing(4, None, ("cr-00000000000000001",))


def test_a_block_is_a_group_of_its_own_and_let_go_before_aws_takes_it(fleet):
    found = purchase.bought([fleet(BLOCK, SPOT)])
    begins, let_go = (
        datetime(2026, 12, 1, 11, 30, tzinfo=UTC),
        datetime(2026, 12, 8, 10, 50, tzinfo=UTC),
    )
    assert found.block == purchase.Block(2, "cr-0123456789abcdef0", begins, let_go)
    assert found.standing == purchase.Standing(4, 0, ())


def test_a_block_alone_has_no_group_beside_it_and_no_more_than_the_fleet_s_replicas(fleet):
    found = purchase.bought([fleet(replace(BLOCK, replicas=None))])
    assert found.standing is None
    assert found.block.machines == 4


def test_fleets_of_one_host_have_as_many_machines_as_the_largest_needs(fleet):
    large = fleet(ON_DEMAND)
    small = replace(large, replicas=replace(large.replicas, max=1))
    assert purchase.bought([small, large]).standing.most == 4


@pytest.mark.parametrize(
    ("tranches", "said"),
    [
        ((replace(SPOT, replicas=1), ON_DEMAND), "Spot comes last"),
        ((BLOCK, BLOCK), "one Capacity Block at a time"),
        ((replace(BLOCK, reservation=None),), "needs `reservation`, `from` and `until`"),
        ((replace(BLOCK, until="2026-12-01T12:10:00Z"),), "`from` must be before that"),
    ],
)
def test_what_no_group_can_buy_is_refused(fleet, tranches, said):
    with pytest.raises(Unmade, match=said) as refused:
        purchase.bought([fleet(*tranches)])
    assert refused.value.key == ("purchase",)


def test_a_fleet_partly_in_a_block_has_two_services_and_the_first_follows_the_load(fleet):
    names = [
        lane_names.services("prod", fleet(*each)) for each in ((BLOCK, SPOT), (BLOCK,), (SPOT,))
    ]
    alone = ("sluice-prod-scout-trn2",)
    assert names == [(*alone, "sluice-prod-scout-trn2-block"), alone, alone]

"""Which quotas a stage's machines need, by how they are bought."""

from dataclasses import replace
from pathlib import Path

import pytest

from backends.tariff import Tranche
from router.cli import quota_text
from router.deploy.quotas import quotas
from router.deploy.read import stages

STAGE = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
LANES = {lane.fleet.id: lane for lane in STAGE.lanes}
P5 = LANES["scout-p5"]
BLOCK = Tranche("capacity_block", 1, None, reservation="cr-1")
PREFIX = {
    "p5.48xlarge": ("L-417A185B", "L-C4BD4855"),
    "p4d.24xlarge": ("L-417A185B", "L-7212CCBC"),
    "g6e.48xlarge": ("L-DB2E81BA", "L-3819A6DF"),
    "trn2.48xlarge": ("L-2C3B7624", "L-6B0D517C"),
    "inf2.48xlarge": ("L-1945791B", "L-B5D1601B"),
    "c8g.xlarge": ("L-1216C47A", "L-34B43A08"),
}


def of(*tranches, lane=P5, most=4, **keys):
    replicas = replace(lane.fleet.replicas, min=0, max=most)
    fleet = replace(lane.fleet, tranches=tranches, replicas=replicas, **keys)
    return replace(lane, fleet=fleet)


def needed(*lanes):
    return {each.code: each.needed for each in quotas(replace(STAGE, lanes=lanes))}


@pytest.mark.parametrize("instance", PREFIX)
def test_each_family_has_its_quota_on_demand_and_on_spot(instance):
    lane = of(Tranche("on_demand", 1, None), Tranche("spot", None, None), instance=instance)
    assert tuple(needed(lane)) == PREFIX[instance]


def test_every_machine_that_a_stage_can_make_is_of_a_family_that_is_known_here():
    known = {name.partition(".")[0] for name in PREFIX} | {"c7g"}
    assert {lane.instance.partition(".")[0] for lane in STAGE.lanes} <= known


def test_what_is_by_the_hour_is_on_demand_and_the_rest_on_spot():
    lane = of(
        Tranche("reserved", 1, None), Tranche("savings_plan", 1, None), Tranche("spot", None, None)
    )
    assert needed(lane) == {"L-417A185B": 2 * 192, "L-C4BD4855": 2 * 192}


def test_a_block_counts_in_none_and_takes_nothing_from_the_others():
    assert needed(of(BLOCK)) == {}
    assert needed(of(BLOCK, Tranche("on_demand", None, None))) == {"L-417A185B": 4 * 192}


def test_more_in_tranches_than_the_most_is_not_needed():
    lane = of(Tranche("on_demand", 9, None), Tranche("spot", None, None), most=2)
    assert needed(lane) == {"L-417A185B": 2 * 192}


def test_fleets_of_one_quota_are_added_and_those_of_one_machine_are_not():
    other = replace(P5, fleet=replace(P5.fleet, id="second"))
    assert needed(P5, other) == {"L-417A185B": 4 * 192}
    shared = [replace(one, fleet=replace(one.fleet, host="big")) for one in (P5, other)]
    assert needed(*shared) == {"L-417A185B": 2 * 192}
    (row,) = quotas(replace(STAGE, lanes=tuple(shared)))
    assert row.fleets == ("scout-p5", "second")


def test_vcpus_that_nobody_knows_are_unknown_in_the_sum():
    fit = replace(P5.fit, instance=replace(P5.fit.instance, vcpu=None))
    assert needed(P5, replace(P5, fit=fit, fleet=replace(P5.fleet, id="x"))) == {"L-417A185B": None}


def test_sagemaker_s_is_found_by_its_name():
    (row,) = quotas(replace(STAGE, lanes=(LANES["qwen3-graviton"],)))
    assert (row.service, row.code, row.needed) == ("sagemaker", None, 4)
    assert row.name == "ml.c8g.xlarge for endpoint usage"


@pytest.mark.parametrize(("on", "said"), [("eks", True), ("ecs", False)])
def test_auto_mode_s_own_machines_are_named_where_there_is_a_cluster_of_eks(on, said):
    lane = replace(P5, on=on)
    told = "\n".join(quota_text.text(replace(STAGE, lanes=(lane,))))
    assert ("Auto Mode's own machines" in told and "L-1216C47A" in told) is said

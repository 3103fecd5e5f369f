"""What the fleets that a stage makes cost before they exist."""

from dataclasses import replace
from pathlib import Path

import pytest

from backends import aws_prices, cost, files
from backends.fleet_model import prepare
from backends.prices import Price
from backends.tariff import Tariff, Tranche, single
from router.cli import lane_text
from router.deploy import disks, parts
from router.deploy.lane import Lane
from router.deploy.lane_plan import cost_of, idle_month, usd_per_hour
from router.deploy.plan import plan
from router.deploy.read import stages
from router.deploy.shape import MONTH_HOURS
from router.deploy.stage import Deferrable

STAGE = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
LANES = {lane.fleet.id: lane for lane in STAGE.lanes}
SOURCE = files.packaged("backends", "data", "aws.yaml")
PRICES = aws_prices.read(SOURCE.text, SOURCE.name)
CHEAP, DEAR = Price(10.0, "2026-01-01", "a", "stated"), Price(40.0, "2026-01-01", "b", "stated")


def of(fleet_id, **keys) -> Lane:
    lane = LANES[fleet_id]
    return replace(lane, fleet=replace(lane.fleet, **keys))


def on(lane, where):
    assert lane.fleet.runs is not None
    return replace(
        lane, on=where, fleet=replace(lane.fleet, runs=replace(lane.fleet.runs, on=where))
    )


def lines(stage):
    return {
        (line.key, line.per): line for line in plan(stage, PRICES).lines if line.group == "lanes"
    }


# ---- machines ------------------------------------------------------------------------------------


def test_a_fleet_that_may_sleep_costs_nothing_idle():
    found = cost_of(LANES["scout-p5"])
    assert (found.idle_month, found.hour_at_min) == (0.0, 0.0)
    assert found.hour_at_max == pytest.approx(2 * 98.32)


def test_a_fleet_that_is_always_there_costs_its_least_replicas_all_month():
    found = cost_of(LANES["scout-trn2"])
    assert found.idle_month == pytest.approx(45 * MONTH_HOURS)
    assert found.hour_at_max == pytest.approx(4 * 45)


def test_tranches_are_filled_in_their_order():
    tariff = Tariff((Tranche("savings_plan", 1, CHEAP), Tranche("on_demand", None, DEAR)))
    assert [usd_per_hour(tariff, n) for n in (0, 1, 3)] == [0.0, 10.0, 90.0]


@pytest.mark.parametrize("option", ["reserved", "capacity_block"])
def test_what_was_bought_ahead_is_paid_for_without_a_replica_in_it(option):
    tariff = Tariff((Tranche(option, 2, CHEAP), Tranche("on_demand", None, DEAR)))
    assert [usd_per_hour(tariff, n) for n in (0, 1, 3)] == [20.0, 20.0, 60.0]


def test_what_was_reserved_without_a_count_is_paid_for_up_to_the_most():
    tariff = single("reserved", CHEAP)
    assert [usd_per_hour(tariff, n, 3) for n in (0, 1, 3)] == [30.0, 30.0, 30.0]
    assert idle_month(tariff, 0, 3) == 30.0 * MONTH_HOURS
    rest = Tariff((Tranche("on_demand", 1, DEAR), Tranche("reserved", None, CHEAP)))
    assert usd_per_hour(rest, 0, 3) == 20.0
    assert usd_per_hour(single("reserved", None), 0, 3) is None


def block(price=CHEAP, until="2026-12-03T11:30:00Z"):
    return Tranche("capacity_block", 2, price, "cr-0", "2026-12-01T11:30:00Z", until)


def test_a_block_is_paid_for_once_with_its_own_hours_and_its_machines_stand_in_for_others():
    alone, beside = Tariff((block(),)), Tariff((block(), Tranche("on_demand", None, DEAR)))
    assert idle_month(alone, 0, 2) == 2 * 48 * 10
    assert idle_month(alone, 2, 2) == 2 * 48 * 10
    assert idle_month(beside, 0, 4) == 2 * 48 * 10
    assert idle_month(beside, 2, 4) == 2 * 48 * 10 + 2 * (MONTH_HOURS - 48) * 40
    assert idle_month(beside, 3, 4) == 2 * 48 * 10 + 48 * 40 + 3 * (MONTH_HOURS - 48) * 40


def test_a_block_longer_than_a_month_is_paid_for_at_once_and_no_other_beside_it():
    long = block(until="2027-01-30T11:30:00Z")
    tariff = Tariff((long, Tranche("on_demand", None, DEAR)))
    assert idle_month(tariff, 2, 4) == 2 * 60 * 24 * 10


def test_a_block_without_a_price_is_unknown_with_no_replica_in_it():
    assert idle_month(Tariff((block(None), Tranche("spot", None, CHEAP))), 0, 2) is None
    spot = Tariff((block(), Tranche("spot", None, None)))
    assert [idle_month(spot, n, 4) for n in (0, 3)] == [2 * 48 * 10, None]


def test_a_share_of_a_machine_in_a_block_pays_its_share_once():
    tariff = Tariff((block(), Tranche("on_demand", None, DEAR)))
    lane = LANES["scout-p5"]
    fleet = replace(lane.fleet, tranches=tariff.tranches, host="big", host_share=0.5)
    found = cost_of(replace(lane, fleet=fleet))
    assert found.idle_month == 48 * 10
    [line] = [
        line
        for each in lane_text.text(plan(replace(STAGE, lanes=(found.lane,)), PRICES))
        for line in each.split("\n")
        if "capacity_block" in line
    ]
    assert "until 2026-12-03T11:30:00Z, 2 days: paid once, in $/h while it runs: $10/h" in line


def test_equal_tranches_are_counted_one_by_one():
    tariff = Tariff((Tranche("reserved", 1, CHEAP), Tranche("reserved", 1, CHEAP)))
    assert [usd_per_hour(tariff, n) for n in (0, 1, 2)] == [20.0, 20.0, 20.0]


def test_an_unknown_price_is_unknown_as_soon_as_a_replica_stands_in_it():
    tariff = Tariff((Tranche("spot", 1, CHEAP), Tranche("on_demand", None, None)))
    assert [usd_per_hour(tariff, n) for n in (0, 1, 2)] == [0.0, 10.0, None]
    assert usd_per_hour(single("on_demand", None), 0) == 0.0


def test_a_share_of_a_machine_is_a_share_of_its_price():
    half = cost_of(of("scout-trn2", host="big", host_share=0.5))
    assert half.hour_at_min == pytest.approx(45 / 2)
    whole = cost_of(LANES["scout-trn2"])
    assert half.at_capacity is not None
    assert whole.at_capacity is not None
    assert half.at_capacity[1] == pytest.approx(whole.at_capacity[1] / 2)


# ---- disks and wake-ups --------------------------------------------------------------------------


def test_a_volume_is_paid_for_as_long_as_its_machine_runs():
    found = {each.lane.fleet.id: each for each in plan(STAGE, PRICES).lanes}
    each = (100 * 0.08 + 3000 * 0.005 + 875 * 0.04) / MONTH_HOURS
    assert found["scout-trn2"].disks_at_min == pytest.approx(each)
    assert found["scout-trn2"].disks_at_max == pytest.approx(4 * each)
    assert found["scout-p5"].disks_at_min == 0
    assert found["qwen3-graviton"].disks_at_max is None


def test_a_share_of_a_machine_has_its_share_of_the_volume():
    half = cost_of(of("scout-trn2", host="big", host_share=0.5), 0.1)
    assert half.disks_at_max == pytest.approx(4 * 0.05)


def test_a_wake_up_is_paid_from_the_start_until_the_machine_is_let_go():
    found = cost_of(LANES["scout-p5"], 0.1)
    assert found.wake_s == 900 + 3600 + 900
    assert found.wake_usd == pytest.approx((98.32 + 0.1) * 1.5)
    assert cost_of(LANES["scout-trn2"], 0.1).wake_s is None
    assert cost_of(on(LANES["scout-p5"], "eks"), 0.1).wake_s == 900 + 2 * 3600
    short = of("scout-p5", min_run_seconds=60)
    assert cost_of(short, 0.1).wake_s == 900 + 900 + 900
    assert cost_of(on(short, "sagemaker")).wake_s == 900 + 900


def test_a_wake_up_is_unknown_without_a_price_of_machine_or_disk():
    assert cost_of(LANES["scout-p5"]).wake_usd is None
    assert cost_of(of("scout-p5", price=None), 0.1).wake_usd is None


def test_a_wake_up_of_what_was_bought_ahead_costs_its_disk_alone():
    ahead = of("scout-p5", tranches=(Tranche("reserved", 2, CHEAP),))
    assert cost_of(ahead, 0.1).wake_usd == pytest.approx(0.15)


# ---- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fleet_id", list(LANES))
def test_a_token_costs_what_fleet_show_says_of_it(fleet_id):
    found, model = cost_of(LANES[fleet_id]), prepare(LANES[fleet_id].fleet)
    assert model.card is not None
    assert found.at_capacity is not None
    assert found.at_capacity[0] == pytest.approx(model.card.nano_per_mtok_in / cost.NANO, abs=1e-8)
    assert found.at_capacity[1] == pytest.approx(model.card.nano_per_mtok_out / cost.NANO, abs=1e-8)
    assert found.streams == pytest.approx(0.7 * model.capacity)
    assert found.marks == model.marks


def test_a_fleet_that_is_less_full_has_a_dearer_token():
    found = cost_of(LANES["scout-p5"])
    assert found.at_scale_out is not None
    assert found.at_capacity is not None
    assert found.at_scale_out[1] > found.at_capacity[1]


def test_without_a_profile_or_a_price_a_token_is_unknown():
    for keys in ({"profile": None}, {"price": None}):
        found = cost_of(of("scout-p5", **keys))
        assert (found.at_capacity, found.at_scale_out) == (None, None)


# ---- the plan of the stage -----------------------------------------------------------------------


def test_machines_are_in_no_line_and_in_no_sum_of_the_lines():
    found = plan(STAGE, PRICES)
    assert found.lanes_idle_usd == pytest.approx(45 * MONTH_HOURS + 0.15952 * MONTH_HOURS)
    assert found.lanes_unknown == 0
    assert found.idle_usd < 300
    unpriced = [of("scout-trn2", price=None), LANES["scout-p5"]]
    assert plan(replace(STAGE, lanes=tuple(unpriced)), PRICES).lanes_unknown == 1


def test_fleets_on_ecs_share_a_door_a_zone_and_disks():
    found = lines(STAGE)
    assert found["alb-hour", "month"].quantity == MONTH_HOURS
    assert found["route53-zone", "month"].quantity == 1
    assert found["ebs-gb", "month"].quantity == disks.ecs([LANES["scout-trn2"]]).gb  # one at `min`
    assert found["ebs-iops", "month"].quantity == 3000
    assert found["ebs-mbps", "month"].quantity == 875
    assert ("eks-hour", "month") not in found


def test_machines_without_disks_of_their_own_have_volumes_for_the_weights():
    p5, inf2 = disks.ecs([LANES["scout-p5"]]), disks.ecs([LANES["scout-inf2"]])
    assert p5.gb == disks.SYSTEM_GB
    assert inf2.gb > disks.weights_bytes(LANES["scout-inf2"]) / 10**9 + disks.SYSTEM_GB


def test_sleeping_machines_have_no_disks():
    found = lines(replace(STAGE, lanes=(LANES["scout-p5"],)))
    assert ("ebs-gb", "month") not in found


def test_images_are_copied_or_built_and_kept():
    found = lines(STAGE)
    assert found["ecr-gb", "month"].quantity == pytest.approx(2 * 18 + 0.5)  # Neuron's two, ours
    assert found["codebuild-arm-minute", "month"].quantity > 0
    pulled = lines(replace(STAGE, lanes=(LANES["scout-p5"],)))
    assert ("ecr-gb", "month") not in pulled  # from AWS's registry
    assert ("codebuild-minute", "month") not in pulled


def test_fleets_on_a_cluster_share_images_and_sagemaker_has_its_own():
    graviton, neuron = LANES["qwen3-graviton"], LANES["scout-trn2"]
    some = tuple(on(lane, "eks") for lane in (graviton, graviton, neuron, neuron))
    shared, beside = (lines(replace(STAGE, lanes=each)) for each in (some, (*some, graviton)))
    assert shared["ecr-gb", "month"].quantity == pytest.approx(18 + 0.5)
    assert shared["codebuild-minute", "month"].quantity == 20
    assert shared["codebuild-arm-minute", "month"].quantity == 15
    assert beside["ecr-gb", "month"].quantity == pytest.approx(18 + 2 * 0.5)
    assert beside["codebuild-arm-minute", "month"].quantity == 2 * 15


def test_sagemaker_needs_neither_door_nor_disks():
    found = lines(
        replace(STAGE, lanes=(LANES["qwen3-graviton"],), lanes_domain=None, deferrable=None)
    )
    assert set(found) == {
        ("ecr-gb", "month"),
        ("codebuild-arm-minute", "month"),
        ("logs-gb", "million"),
    }


@pytest.mark.parametrize(
    ("fleet_id", "of_accelerators"),
    [("scout-p5", []), ("scout-trn2", ["Auto Mode on accelerators, at `min`"])],
)
def test_a_cluster_of_eks_costs_its_hour_and_shares_that_are_unknown(fleet_id, of_accelerators):
    lane = on(LANES[fleet_id], "eks")
    found = plan(replace(STAGE, lanes=(lane,)), PRICES)
    shared = [line for line in found.lines if line.group == "lanes"]
    assert [line.usd for line in shared if line.key == "eks-hour"] == [pytest.approx(73.0)]
    unknown = [line.what for line in shared if line.usd is None]
    assert unknown == [*of_accelerators, "machines of the cluster's own pods"]
    assert "Auto Mode's share of each machine that runs: unknown" in "\n".join(
        lane_text.text(found)
    )


@pytest.mark.parametrize(
    ("tariff", "usd"),
    [
        ((Tranche("on_demand", None, CHEAP),), 2 * 10 * 0.12 * MONTH_HOURS),
        ((Tranche("spot", 1, CHEAP), Tranche("on_demand", None, DEAR)), 2 * 40 * 0.12 * 730),
        ((Tranche("spot", None, CHEAP),), None),
    ],
)  # fmt: skip
def test_auto_mode_takes_its_share_of_the_price_on_demand(tariff, usd):
    lane = on(LANES["qwen3-graviton"], "eks")
    fleet = replace(lane.fleet, tranches=tariff, replicas=replace(lane.fleet.replicas, min=2))
    found = plan(replace(STAGE, lanes=(replace(lane, fleet=fleet),)), PRICES)
    [line] = [line for line in found.lines if "Auto Mode on Graviton" in line.what]
    assert line.usd == (None if usd is None else pytest.approx(usd))


def test_batches_have_one_group_of_lines_and_a_line_of_theirs_is_no_request():
    taking = replace(STAGE, lanes=(), lanes_domain=None, deferrable=Deferrable())
    assert lines(taking) == {}
    found = [line for line in plan(taking, PRICES).lines if "sqs-" in line.key]
    assert [(line.group, line.per) for line in found] == [("batches", "month")]


def test_a_cluster_on_ecs_has_container_insights_that_nobody_can_count():
    found = [line for line in plan(STAGE, PRICES).lines if "Insights" in line.what]
    assert [(line.quantity, line.group) for line in found] == [(None, "observability")]
    alone = replace(STAGE, lanes=(LANES["qwen3-graviton"],))
    assert plan(alone, PRICES).unknown == 0


def test_the_alarms_that_aws_makes_to_scale_are_counted():
    """Six fleets on ECS that grow, on six groups of machines; one on SageMaker."""
    found = [line for line in plan(STAGE, PRICES).lines if line.key == "alarm-metric"]
    assert [line.quantity for line in found[1:]] == [2 * 6 + 2 * 6, 3 * 2]
    fixed = replace(LANES["scout-trn2"].fleet.replicas, min=4)
    alone = replace(STAGE, lanes=(of("scout-trn2", replicas=fixed),))
    assert parts.scaling_alarms(alone) == 2
    assert parts.fast_scaling_alarms(alone) == 0


def test_a_block_beside_others_is_a_second_group_of_machines():
    block = Tranche(
        "capacity_block", 1, CHEAP, "cr-0", "2026-12-01T11:30:00Z", "2026-12-08T11:30:00Z"
    )
    both = of("scout-trn2", tranches=(block, Tranche("on_demand", None, DEAR)))
    assert parts.providers(replace(STAGE, lanes=(both,))) == 2


def test_a_stage_that_makes_nothing_has_no_such_lines():
    dev = stages(Path("infra/examples/deploy.yaml"), "dev")["dev"]
    assert lines(dev) == {}
    assert plan(dev, PRICES).lanes == ()


def test_the_table_on_the_page_is_the_plan_s():
    page = Path("docs/lanes.md").read_text("utf-8")
    for each in plan(STAGE, PRICES).lanes:
        assert each.at_capacity is not None
        assert each.at_scale_out is not None
        row = [f"{usd:,.2f}" for usd in (each.idle_month, each.hour_at_min, each.hour_at_max)]
        row.append("unknown" if each.disks_at_max is None else f"{each.disks_at_max:,.2f}")
        row.append("-" if each.wake_s is None else f"{each.wake_usd:,.2f}")
        row += [f"{tokens[1]:,.2f}" for tokens in (each.at_capacity, each.at_scale_out)]
        assert f"| {each.lane.fleet.id} | {' | '.join(row)} |" in page

"""What a stage costs before it exists."""

from dataclasses import replace
from pathlib import Path

import pytest

from backends import aws_prices, files
from router.deploy import covers, parts
from router.deploy.plan import plan
from router.deploy.read import stages
from router.deploy.shape import MONTH_HOURS, Shape
from router.deploy.stage import Compute, Deferrable
from yamlfile import Invalid

EXAMPLES = stages(Path("infra/examples/deploy.yaml"))
SMALL, PROD = EXAMPLES["dev"], EXAMPLES["prod"]
LANES = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
EKS = replace(LANES.lanes[0], on="eks")
STEADY = replace(PROD, compute=Compute(on="fargate", memory_mb=2048))
NIGHTLY = replace(SMALL, deferrable=Deferrable())
SOURCE = files.packaged("backends", "data", "aws.yaml")
PRICES = aws_prices.read(SOURCE.text, SOURCE.name)


def usd(found, key, per="month"):
    return sum(line.usd or 0 for line in found.lines if (line.price.id, line.per) == (key, per))


def test_a_small_stage_idles_under_five_dollars_without_the_free_tier():
    found = plan(SMALL, PRICES)
    assert 1 < found.idle_usd < 5
    assert found.unknown == 0


def test_a_small_stage_has_none_of_what_is_paid_for_by_the_hour():
    hourly = {"endpoint-hour", "waf-acl", "kms-key", "alb-hour", "lambda-provisioned", "dashboard"}
    assert hourly.isdisjoint(line.price.id for line in plan(SMALL, PRICES).lines)


def test_each_thing_that_prod_adds_is_a_priced_line():
    found = plan(PROD, PRICES)
    assert usd(found, "waf-acl") == 5
    assert usd(found, "waf-rule") == 3
    assert usd(found, "kms-key") == 1
    assert usd(found, "endpoint-hour") == pytest.approx(5 * 2 * MONTH_HOURS * 0.01)
    warm = 2 * 512 / 1024 * MONTH_HOURS * 3600 * PRICES["lambda-provisioned"].usd
    assert usd(found, "lambda-provisioned") == pytest.approx(warm)


def test_the_sums_are_those_of_the_lines_and_of_the_groups():
    for stage in (SMALL, PROD, STEADY):
        found = plan(stage, PRICES)
        idle, million = (sum(each) for each in zip(*found.groups.values(), strict=True))
        assert found.idle_usd == pytest.approx(idle)
        assert found.million_usd == pytest.approx(million)


def test_batches_cost_cents_before_there_is_one():
    more = plan(NIGHTLY, PRICES).idle_usd - plan(SMALL, PRICES).idle_usd
    assert 0.2 < more < 1  # two alarms, the empty queue, a look a minute
    assert not any(line.group == "batches" for line in plan(SMALL, PRICES).lines)


def test_a_request_pays_for_every_second_it_is_open():
    short, long = (plan(SMALL, PRICES, Shape(seconds=each)) for each in (1, 10))
    gb_second = PRICES["lambda-gb-second"].usd
    more = usd(long, "lambda-gb-second", "million") - usd(short, "lambda-gb-second", "million")
    assert more == pytest.approx(9 * 1_000_000 * gb_second)


def test_a_longer_answer_costs_its_bytes_alone():
    short, long = (plan(SMALL, PRICES, Shape(tokens_out=each)) for each in (0, 1000))
    assert usd(short, "transfer-out", "million") == 0
    assert usd(long, "transfer-out", "million") == pytest.approx(1000 * 220 / 1e9 * 1e6 * 0.09)


def test_on_fargate_tasks_and_balancer_cost_the_same_idle_or_busy():
    found = plan(STEADY, PRICES)
    assert usd(found, "fargate-vcpu") == pytest.approx(2 * MONTH_HOURS * 0.03238)
    assert usd(found, "alb-hour") == pytest.approx(MONTH_HOURS * 0.0225)
    assert usd(found, "lambda-gb-second", "million") < 10  # the observer's
    assert not usd(found, "api-request", "million")


def test_what_is_unknown_is_counted_and_in_no_sum():
    found = plan(STEADY, PRICES)
    [unknown] = [line for line in found.lines if line.usd is None]
    assert unknown.what == "Container Insights"
    assert found.unknown == 1


def test_the_break_even_is_where_an_hour_costs_the_same():
    for stage in (SMALL, PROD, STEADY):
        even = plan(stage, PRICES).break_even
        assert even.requests_per_hour is not None
        on_lambda = even.requests_per_hour * even.lambda_usd_per_request
        on_fargate = even.requests_per_hour * even.fargate_usd_per_request
        assert on_lambda == pytest.approx(even.fargate_usd_per_hour + on_fargate)


def test_a_private_stage_pays_for_no_public_address():
    private = plan(replace(STEADY, private=True), PRICES)
    assert not usd(private, "public-ipv4")
    assert not usd(private, "transfer-out", "million")
    assert {*parts.endpoints(replace(PROD, private=True))} == {*parts.endpoints(PROD), "Api"}


def test_every_price_has_a_date_and_a_source_and_each_one_is_used_or_said_to_be_free():
    stages_ = (SMALL, PROD, STEADY, LANES, replace(LANES, lanes=(EKS,), deferrable=Deferrable()))
    used = {line.price.id for stage in stages_ for line in plan(stage, PRICES).lines}
    assert set(PRICES) - used == {"athena-tb", "logs-kept"}  # a person's queries; below a cent
    for price in PRICES.values():
        assert price.source
        assert price.as_of > "2019"


def test_what_pays_for_a_resource_is_a_price_that_is_known():
    keys = {
        key
        for found in covers.COVERS.values()
        if isinstance(found, covers.Paid)
        for key in found.lines
    }
    assert keys <= set(PRICES)


def test_a_price_that_stands_twice_is_refused():
    [row] = [line for line in SOURCE.text.splitlines() if "id: waf-acl" in line]
    with pytest.raises(Invalid, match="price `waf-acl` stands here twice"):
        aws_prices.read(f"{SOURCE.text}{row}\n", SOURCE.name)


def lines(stage):
    return {(line.group, line.what): line.quantity for line in plan(stage, PRICES).lines}


def test_fleets_that_sleep_bring_a_waker_and_its_lines():
    assert [lane.fleet.id for lane in parts.sleepers(LANES)] == [
        "scout-p5", "scout-p4d", "scout-g6e", "scout-inf2", "scout-inf2-spot",
    ]  # fmt: skip
    found = lines(LANES)
    awake = tuple(lane for lane in LANES.lanes if lane.fleet.replicas.min)
    without = lines(replace(LANES, lanes=awake))
    (waker,) = [each for each in found.keys() - without.keys() if each[1].startswith("waker")]
    assert found[waker] == pytest.approx(MONTH_HOURS * 60 * 0.2 * parts.WORKER_GB)
    assert found["observability", "metrics of the waker, at most: in hours with wake-ups"] == 2
    assert found["workers", "their runs"] - without["workers", "their runs"] == MONTH_HOURS * 60
    assert found["state", "by the workers"] > without["state", "by the workers"]


def test_each_fleet_on_ecs_that_may_grow_is_one_metric_that_scales_it():
    assert lines(LANES)["observability", "how full fleets on ECS are, which scales them"] == 6
    fixed = [
        replace(
            lane, fleet=replace(lane.fleet, replicas=replace(lane.fleet.replicas, min=1, max=1))
        )
        for lane in LANES.lanes
    ]
    assert parts.in_use_metrics(replace(LANES, lanes=tuple(fixed))) == 0
    assert parts.in_use_metrics(PROD) == 0

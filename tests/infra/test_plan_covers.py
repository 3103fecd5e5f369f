"""What `sluice deploy --plan` says a stage has, against the templates that would make it."""

import pytest
from stages import examples

from backends import aws_prices, files
from router.deploy import parts
from router.deploy.covers import COVERS, Paid
from router.deploy.plan import plan

SOURCE = files.packaged("backends", "data", "aws.yaml")
PRICES = aws_prices.read(SOURCE.text, SOURCE.name)
STAGES = ("dev", "prod", "steady")
USUAL = "ANOMALY_DETECTION_BAND"  # such an alarm is paid for as three metrics


@pytest.fixture(scope="module")
def known():
    return examples()


@pytest.fixture(params=STAGES)
def name(request):
    return request.param


@pytest.fixture
def made(synthesised, name):
    return synthesised.stage(name)


@pytest.fixture
def stage(known, name):
    return known[name]


def kinds(made):
    return {resource["Type"] for resource in made.resources.values()}


def paid_metrics(alarm):
    if "Metrics" not in alarm:
        return 1
    if any(USUAL in metric.get("Expression", "") for metric in alarm["Metrics"]):
        return 3
    return sum("MetricStat" in metric for metric in alarm["Metrics"])


def test_every_resource_has_a_line_of_the_plan_or_a_reason_why_it_is_free(made):
    assert sorted(kinds(made) - COVERS.keys()) == []


def test_what_is_paid_for_is_in_this_stage_s_plan(made, stage):
    planned = {line.price.id for line in plan(stage, PRICES).lines}
    for kind in kinds(made):
        found = COVERS[kind]
        if isinstance(found, Paid):
            assert planned & set(found.lines), kind


def test_alarms_are_counted_by_their_metrics(made, stage):
    alarms = made.all("CloudWatch::Alarm")
    assert sum(map(paid_metrics, alarms)) == parts.alarm_metrics(stage)
    assert len(made.all("CloudWatch::CompositeAlarm")) == parts.composite_alarms(stage)


def test_dashboards_are_those_of_the_plan(made, stage):
    assert len(made.all("CloudWatch::Dashboard")) == parts.dashboards(stage)


def test_endpoints_and_their_zones_are_those_of_the_plan(made, stage):
    found = [
        each for each in made.all("EC2::VPCEndpoint") if each["VpcEndpointType"] == "Interface"
    ]
    assert len(found) == len(parts.endpoints(stage))
    assert {len(each["SubnetIds"]) for each in found} <= {parts.ZONES}


def test_the_firewall_s_rules_are_those_of_the_plan(made, stage):
    rules = [len(each["Rules"]) for each in made.all("WAFv2::WebACL")]
    assert rules == ([parts.WAF_RULES] if parts.prod(stage) else [])


def test_keys_are_those_of_the_plan(made, stage):
    assert len(made.all("KMS::Key")) == (1 if parts.prod(stage) else 0)


def test_functions_are_the_router_and_the_workers(made, stage):
    ours = [each for each in made.all("Lambda::Function") if "FunctionName" in each]
    assert len(ours) == parts.functions(stage) + parts.on_lambda(stage)


def test_what_is_kept_warm_is_what_is_planned(made, stage):
    warm = [
        each["ProvisionedConcurrencyConfig"]["ProvisionedConcurrentExecutions"]
        for each in made.all("Lambda::Alias")
        if "ProvisionedConcurrencyConfig" in each
    ]
    assert sum(warm) == stage.compute.provisioned


def test_tasks_are_those_of_the_plan(made, stage):
    counts = [each["DesiredCount"] for each in made.all("ECS::Service")]
    assert counts == ([] if parts.on_lambda(stage) else [stage.compute.tasks[0]])


def test_the_routes_that_cloudwatch_counts_apart_are_those_of_the_plan(made, stage):
    detailed = [
        setting.get("MetricsEnabled", False)
        for each in made.all("ApiGateway::Stage")
        for setting in each.get("MethodSettings", ())
    ]
    assert any(detailed) == bool(parts.api_metrics(stage))
    if parts.on_lambda(stage):
        assert len(made.all("ApiGateway::Method")) == parts.ROUTES


def test_workers_have_the_memory_of_the_plan(made):
    every_minute = [
        each["MemorySize"]
        for each in made.all("Lambda::Function")
        if str(each.get("FunctionName", "")).endswith(("-observer", "-sweeper", "-stream"))
    ]
    assert {size / 1024 for size in every_minute} == {parts.WORKER_GB}

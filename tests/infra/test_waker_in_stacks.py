"""The waker as the template of a stage that makes fleets has it: when it runs, what it may change.

The stage's workers are synthesised alone here, with what they need.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from iam_roles import allowed_to, conditions_of, matches
from stack_templates import Stacks

from infra.paths import CONFIG
from router.deploy import parts, read

LANES = CONFIG.parent / "lanes" / "deploy.yaml"
CALLS = Path(__file__).parents[1] / "data" / "calls" / "waker.json"
COMPONENT = "sluice-lanes-component"
BASE = "us-east-2:111122223333"


def stage_of(name="lanes"):
    """Return the example's stage with one more fleet that scales to zero, a component's."""
    stage = replace(read.stages(LANES)["lanes"], name=name, deferrable=None)
    qwen3 = next(lane for lane in stage.lanes if lane.on == "sagemaker")
    fleet = replace(
        qwen3.fleet,
        id="component",
        sagemaker=replace(qwen3.fleet.sagemaker, inference_component=COMPONENT),
        replicas=replace(qwen3.fleet.replicas, min=0),
        wake_seconds=300,
        min_run_seconds=600,
    )
    catalogue = replace(stage.catalogue, fleets=(*stage.catalogue.fleets, fleet))
    return replace(stage, catalogue=catalogue, lanes=(*stage.lanes, replace(qwen3, fleet=fleet)))


def awake(stage):
    """Return the stage with the fleets alone that never sleep."""
    lanes = tuple(lane for lane in stage.lanes if lane.fleet.replicas.min)
    return replace(stage, name="awake", lanes=lanes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The templates of both; a rule of cdk-nag that is broken without a reason ends it."""
    import aws_cdk as cdk
    from aws_cdk import aws_lambda as lambda_
    from cdk_nag import AwsSolutionsChecks

    from infra import app  # chooses the Node
    from infra.network import Network
    from infra.policy import Policy
    from infra.stacks import Zoned
    from infra.state import State
    from infra.topic import Topic
    from infra.workers import Workers

    folder = tmp_path_factory.mktemp("waker")
    bundle = folder / "bundle"
    bundle.mkdir()
    (bundle / "config.txt").write_text("nothing runs here")
    root = cdk.App(context=dict(app.context()), outdir=str(folder / "out"))
    cdk.Validations.of(root).add_plugins(AwsSolutionsChecks(root))
    whole = stage_of()
    for stage in (whole, awake(whole)):

        def stack(name, stage=stage):
            env = cdk.Environment(account=stage.account, region=stage.region)
            return Zoned(root, f"{stage.prefix}-{name}", env=env)

        code = lambda_.Code.from_asset(str(bundle))
        kept = stack("State")
        state, topic = State(kept, "State", stage=stage), Topic(kept, "Alarms", stage=stage).topic
        policy = Policy(kept, "Policy", stage=stage, code=code, monitors_alarm=False)
        network = Network(stack("Router"), "Network", stage=stage)
        Workers(
            stack("Workers"), "Workers", stage=stage, state=state, topic=topic, policy=policy,
            code=lambda_.Code.from_asset(str(bundle)), network=network,
        )  # fmt: skip
    root.synth()
    return folder / "out"


def stacks_in(folder, prefix):
    templates = {
        path.name.partition(".")[0]: json.loads(path.read_text("utf-8"))
        for path in sorted(folder.glob(f"{prefix}-*.template.json"))
    }
    return Stacks(templates, account="111122223333", region="us-east-2")


@pytest.fixture(scope="module")
def lanes(made):
    return stacks_in(made, "sluice-lanes")


def functions(stacks):
    found = stacks.all("AWS::Lambda::Function")
    return {of["FunctionName"].rpartition("-")[2]: of for _, of in found if "FunctionName" in of}


def mapping(stacks, name):
    found = [of for _, of in stacks.all("AWS::Lambda::EventSourceMapping")]
    by_name = {of["FunctionName"].rpartition("-")[2]: of for of in found}
    return by_name.get(name)


def test_a_stage_whose_fleets_never_sleep_has_no_waker(made):
    without = stacks_in(made, "sluice-awake")
    assert "waker" not in functions(without)
    assert mapping(without, "waker") is None
    assert not parts.sleepers(awake(stage_of()))
    assert parts.functions(awake(stage_of())) == parts.FUNCTIONS


def test_the_waker_runs_outside_of_the_network_beside_the_others(lanes):
    found = functions(lanes)["waker"]
    assert found["Handler"] == "router.workers.waker.handler"
    assert "VpcConfig" not in found
    assert "VpcConfig" in functions(lanes)["observer"]
    assert found["MemorySize"] / 1024 == parts.WORKER_GB
    assert found["Environment"]["Variables"]["SLUICE_TABLE"] == lanes.prefix
    assert parts.functions(stage_of()) == parts.FUNCTIONS + 1


def test_it_follows_the_items_that_ask_without_waiting_and_looks_each_minute(lanes):
    found = mapping(lanes, "waker")
    assert found["MaximumBatchingWindowInSeconds"] == 0
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["BisectBatchOnFunctionError"] is True
    assert found["DestinationConfig"]["OnFailure"]["Destination"].endswith("-failed")
    schedules = {
        target["Arn"].rpartition("-")[2]: rule["ScheduleExpression"]
        for _, rule in lanes.all("AWS::Events::Rule")
        for target in rule["Targets"]
    }
    assert schedules["waker"] == "rate(1 minute)"


@pytest.mark.parametrize(
    ("event", "pk", "waker"),
    [
        ("INSERT", "WAKE", True),
        ("MODIFY", "WAKE", True),  # asked for anew
        ("REMOVE", "WAKE", False),  # let go of
        ("INSERT", "E#2026-11-21#3", False),
        ("MODIFY", "LOAD", False),
    ],
)
def test_what_asks_for_fleets_goes_to_the_waker_and_nothing_of_it_to_the_lake(
    lanes, event, pk, waker
):
    record = {"eventName": event, "dynamodb": {"Keys": {"pk": {"S": pk}}, "NewImage": {}}}
    assert passes(mapping(lanes, "waker"), record) is waker
    if pk == "WAKE":
        assert not passes(mapping(lanes, "stream"), record)


def passes(found, record):
    patterns = [json.loads(one["Pattern"]) for one in found["FilterCriteria"]["Filters"]]
    return any(_matches(pattern, record) for pattern in patterns)


def _matches(pattern, value):
    if isinstance(pattern, dict):
        return all(name in value and _matches(part, value[name]) for name, part in pattern.items())
    return any(
        value.startswith(word["prefix"]) if isinstance(word, dict) else word == value
        for word in pattern
    )


def asked_of(call):
    """Return the resource that the recorded call is about, in this stage's names."""
    service, operation = call["service"], call["operation"]
    if service == "dynamodb":
        return f"arn:aws:dynamodb:{BASE}:table/sluice-lanes"
    if operation == "DescribeScalableTargets":
        return "*"
    if service == "ecs":
        return f"arn:aws:ecs:{BASE}:service/sluice-lanes/sluice-lanes-scout-p5"
    return f"arn:aws:application-autoscaling:{BASE}:scalable-target/0123"


def test_every_call_that_it_makes_is_allowed(lanes):
    allowed = allowed_to(lanes, "sluice-lanes-waker")
    calls = json.loads(CALLS.read_text("utf-8"))
    refused = [
        call
        for call in calls
        if not any(
            one.holds(f"{call['service']}:{call['operation']}", asked_of(call)) for one in allowed
        )
    ]
    assert not refused
    component = f"arn:aws:sagemaker:{BASE}:inference-component/{COMPONENT}"
    for action in ("DescribeInferenceComponent", "UpdateInferenceComponentRuntimeConfig"):
        assert any(one.holds(f"sagemaker:{action}", component) for one in allowed)


def test_it_may_do_nothing_else(lanes):
    called = {f"{c['service']}:{c['operation']}" for c in json.loads(CALLS.read_text("utf-8"))}
    called |= {"sagemaker:DescribeInferenceComponent"}
    called |= {"sagemaker:UpdateInferenceComponentRuntimeConfig"}  # moto has no components
    of_lambda = ("logs:", "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:ListStreams",
                 "dynamodb:GetShardIterator", "sqs:", "kms:")  # fmt: skip
    allowed = allowed_to(lanes, "sluice-lanes-waker")
    needless = {one.action for one in allowed if not one.action.startswith(of_lambda)} - called
    assert not needless


@pytest.mark.parametrize("fleet", ["scout-trn2", "other"])
def test_a_service_that_never_sleeps_or_is_not_the_stages_is_not_its_to_change(lanes, fleet):
    service = f"arn:aws:ecs:{BASE}:service/sluice-lanes/sluice-lanes-{fleet}"
    allowed = allowed_to(lanes, "sluice-lanes-waker")
    assert not any(one.holds("ecs:UpdateService", service) for one in allowed)


def test_what_it_scales_is_bounded_to_services_and_components_where_no_arn_can_be(lanes):
    allowed = allowed_to(lanes, "sluice-lanes-waker")
    (one,) = [a for a in allowed if a.action.endswith(":RegisterScalableTarget")]
    assert one.resources == (f"arn:aws:application-autoscaling:{BASE}:scalable-target/*",)
    assert conditions_of(lanes, "sluice-lanes-waker") == [
        {
            "StringEquals": {
                "application-autoscaling:service-namespace": ["ecs", "sagemaker"],
                "application-autoscaling:scalable-dimension": [
                    "ecs:service:DesiredCount",
                    "sagemaker:inference-component:DesiredCopyCount",
                ],
            }
        }
    ]


def test_the_observer_may_ask_for_every_service_of_the_stage_and_change_none(lanes):
    allowed = allowed_to(lanes, "sluice-lanes-observer")
    for fleet in ("scout-p5", "scout-trn2"):
        service = f"arn:aws:ecs:{BASE}:service/sluice-lanes/sluice-lanes-{fleet}"
        assert any(one.holds("ecs:DescribeServices", service) for one in allowed)
    assert not any(matches(one.action, "ecs:UpdateService") for one in allowed)

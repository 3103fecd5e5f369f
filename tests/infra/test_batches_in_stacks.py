"""What a stage that takes batches has beside all others, as its templates say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from iam_roles import allowed_to, matches
from stack_templates import Stacks
from stages import with_batches
from synthesised import HERE, ROOT, Synthesised

from infra.api import OF_BATCHES, ROUTES
from infra.batches import written
from router.batches.aws_lines import LEASE_S
from router.batches.pace import HIDDEN_S, RUN_S, STUCK_S, hands
from router.batches.schedule import window_of
from router.deploy import parts
from router.deploy.covers import COVERS

CALLS = Path(__file__).parents[1] / "data" / "calls"
PLAYED = "sluice-test"  # the stage's prefix in the recorded calls
NAMES = ("dispatcher", "scheduler")
# What Lambda itself does in a function's name, or what only some stages or minutes ask for.
UNCALLED = {
    "logs:": "Lambda writes the function's log",
    "ec2:": "Lambda brings the function into the network",
    "kms:": "DynamoDB and S3 open what is theirs with the key, in the caller's name",
    "sagemaker:": "the recorded fleet is no endpoint",
    "secretsmanager:": "the recorded fleet has no key",
    "appconfig:": "the recorded function has its policy in a file",
    "sqs:ReceiveMessage": "Lambda reads the queue",
    "sqs:ChangeMessageVisibility": "Lambda reads the queue",
    "sqs:GetQueueUrl": "Lambda reads the queue",
    "sqs:DeleteMessage": "Lambda reads the queue",
    "sqs:GetQueueAttributes": "Lambda reads the queue",
    "s3:AbortMultipartUpload": "of a file of more than 8 MiB that is broken off",
    "dynamodb:ConditionCheckItem": "as a router: other limits of budgets",
}
OF_SWEEP = {"s3:DeleteObject", "dynamodb:DeleteItem"}  # the scheduler's, of files that expired


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    ended = subprocess.run(
        [sys.executable, HERE / "synth_batches.py", folder],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "PYTHONPATH": f"{ROOT}:{HERE}"},
    )  # fmt: skip
    told = {"code": ended.returncode, "said": ended.stdout + ended.stderr}
    (folder / "told.json").write_text(json.dumps(told), "utf-8")
    return Synthesised(folder)


@pytest.fixture(params=with_batches())
def stage(request):
    return with_batches()[request.param]


@pytest.fixture
def stacks(synthesised, stage):
    paths = [p for p in synthesised.paths() if p.name.startswith(f"{stage.prefix}-")]
    templates = {p.name.partition(".")[0]: json.loads(p.read_text("utf-8")) for p in paths}
    return Stacks(templates, account=stage.account, region=stage.region)


def function(stacks, name):
    (found,) = (
        properties
        for _, properties in stacks.all("AWS::Lambda::Function")
        if properties.get("FunctionName") == f"{stacks.prefix}-{name}"
    )
    return found


def bucket(stacks, stage):
    (found,) = (
        properties
        for _, properties in stacks.all("AWS::S3::Bucket")
        if properties.get("BucketName") == f"{stage.prefix}-batches-{stage.account}-{stage.region}"
    )
    return found


def test_they_synthesise_and_no_rule_of_cdk_nag_is_broken_without_a_reason(synthesised):
    assert synthesised.code == 0, synthesised.said[-3000:]


def test_cfn_lint_finds_no_error(synthesised):
    wanted = [str(p) for p in synthesised.paths() if "-Batches." in p.name or "-State." in p.name]
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", "us-east-1"]
    command += ["cn-northwest-1", "--non-zero-exit-code", "error", "--", *wanted]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


def test_the_bucket_is_closed_sealed_and_empties_itself(stacks, stage):
    found = bucket(stacks, stage)
    assert set(found["PublicAccessBlockConfiguration"].values()) == {True}
    (sealed,) = found["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    algorithm = sealed["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert algorithm == ("aws:kms" if stage.size == "prod" else "AES256")
    (rule,) = found["LifecycleConfiguration"]["Rules"]
    assert (rule["ExpirationInDays"], rule["Status"]) == (31, "Enabled")
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "VersioningConfiguration" not in found
    refused = [
        statement
        for _, policy in stacks.all("AWS::S3::BucketPolicy")
        if stage.prefix in str(policy["Bucket"]) or "Files" in str(policy["Bucket"])
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    ]
    assert refused[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_message_stays_hidden_for_longer_than_a_function_and_its_leases_live(stacks):
    queues = {found["QueueName"]: found for _, found in stacks.all("AWS::SQS::Queue")}
    queue = queues[f"{stacks.prefix}-batches"]
    assert function(stacks, "dispatcher")["Timeout"] == RUN_S
    assert RUN_S < LEASE_S < HIDDEN_S == queue["VisibilityTimeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["RedrivePolicy"]["deadLetterTargetArn"].endswith("-batches-failed")
    assert all(queues[name]["SqsManagedSseEnabled"] for name in queues)


def test_no_more_lines_are_sent_at_once_than_the_stage_says(stacks, stage):
    mappings = [m for _, m in stacks.all("AWS::Lambda::EventSourceMapping")]
    (found,) = (m for m in mappings if m["EventSourceArn"].endswith("-batches"))
    functions, each = hands(stage.deferrable.at_once)
    assert found["ScalingConfig"] == {"MaximumConcurrency": functions}
    assert functions * each <= stage.deferrable.at_once
    assert (found["BatchSize"], found["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])


def test_the_workers_are_told_bucket_queue_and_window(stacks, stage):
    said = function(stacks, "scheduler")["Environment"]["Variables"]
    name = f"{stage.prefix}-batches-{stage.account}-{stage.region}"
    assert said["SLUICE_BATCHES"] == name
    assert said["SLUICE_AT_ONCE"] == str(stage.deferrable.at_once)
    window = stage.deferrable.window
    assert said.get("SLUICE_WINDOW") == (None if window is None else written(window))
    if window is not None:
        assert window_of(said["SLUICE_WINDOW"]).tz == window.tz
    assert function(stacks, "router")["Environment"]["Variables"]["SLUICE_BATCHES"] == name


def test_dispatchers_run_where_the_router_does_and_the_scheduler_needs_no_network(stacks, stage):
    prod = stage.size == "prod"
    assert ("VpcConfig" in function(stacks, "dispatcher")) is prod
    assert "VpcConfig" not in function(stacks, "scheduler")
    services = [e["ServiceName"] for _, e in stacks.all("AWS::EC2::VPCEndpoint")]
    assert not any(name.endswith(".sqs") for name in services)


def test_the_scheduler_runs_each_minute_and_two_alarms_tell_of_what_goes_wrong(stacks, stage):
    rules = [
        rule["ScheduleExpression"]
        for _, rule in stacks.all("AWS::Events::Rule")
        if rule["Targets"][0]["Arn"].endswith("-scheduler")
    ]
    assert rules == ["rate(1 minute)"]
    everyone = [alarm for _, alarm in stacks.all("AWS::CloudWatch::Alarm")]
    alarms = {alarm.get("AlarmName"): alarm for alarm in everyone}
    failed, late = (alarms[f"{stacks.prefix}-batches-{name}"] for name in ("failed", "late"))
    assert (failed["MetricName"], failed["Threshold"]) == (
        "ApproximateNumberOfMessagesVisible", 1,
    )  # fmt: skip
    assert (late["MetricName"], late["Threshold"]) == ("ApproximateAgeOfOldestMessage", STUCK_S)
    assert failed["AlarmActions"]
    assert late["AlarmActions"]
    assert paid(everyone) == parts.alarm_metrics(stage)


def paid(alarms):
    return sum(3 if "ANOMALY" in json.dumps(a) else
               sum("MetricStat" in m for m in a["Metrics"]) if "Metrics" in a else 1
               for a in alarms)  # fmt: skip


def test_the_api_has_the_routes_of_files_and_batches(stacks, stage):
    methods = stacks.all("AWS::ApiGateway::Method")
    assert len(methods) == parts.routes(stage)
    assert parts.routes(stage) == len(ROUTES) + sum(map(len, OF_BATCHES.values()))


def test_every_resource_has_a_line_of_the_plan_or_a_reason_why_it_is_free(stacks):
    kinds = {r["Type"] for t in stacks.templates.values() for r in t["Resources"].values()}
    assert sorted(kinds - COVERS.keys()) == []


def test_functions_are_those_of_the_plan(stacks, stage):
    ours = [f for _, f in stacks.all("AWS::Lambda::Function") if "FunctionName" in f]
    assert len(ours) == parts.functions(stage) + 1  # the router


# -- who may do what -------------------------------------------------------------------------------


def arn_of(call, stacks, stage):
    name = call["resource"].replace(PLAYED, stacks.prefix, 1)
    base = f"arn:aws:{call['service']}:{stage.region}:{stage.account}"
    match call["service"]:
        case "s3":
            named, _, rest = name.partition("/")
            return f"arn:aws:s3:::{named}-{stage.account}-{stage.region}/{rest}"
        case "dynamodb":
            return f"{base}:table/{name}"
        case "firehose":
            return f"{base}:deliverystream/{name}"
    return f"{base}:{name}"


def called(name, stacks, stage):
    return [
        (f"{call['service']}:{call['operation']}", arn_of(call, stacks, stage))
        for call in json.loads((CALLS / f"{name}.json").read_text("utf-8"))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_call_that_a_worker_makes_is_allowed(name, stacks, stage):
    allowed = allowed_to(stacks, f"{stacks.prefix}-{name}")
    refused = [
        f"{action} on {resource}"
        for action, resource in called(name, stacks, stage)
        if not any(one.holds(action, resource) for one in allowed)
    ]
    assert not refused


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_may_do_nothing_that_its_code_never_does(name, stacks, stage):
    seen = called(name, stacks, stage)
    needless = [
        (one.action, on)
        for one in allowed_to(stacks, f"{stacks.prefix}-{name}")
        for on in one.resources
        if not one.action.startswith(tuple(UNCALLED))
        and not (name == "scheduler" and one.action in OF_SWEEP)
        and not on.endswith("/index/leases")  # of every router: one on Fargate reads it
        and not any(matches(one.action, action) and matches(on, arn) for action, arn in seen)
    ]
    assert not needless


def test_the_router_may_reach_files_and_no_results(stacks, stage):
    allowed = allowed_to(stacks, f"{stacks.prefix}-router")
    base = f"arn:aws:s3:::{stage.prefix}-batches-{stage.account}-{stage.region}"
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert any(one.holds(action, f"{base}/files/file-1") for one in allowed)
        assert not any(one.holds(action, f"{base}/results/b/1") for one in allowed)
    assert not any(one.action.startswith("sqs:") for one in allowed)

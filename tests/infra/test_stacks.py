"""What must hold of every stage's templates: who may do what, what is open, what is kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from stages import ROOT
from template import listed, plain

from infra.permissions import WILDCARDS

STAGES = ("dev", "prod", "steady", "inner")
POLICIES = ("IAM::Policy", "IAM::Role", "IAM::ManagedPolicy")
ANYWHERE = {  # actions that have no resource, by whose need it is
    **WILDCARDS,
    "ecr:GetAuthorizationToken": "the tasks' image; it has no resource",
    "pricing:GetProducts": "the price list; it has no resource",
}
BELOW = ("/rows/*", "/receipts/*", ":log-stream:*")  # a folder of the lake, a log's streams
REGIONS = ("us-east-1", "ap-northeast-1")
LINTED = ("dev-*", "prod-*", "steady-Router", "inner-Router")


@pytest.fixture(params=STAGES)
def stage(request, synthesised):
    return synthesised.stage(request.param)


def test_the_stages_synthesise_and_no_rule_of_cdk_nag_is_broken_without_a_reason(synthesised):
    assert synthesised.code == 0, synthesised.said[-3000:]
    (nag,) = (
        one for one in synthesised.report()["pluginReports"] if one["pluginName"] == "AwsSolutions"
    )
    assert nag["conclusion"] == "success"
    assert not nag.get("violations")


def test_the_locked_node_makes_them(synthesised):
    assert "not supported" not in synthesised.said


def test_the_seconds_are_told(synthesised, capsys):
    counts = {
        path.name.split(".")[0]: len(json.loads(path.read_text("utf-8"))["Resources"])
        for path in synthesised.paths()
    }
    with capsys.disabled():
        said = f"{synthesised.seconds:.1f} s for {len(counts)} stacks with cdk-nag: {counts}"
        sys.stdout.write(f"\n{said}\n")
    assert len(counts) == 4 * len(STAGES)


def test_cfn_lint_finds_no_error(synthesised):
    wanted = [
        str(path)
        for pattern in LINTED
        for path in sorted(synthesised.folder.glob(f"sluice-{pattern}.template.json"))
    ]
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", *REGIONS]
    command += ["--non-zero-exit-code", "error", "--", *wanted]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


# -- who may do what -------------------------------------------------------------------------------


def test_no_permission_has_a_wildcard_without_a_written_reason(stage):
    for role, statement in stage.statements(*POLICIES):
        for action in listed(statement["Action"]):
            assert "*" not in action, (role, action)
        for resource in map(plain, listed(statement.get("Resource", []))):
            if resource == "*":
                assert set(listed(statement["Action"])) <= set(ANYWHERE), (role, statement)
            elif "*" in resource:
                assert resource.endswith(BELOW), (role, resource)


def test_only_aws_services_take_on_a_role(stage):
    for role in stage.all("IAM::Role"):
        for statement in role["AssumeRolePolicyDocument"]["Statement"]:
            assert set(statement["Principal"]) == {"Service"}


def router_may(template):
    """Return what the router's role may: action -> resources."""
    allowed = {}
    for name, statement in template.statements("IAM::Policy"):
        if name.removeprefix("Router/").startswith(("RouterFunctionRole", "RouterServiceRole")):
            for action in listed(statement["Action"]):
                found = map(plain, listed(statement["Resource"]))
                allowed.setdefault(action, set()).update(found)
    return allowed


def test_the_router_may_invoke_the_endpoints_of_its_catalogue_and_no_others(synthesised):
    for name in ("dev", "prod", "steady"):
        may = router_may(synthesised.stage(name))
        ends = {arn.rsplit(":", 1)[1] for arn in may["sagemaker:InvokeEndpoint"]}
        assert ends == {"endpoint/sluice-qwen3", "endpoint/sluice-scout"}
        assert "sagemaker:InvokeEndpointWithResponseStream" not in may  # no fleet is called so


def test_the_router_reads_the_secrets_of_its_fleets_and_no_others(synthesised):
    assert "secretsmanager:GetSecretValue" not in router_may(synthesised.stage("dev"))
    (secret,) = router_may(synthesised.stage("prod"))["secretsmanager:GetSecretValue"]
    assert secret.endswith(":secret:sluice/scout-??????")


def test_the_router_uses_one_table_one_stream_one_configuration(synthesised):
    may = router_may(synthesised.stage("dev"))
    assert not {action for action in may if action.startswith("dynamodb:")} - {
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    }
    for action in ("firehose:PutRecord", "appconfig:GetLatestConfiguration"):
        assert len(may[action]) == 1
    table, index = sorted(may["dynamodb:Query"], key=len)
    assert index == f"{table}/index/leases"


# -- what is open, what is kept --------------------------------------------------------------------


def test_the_lake_is_closed_and_takes_tls_alone(stage):
    lake = stage.one("S3::Bucket")
    assert set(lake["PublicAccessBlockConfiguration"].values()) == {True}
    assert lake["BucketEncryption"]
    policy = stage.one("S3::BucketPolicy")["PolicyDocument"]["Statement"]
    refused = [one["Condition"] for one in policy if one["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in refused


def test_receipts_go_after_a_while_and_ledger_rows_stay(synthesised):
    for name, days in (("dev", 30), ("prod", 400)):
        lake = synthesised.stack(name, "State").one("S3::Bucket")
        rules = {rule["Id"]: rule for rule in lake["LifecycleConfiguration"]["Rules"]}
        assert rules["receipts"]["ExpirationInDays"] == days
        assert "ExpirationInDays" not in rules["rows"]


def test_no_security_group_lets_the_world_in_but_a_public_balancer(synthesised):
    for name in STAGES:
        template = synthesised.stage(name)
        rules = template.all("EC2::SecurityGroupIngress")
        for group in template.all("EC2::SecurityGroup"):
            rules += group.get("SecurityGroupIngress", [])
        worldwide = [rule for rule in rules if rule.get("CidrIp") == "0.0.0.0/0"]
        assert [rule["ToPort"] for rule in worldwide] == ([443] if name == "steady" else [])


def test_every_log_ends_some_day(stage):
    logs = stage.all("Logs::LogGroup")
    assert logs
    assert all(log["RetentionInDays"] <= 400 for log in logs)


def test_what_can_be_tagged_says_its_stage(synthesised):
    manifest = json.loads((synthesised.folder / "manifest.json").read_text("utf-8"))
    for name in STAGES:
        stacks = [
            one["properties"]["tags"]
            for stack, one in manifest["artifacts"].items()
            if one["type"] == "aws:cloudformation:stack" and stack.startswith(f"sluice-{name}-")
        ]
        assert stacks == [{"sluice:stage": name}] * 4


def test_a_prod_stage_keeps_its_data_and_a_small_one_leaves_nothing(synthesised):
    for name, kept in (("dev", "Delete"), ("prod", "Retain")):
        state = synthesised.stack(name, "State")
        (table,), (lake,) = state.whole("DynamoDB::Table"), state.whole("S3::Bucket")
        assert table["DeletionPolicy"] == lake["DeletionPolicy"] == kept
        assert table["Properties"]["DeletionProtectionEnabled"] is (kept == "Retain")


def test_a_small_stage_has_nothing_that_costs_while_it_stands_still(synthesised):
    kinds = {one["Type"] for one in synthesised.stage("dev").resources.values()}
    assert not {kind for kind in kinds if kind.startswith(("AWS::EC2::", "AWS::WAFv2::"))}
    assert not kinds & {"AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::ECS::Service"}


def test_a_prod_stage_has_no_nat(synthesised):
    for name in ("prod", "steady", "inner"):
        assert not synthesised.stage(name).all("EC2::NatGateway")

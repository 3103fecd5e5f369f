"""The policy in AppConfig, as the template has it."""

import json
from dataclasses import replace

import pytest

from infra.policy import content
from policies.schema import appconfig_schema
from router.deploy.read import stages

STATE = "State"


def one(stacks, kind):
    found = stacks.all(kind)
    assert len(found) == 1, [name for name, _ in found]
    return found[0][1]


def of_type(stacks, kind):
    return {name: r for name, r in stacks.of(STATE).items() if r["Type"] == kind}


def test_the_stack_deploys_the_first_version_and_never_another(stacks):
    """`Version` changes with the policy's file. If the deployment named it, or anything else that
    an update changes, CloudFormation would replace the deployment, and so put an old file in the
    place of what was published since.
    """
    (deployment,) = of_type(stacks, "AWS::AppConfig::Deployment").values()
    assert deployment["Properties"]["ConfigurationVersion"] == "1"
    named = {of["Ref"] for of in deployment["Properties"].values() if isinstance(of, dict)}
    versions = of_type(stacks, "AWS::AppConfig::HostedConfigurationVersion")
    assert not named & set(versions)
    assert deployment["DependsOn"] == list(versions)  # it is there when it is deployed


def test_a_changed_file_leaves_the_version_before_it(stacks):
    (version,) = of_type(stacks, "AWS::AppConfig::HostedConfigurationVersion").values()
    assert version["UpdateReplacePolicy"] == "Retain"
    assert version["DeletionPolicy"] == "Delete"


def test_what_the_deployment_names_does_not_change_with_the_policy(stacks):
    """Application, environment, profile and strategy are replaced by their names alone."""
    of_policy = "AWS::AppConfig::"
    for name, resource in stacks.of(STATE).items():
        if resource["Type"].startswith(of_policy) and not name.startswith("PolicyVersion"):
            assert "hash" not in json.dumps(resource.get("Properties", {}).get("Name", ""))
    (deployment,) = of_type(stacks, "AWS::AppConfig::Deployment")
    assert deployment == "PolicyFirst72C4604F"


def test_the_first_version_is_the_stages_policy_and_its_form_is_what_routers_read(stacks, tmp_path):
    version = one(stacks, "AWS::AppConfig::HostedConfigurationVersion")
    assert version["ContentType"] == "application/json"
    document = json.loads(version["Content"])
    assert document["name"] == "on-aws"
    assert document["rules"][0]["id"] == "simple"


def test_chinese_in_a_policy_goes_out_as_it_was_written(tmp_path):
    from infra.paths import CONFIG

    stage = stages(CONFIG, "dev")["dev"]
    file = tmp_path / "policy.yaml"
    written = stage.policy_file.read_text("utf-8").replace("tier: simple", "tenant: [客服🙂]")
    file.write_text(written, "utf-8")
    assert "客服🙂" in content(replace(stage, policy_file=file))


def test_a_version_goes_through_both_validators(stacks):
    profile = one(stacks, "AWS::AppConfig::ConfigurationProfile")
    by_type = {one["Type"]: one["Content"] for one in profile["Validators"]}
    assert by_type["JSON_SCHEMA"] == appconfig_schema()
    assert len(by_type["JSON_SCHEMA"]) <= 32_768  # AppConfig takes no more
    assert by_type["LAMBDA"].endswith(f":function:{stacks.prefix}-validator")
    assert profile["LocationUri"] == "hosted"


def test_appconfig_may_call_the_validator_before_the_profile_is_made(stacks):
    allowed = [
        properties["FunctionName"]
        for _, properties in stacks.all("AWS::Lambda::Permission")
        if properties["Principal"] == "appconfig.amazonaws.com"
    ]
    assert [arn.rpartition(":")[2] for arn in allowed] == [f"{stacks.prefix}-validator"]
    (profile,) = of_type(stacks, "AWS::AppConfig::ConfigurationProfile").values()
    permissions = of_type(stacks, "AWS::Lambda::Permission")
    assert set(profile["DependsOn"]) & set(permissions)


def test_publishing_takes_ten_minutes_and_bakes_ten_the_first_version_none(stacks):
    strategies = {
        found["Name"]: (
            found["GrowthType"],
            found["GrowthFactor"],
            found["DeploymentDurationInMinutes"],
            found["FinalBakeTimeInMinutes"],
        )
        for _, found in stacks.all("AWS::AppConfig::DeploymentStrategy")
    }
    assert strategies == {
        f"{stacks.prefix}-linear": ("LINEAR", 20, 10, 10),
        f"{stacks.prefix}-first": ("LINEAR", 100, 0, 0),
    }


def test_alarms_take_a_policy_back(stacks):
    environment = one(stacks, "AWS::AppConfig::Environment")
    watched = {monitor["AlarmArn"].rpartition(":")[2] for monitor in environment["Monitors"]}
    names = ("errors", "refusals", "stale-policy")
    assert watched == {f"{stacks.prefix}-{name}" for name in names}


def test_appconfig_may_look_at_these_alarms_and_at_nothing_else(stacks):
    environment = one(stacks, "AWS::AppConfig::Environment")
    (role_arn,) = {monitor["AlarmRoleArn"] for monitor in environment["Monitors"]}
    role = dict(stacks.all("AWS::IAM::Role"))[role_arn.rpartition("/")[2]]
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "cloudwatch:DescribeAlarms"
    assert statement["Resource"] == [monitor["AlarmArn"] for monitor in environment["Monitors"]]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "appconfig.amazonaws.com"}


def test_a_few_refusals_at_night_take_no_policy_back(stacks):
    """A share needs requests: one refused of two is not half of the traffic."""
    alarms = {alarm.get("AlarmName"): alarm for _, alarm in stacks.all("AWS::CloudWatch::Alarm")}
    for name in ("errors", "refusals"):
        alarm = alarms[f"{stacks.prefix}-{name}"]
        (expression,) = (m["Expression"] for m in alarm["Metrics"] if "Expression" in m)
        assert expression.startswith("IF(requests >= 20, ")
        assert alarm["TreatMissingData"] == "notBreaching"


def test_router_and_sweeper_read_this_configuration_and_no_other(stacks):
    allowed = [
        statement
        for _, policy in stacks.all("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "appconfig:GetLatestConfiguration" in statement["Action"]
    ]
    assert len(allowed) == 2
    for one in allowed:
        assert sorted(one["Action"]) == [
            "appconfig:GetLatestConfiguration",
            "appconfig:StartConfigurationSession",
        ]
        assert one["Resource"].count("*") == 0
        assert "/environment/" in one["Resource"]


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_example_policies_are_of_the_form_that_appconfig_checks(name):
    from jsonschema import Draft4Validator

    from infra.paths import CONFIG

    policy = json.loads(content(stages(CONFIG, name)[name]))
    assert list(Draft4Validator(json.loads(appconfig_schema())).iter_errors(policy)) == []

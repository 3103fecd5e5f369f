"""The roles of the functions, held against the calls that their code really makes.

The calls are read from the wire where the code runs (tests/data/calls: written by the workers'
tests under Lambda's emulator, and by tests/integration/test_router_calls.py). Each must be allowed,
and nothing may be allowed that is never called, but for what stands in UNCALLED with its reason.
"""

import json
import re
from pathlib import Path

import pytest
from iam_roles import Allowed, allowed_to, matches, statement_of

CALLS = Path(__file__).parents[1] / "data" / "calls"
FUNCTIONS = ("router", "observer", "sweeper", "prices", "stream", "validator")
OF_THE_TESTS = "sluice-test"  # the stage's prefix in the recorded calls

# What Lambda itself does in a function's name, or only some catalogues ask for.
UNCALLED = {
    "logs:CreateLogStream": "Lambda writes the function's log",
    "logs:PutLogEvents": "Lambda writes the function's log",
    "ec2:AssignPrivateIpAddresses": "Lambda brings the function into the network",
    "ec2:CreateNetworkInterface": "Lambda brings the function into the network",
    "ec2:DeleteNetworkInterface": "Lambda brings the function into the network",
    "ec2:DescribeNetworkInterfaces": "Lambda brings the function into the network",
    "ec2:DescribeSubnets": "Lambda brings the function into the network",
    "ec2:UnassignPrivateIpAddresses": "Lambda brings the function into the network",
    "dynamodb:DescribeStream": "Lambda reads the table's stream",
    "dynamodb:GetRecords": "Lambda reads the table's stream",
    "dynamodb:GetShardIterator": "Lambda reads the table's stream",
    "dynamodb:ListStreams": "Lambda reads the table's stream",
    "sqs:SendMessage": "Lambda puts there what the function failed at",
    "sqs:GetQueueAttributes": "CDK's grant for a dead letter has it",
    "sqs:GetQueueUrl": "CDK's grant for a dead letter has it",
    "kms:Decrypt": "DynamoDB opens the table with its key, in the caller's name",
    "kms:DescribeKey": "DynamoDB opens the table with its key, in the caller's name",
    "kms:Encrypt": "DynamoDB opens the table with its key, in the caller's name",
    "kms:GenerateDataKey": "DynamoDB opens the table with its key, in the caller's name",
    "secretsmanager:GetSecretValue": "the recorded fleets have no `${secret:...}` key",
    "sagemaker:InvokeEndpoint": "the recorded router's fleet is no endpoint",
    "sagemaker:CallWithBearerToken": "the recorded router's fleet is no endpoint",
}
# By function, what only happens where the recorded one is not.
ELSEWHERE = {
    # both are called in tests/integration/test_limits_in_force.py, where moto has no AppConfig
    ("sweeper", "dynamodb:DeleteItem", ""): "limits of budgets that a new policy lacks: the same",
    ("sweeper", "appconfig:ListDeployments", ""): "moto has no AppConfig",
    ("sweeper", "appconfig:StartConfigurationSession", ""): "moto has no AppConfig",
    ("sweeper", "appconfig:GetLatestConfiguration", ""): "moto has no AppConfig",
    ("router", "dynamodb:Query", "leases"): "a router on Fargate charges ended leases by itself",
}
# A wildcard for a resource, and why there is no narrower one.
ANYTHING = {
    "pricing:GetProducts": "the price list has no resources",
    "sagemaker:CallWithBearerToken": "a token is for no endpoint, sagemaker:InvokeEndpoint is",
    "ec2:AssignPrivateIpAddresses": "interfaces have no ARN before they are made",
    "ec2:CreateNetworkInterface": "interfaces have no ARN before they are made",
    "ec2:DeleteNetworkInterface": "interfaces have no ARN before they are made",
    "ec2:DescribeNetworkInterfaces": "a listing has no resource",
    "ec2:DescribeSubnets": "a listing has no resource",
    "ec2:UnassignPrivateIpAddresses": "interfaces have no ARN before they are made",
}


def called(name, stacks):
    """Return (action, resource) of what the worker was seen to call, in this stage's names."""
    path = CALLS / f"{name}.json"
    if not path.exists():
        return []
    return [
        (f"{call['service']}:{call['operation']}", arn_of(call, stacks))
        for call in json.loads(path.read_text())
    ]


def reference(stacks):
    """Return what the router is told of its policy: APPLICATION/ENVIRONMENT/PROFILE."""
    for _, properties in stacks.all("AWS::Lambda::Function"):
        if properties.get("FunctionName") == f"{stacks.prefix}-router":
            return properties["Environment"]["Variables"]["SLUICE_APPCONFIG"]
    raise AssertionError("no router")


def arn_of(call, stacks):
    world = stacks.world
    base = f"arn:{world['partition']}:{call['service']}:{world['region']}:{world['account']}"
    name = call["resource"].replace(OF_THE_TESTS, stacks.prefix)
    if call["service"] == "appconfig":
        application, environment, profile = reference(stacks).split("/")
        where = f"environment/{environment}/configuration/{profile}"
        return f"{base}:application/{application}/{where}"
    match call["service"]:
        case "dynamodb":
            return f"{base}:table/{name}"
        case "firehose":
            return f"{base}:deliverystream/{name}"
        case "sagemaker":
            return f"{base}:endpoint/sluice-qwen3"  # of the example's catalogue
        case "sns":
            return f"{base}:{stacks.prefix}-alarms"
        case "pricing":
            return "*"
    raise AssertionError(f"which resource is meant by {call}?")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_call_that_a_function_makes_is_allowed(name, stacks):
    statements = allowed_to(stacks, f"{stacks.prefix}-{name}")
    refused = [
        f"{action} on {resource}"
        for action, resource in called(name, stacks)
        if not any(one.holds(action, resource) for one in statements)
    ]
    assert not refused


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_do_nothing_that_its_code_never_does(name, stacks):
    seen = called(name, stacks)
    needless = [
        (one.action, on)
        for one in allowed_to(stacks, f"{stacks.prefix}-{name}")
        for on in one.resources
        if one.action not in UNCALLED
        and not any(matches(one.action, action) and matches(on, arn) for action, arn in seen)
        and not is_another_endpoint(one.action)
        and (name, one.action, on.partition("/index/")[2]) not in ELSEWHERE
    ]
    assert not needless


def is_another_endpoint(action):
    """The recorded catalogue has one endpoint: the role names each of the stage's."""
    return action == "sagemaker:DescribeEndpoint"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_write_its_own_log_and_no_other(name, stacks):
    """A log group's ARN ends in `:*`: what is put behind that matches nothing."""
    stage = stacks.prefix.removeprefix("sluice-")
    base = f"arn:aws:logs:us-east-1:{stacks.world['account']}:log-group:/sluice/{stage}"
    statements = allowed_to(stacks, f"{stacks.prefix}-{name}")
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        written = [
            log
            for log in (*FUNCTIONS, "access")
            if any(one.holds(action, f"{base}/{log}:log-stream:2026/[1]ab") for one in statements)
        ]
        assert written == [name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_wildcard_stands_only_where_there_is_nothing_narrower(name, stacks):
    for one in allowed_to(stacks, f"{stacks.prefix}-{name}"):
        assert "*" not in one.action
        wide = [on for on in one.resources if "*" in on.removesuffix(":*")]
        if wide:
            assert one.action in ANYTHING


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_role_that_only_lambda_takes(name, stacks):
    names = {
        properties["FunctionName"]: properties["Role"].rpartition("/")[2]
        for _, properties in stacks.all("AWS::Lambda::Function")
        if "FunctionName" in properties
    }
    role = names[f"{stacks.prefix}-{name}"]
    assert list(names.values()).count(role) == 1
    trust = dict(stacks.all("AWS::IAM::Role"))[role]["AssumeRolePolicyDocument"]["Statement"]
    assert [one["Principal"] for one in trust] == [{"Service": "lambda.amazonaws.com"}]


def test_every_exception_is_still_needed(small, prod):
    """A reason that no role asks for any more is a hole for the next one."""
    granted = {
        one.action
        for stacks in (small, prod)
        for name in FUNCTIONS
        for one in allowed_to(stacks, f"{stacks.prefix}-{name}")
    }
    assert set(UNCALLED) | set(ANYTHING) <= granted


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        ("dynamodb:Get*", "dynamodb:GetItem", True),
        ("dynamodb:GetItem", "dynamodb:GetItems", False),
        ("arn:aws:dynamodb:r:1:table/a", "arn:aws:dynamodb:r:1:table/a/index/leases", False),
        ("secret:k-??????", "secret:k-Ab12Cd", True),
        ("secret:k-??????", "secret:k-x-Ab12Cd", False),
        ("table/a.b", "table/axb", False),
        ("*", "anything", True),
    ],
)  # fmt: skip
def test_patterns_mean_what_they_mean_to_iam(pattern, text, holds):
    assert matches(pattern, text) is holds


@pytest.mark.parametrize("part", ["Condition", "NotAction", "NotResource"])
def test_a_statement_that_the_evaluator_does_not_know_is_no_permission(part):
    said = {"Effect": "Allow", "Action": "a:B", "Resource": "*", part: {}}
    with pytest.raises(AssertionError, match=re.escape(part)):
        list(statement_of(said))


def test_an_action_and_its_resource_must_be_of_one_statement():
    said = {"Effect": "Allow", "Action": ["a:B", "a:C"], "Resource": ["x", "y"]}
    assert list(statement_of(said)) == [Allowed("a:B", ("x", "y")), Allowed("a:C", ("x", "y"))]

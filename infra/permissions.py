"""What the router may do on AWS, written by hand: the calls that it makes, on what it calls.

A wildcard has its reason beside it; a test refuses one that has none (WILDCARDS).
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

from backends.catalogue import Fleet
from infra.policy import Policy
from infra.reasons import acknowledge
from infra.state import KEY_USES, State
from router.deploy.stage import Stage

# router/ledger/dynamo_table.py and the keys; `scan` is the audit's, which no router runs. A
# transaction needs the right to each of its parts, and none of its own.
TABLE_ACTIONS: Final = (
    "dynamodb:DescribeTable",  # at its start: that the table is one of ours
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:Query",
)
WILDCARDS: Final[Mapping[str, str]] = MappingProxyType(  # what goes with the resource `*`
    {
        "sagemaker:CallWithBearerToken": "a token is for no endpoint: which ones may be invoked "
        "is said by sagemaker:InvokeEndpoint",
        **dict.fromkeys(
            (
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:AssignPrivateIpAddresses",
                "ec2:UnassignPrivateIpAddresses",
            ),
            "Lambda's own, by the function's role: an interface has no ARN before it is made",
        ),
    }
)
INTERFACES: Final = tuple(action for action in WILDCARDS if action.startswith("ec2:"))


def grant(role: iam.Role, stage: Stage, state: State, policy: Policy) -> None:
    """Let the router's role do all that the router does, wherever it runs."""
    for statement in statements(stage, state):
        role.add_to_policy(statement)
    if state.key is not None:
        role.add_to_policy(_may("Key", KEY_USES, [state.key.key_arn]))
    policy.grant_read(role)
    said = "; ".join(f"{action}: {reason}" for action, reason in WILDCARDS.items())
    acknowledge(role, {"IAM5[Resource::*]": said})


def statements(stage: Stage, state: State) -> Iterator[iam.PolicyStatement]:
    table = state.table.table_arn
    yield _may("Table", TABLE_ACTIONS, [table])
    yield _may("Leases", ["dynamodb:Query"], [f"{table}/index/leases"])
    yield _may("Receipts", ["firehose:PutRecord"], [state.receipts_stream.attr_arn])
    yield from _endpoints(stage)
    secrets = sorted({secret_arn(name) for name in secret_names(stage)})
    if secrets:
        yield _may("Secrets", ["secretsmanager:GetSecretValue"], secrets)


def _endpoints(stage: Stage) -> Iterator[iam.PolicyStatement]:
    """Let exactly the endpoints of the catalogue be invoked, each in its fleet's way."""
    fleets = [fleet for fleet in stage.catalogue.fleets if fleet.sagemaker is not None]
    by_invoke = [fleet for fleet in fleets if fleet.sagemaker and fleet.sagemaker.invoke]
    by_openai = [fleet for fleet in fleets if fleet.sagemaker and not fleet.sagemaker.invoke]
    if by_openai:
        yield _may("OpenAiPath", ["sagemaker:InvokeEndpoint"], _arns(by_openai))
        yield _may("Token", ["sagemaker:CallWithBearerToken"], ["*"])
    if by_invoke:
        actions = ["sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"]
        yield _may("Invoke", actions, _arns(by_invoke))


def _arns(fleets: list[Fleet]) -> list[str]:
    found = set()
    for fleet in fleets:
        target = fleet.sagemaker
        if target is not None:
            base = f"arn:{Aws.PARTITION}:sagemaker:{target.region}:{Aws.ACCOUNT_ID}"
            found.add(f"{base}:endpoint/{target.endpoint.lower()}")
            if target.inference_component is not None:
                found.add(f"{base}:inference-component/{target.inference_component.lower()}")
    return sorted(found)


def secret_names(stage: Stage) -> set[str]:
    keys = [fleet.api_key for fleet in stage.catalogue.fleets]
    return {key.name for key in keys if key is not None and key.source == "secret"}


def secret_arn(name: str) -> str:
    if name.startswith("arn:"):
        return name
    base = f"arn:{Aws.PARTITION}:secretsmanager:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    return f"{base}:secret:{name}-??????"


def _may(sid: str, actions: list[str] | tuple[str, ...], on: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, actions=list(actions), resources=on)

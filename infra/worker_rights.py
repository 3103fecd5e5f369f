"""What the workers may do on AWS, and which ARNs the stage's fleets have."""

from collections.abc import Iterable, Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from backends.catalogue import Fleet
from infra.permissions import secret_arn, secret_names
from infra.reasons import acknowledge
from router import lane_names
from router.deploy.stage import Stage

DESCRIBE: Final = ("sagemaker:DescribeEndpoint", "sagemaker:DescribeInferenceComponent")


def allow(
    worker: lambda_.Function, actions: list[str], resources: list[str], why: str | None = None
) -> None:
    """`why`: the reason of a wildcard."""
    worker.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=resources))
    if why is not None:
        assert worker.role is not None
        acknowledge(worker.role, {"IAM5[Resource::*]": why})


def let_look(observer: lambda_.Function, stage: Stage) -> None:
    """Let it ask SageMaker and ECS for the replicas of these fleets, and read their keys."""
    secrets = sorted({secret_arn(name) for name in secret_names(stage)})
    if secrets:
        allow(observer, ["secretsmanager:GetSecretValue"], secrets)
    fleets = [fleet for fleet in stage.catalogue.fleets if fleet.sagemaker is not None]
    for action, arns in zip(DESCRIBE, described_arns(fleets), strict=True):
        if arns:
            allow(observer, [action], arns)
    services = service_arns(stage, (lane.fleet for lane in stage.lanes))
    if services:
        allow(observer, ["ecs:DescribeServices"], services)


def service_arns(stage: Stage, fleets: Iterable[Fleet]) -> list[str]:
    """Return the services of those fleets that run on ECS."""
    base = f"arn:{cdk.Aws.PARTITION}:ecs:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}"
    cluster = lane_names.cluster(stage.name)
    return sorted(
        f"{base}:service/{cluster}/{name}"
        for fleet in fleets
        if fleet.runs is not None and fleet.runs.on == "ecs"
        for name in lane_names.services(stage.name, fleet)
    )


def described_arns(fleets: Sequence[Fleet]) -> tuple[list[str], list[str]]:
    """Return what is described: endpoints, and of fleets that are one, inference components."""
    endpoints, components = set(), set()
    for fleet in fleets:
        target = fleet.sagemaker
        if target is None:
            continue
        base = f"arn:{cdk.Aws.PARTITION}:sagemaker:{target.region}:{cdk.Aws.ACCOUNT_ID}"
        if target.inference_component is None:
            endpoints.add(f"{base}:endpoint/{target.endpoint.lower()}")
        else:
            components.add(f"{base}:inference-component/{target.inference_component.lower()}")
    return sorted(endpoints), sorted(components)

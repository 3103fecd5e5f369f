"""The waker (router.workers.waker): what it follows of the table's stream, what it may change."""

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from infra.reasons import acknowledge
from infra.worker import Form
from infra.worker_rights import DESCRIBE, allow, described_arns, service_arns
from router import lane_names
from router.deploy import parts
from router.deploy.stage import Stage
from router.lane_names import WAKE_PK

FORM: Final = Form("waker", memory_mb=256, timeout_s=50)
BATCH: Final = 10  # fleets: they come one by one, and no batch is waited for
# The stream's second reader; DynamoDB has it that a shard is read by two at the most.
ASKED: Final = (
    {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"Keys": {"pk": {"S": [WAKE_PK]}}}},
)
NO_LISTED_RESOURCES: Final = "DescribeScalableTargets, a listing, knows only `*`"
NO_KNOWN_RESOURCES: Final = (
    "a scalable target's id is AWS's, and not known before it is made: which ones may be "
    "changed is said by the conditions: of which service, and which of its counts"
)


def let_wake(waker: lambda_.Function, stage: Stage) -> None:
    """Let it change how few replicas these fleets have, and have one started."""
    fleets = [lane.fleet for lane in parts.sleepers(stage)]
    targets = [found for fleet in fleets if (found := lane_names.scalable(stage.name, fleet))]
    if targets:
        listing = ["application-autoscaling:DescribeScalableTargets"]
        allow(waker, listing, ["*"], why=NO_LISTED_RESOURCES)
        _let_register(waker, targets)
    services = service_arns(stage, fleets)
    if services:
        allow(waker, ["ecs:DescribeServices", "ecs:UpdateService"], services)
    components = described_arns(fleets)[1]
    if components:
        changing = "sagemaker:UpdateInferenceComponentRuntimeConfig"
        allow(waker, [DESCRIBE[1], changing], components)


def _let_register(waker: lambda_.Function, targets: Sequence[tuple[str, str, str]]) -> None:
    scaling = "application-autoscaling"
    base = f"arn:{cdk.Aws.PARTITION}:{scaling}:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}"
    said = f"arn:<AWS::Partition>:{scaling}:<AWS::Region>:<AWS::AccountId>:scalable-target/*"
    assert waker.role is not None
    acknowledge(waker.role, {f"IAM5[Resource::{said}]": NO_KNOWN_RESOURCES})
    waker.add_to_role_policy(
        iam.PolicyStatement(
            actions=[f"{scaling}:RegisterScalableTarget"],
            resources=[f"{base}:scalable-target/*"],
            conditions={
                "StringEquals": {
                    f"{scaling}:service-namespace": sorted({target[0] for target in targets}),
                    f"{scaling}:scalable-dimension": sorted({target[2] for target in targets}),
                }
            },
        )
    )

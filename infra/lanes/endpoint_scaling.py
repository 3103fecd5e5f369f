"""How a fleet on SageMaker grows and shrinks: by its concurrent requests, as the catalogue says.

Only an inference component can be at zero. It then refuses what comes, and the refusals wake it:
by an alarm, beside the router's own wake-up.
"""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from constructs import Construct

from backends.scaling import LOOK_S, target_streams
from router import lane_names
from router.deploy.lane import Lane
from router.deploy.stage import Stage

REFUSED: Final = "NoCapacityInvocationFailures"
LOOK_EVERY_S: Final = LOOK_S  # the guide has 30, whose alarm costs three times as much
# As SageMaker's guide has it (Scale an endpoint to zero instances).
STEP_COOLDOWN_S: Final = 60
SERVICE_ROLE: Final = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com"
    "/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def scale(scope: Construct, *, stage: Stage, lane: Lane, scaled: Construct) -> None:
    """Let Application Auto Scaling move the fleet between its bounds, if they differ."""
    fleet, bounds = lane.fleet, lane.fleet.replicas
    named = lane_names.scalable(stage.name, fleet)
    assert named is not None, "what runs on SageMaker is scaled there"
    if bounds.min == bounds.max:
        return
    _, resource, dimension = named
    target = scaling.ScalableTarget(
        scope,
        "Scaled",
        service_namespace=scaling.ServiceNamespace.SAGEMAKER,
        resource_id=resource,
        scalable_dimension=dimension,
        min_capacity=bounds.min,
        max_capacity=bounds.max,
        role=_service_role(scope),
    )
    target.node.add_dependency(scaled)
    component = fleet.sagemaker.inference_component if fleet.sagemaker else None
    by = scaling.PredefinedMetric
    target.scale_to_track_metric(
        "Concurrent",
        target_value=round(target_streams(bounds), 3),
        predefined_metric=by.SAGEMAKER_VARIANT_CONCURRENT_REQUESTS_PER_MODEL_HIGH_RESOLUTION
        if component is None
        else by.SAGEMAKER_INFERENCE_COMPONENT_CONCURRENT_REQUESTS_PER_COPY_HIGH_RESOLUTION,
        scale_out_cooldown=_seconds(fleet.wake_seconds),
        scale_in_cooldown=_seconds(fleet.min_run_seconds),
    )
    if component is not None and bounds.min == 0:
        _wake(scope, stage, lane, target, component)


def _wake(
    scope: Construct, stage: Stage, lane: Lane, target: scaling.ScalableTarget, component: str
) -> None:
    step = scaling.StepScalingAction(
        scope,
        "Wake",
        scaling_target=target,
        adjustment_type=scaling.AdjustmentType.CHANGE_IN_CAPACITY,
        metric_aggregation_type=scaling.MetricAggregationType.MAXIMUM,
        cooldown=cdk.Duration.seconds(STEP_COOLDOWN_S),
    )
    step.add_adjustment(adjustment=1, lower_bound=0)
    refused = cloudwatch.Metric(
        namespace="AWS/SageMaker",
        metric_name=REFUSED,
        dimensions_map={"InferenceComponentName": component},
        statistic="Maximum",
        period=cdk.Duration.seconds(LOOK_EVERY_S),
    )
    alarm = cloudwatch.Alarm(
        scope,
        "Asleep",
        alarm_name=f"{stage.prefix}-{lane.name}-asleep",
        alarm_description=f"fleet {lane.fleet.id}: called while it was at zero; this wakes it",
        metric=refused,
        threshold=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        evaluation_periods=1,
        treat_missing_data=cloudwatch.TreatMissingData.MISSING,
    )
    alarm.add_alarm_action(actions.ApplicationScalingAction(step))


def _service_role(scope: Construct) -> iam.IRole:
    """Return the role that Application Auto Scaling has for SageMaker, and makes when it is first
    needed; it takes no other.
    """
    arn = cdk.Stack.of(scope).format_arn(
        service="iam", region="", resource="role", resource_name=SERVICE_ROLE
    )
    return iam.Role.from_role_arn(scope, "ServiceRole", arn)


def _seconds(given: int | None) -> cdk.Duration | None:
    """None: Application Auto Scaling's own five minutes."""
    return None if given is None else cdk.Duration.seconds(given)

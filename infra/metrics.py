"""The stage's metrics as the alarms and the dashboard name them."""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from router.deploy.stage import Stage

NAMESPACE: Final = "Sluice"
LEAST_REQUESTS: Final = 20  # of a period: a share of fewer says nothing


def metric(
    stage: Stage,
    name: str,
    statistic: str = "Sum",
    *,
    minutes: int = 1,
    fleet: str | None = None,
    label: str | None = None,
) -> cloudwatch.Metric:
    """Return what router and workers write; `fleet` only where the stage counts by fleet."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=name,
        dimensions_map={"stage": stage.name} | ({"fleet": fleet} if fleet else {}),
        statistic=statistic,
        period=cdk.Duration.minutes(minutes),
        label=label or name,
    )


def in_use(stage: Stage, fleet_id: str) -> cloudwatch.Metric:
    """Return how full the fleet's ready replicas are, in percent of the streams that they take, as
    the observer sees it (router.workers.in_use); no value while none is ready.

    Scaling tracks it. Its average: the observer looks up to twelve times in a minute.
    """
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name="InUse",
        dimensions_map={"stage": stage.name, "fleet": fleet_id},
        statistic="Average",
        unit=cloudwatch.Unit.PERCENT,
        period=cdk.Duration.minutes(1),
        label=f"{fleet_id} in use %",
    )


def share(stage: Stage, name: str, *, minutes: int) -> cloudwatch.MathExpression:
    """Return what percentage of the requests did that; nothing where there were too few."""
    return cloudwatch.MathExpression(
        expression=f"IF(requests >= {LEAST_REQUESTS}, 100 * FILL(part, 0) / requests)",
        using_metrics={
            "part": metric(stage, name, minutes=minutes),
            "requests": metric(stage, "Requests", minutes=minutes),
        },
        period=cdk.Duration.minutes(minutes),
        label=f"{name} % of requests",
    )

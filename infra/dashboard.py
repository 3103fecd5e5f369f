"""A prod stage on one page: what it spends and saves, who serves, how fast, how loaded, what burns.

The first three dashboards of an account are free, each of up to 50 metrics; the next cost $3 a
month (aws.amazon.com/cloudwatch/pricing).
"""

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_

from infra.alarms import BUDGET_PERCENT, FAST, SLOW
from infra.metrics import metric, share
from router.deploy.stage import Stage

HALF = 12
MOST_FLEETS: Final = 10  # drawn one by one: 50 metrics are a free dashboard's most


def rows(
    stage: Stage, function: lambda_.IFunction | None, alarms: list[cloudwatch.AlarmBase]
) -> list[list[cloudwatch.IWidget]]:
    """Return the widgets, row by row."""
    return [
        [_spend(stage), _savings(stage)],
        [_mix(stage), _requests(stage)],
        [_times(stage, "TtftMs"), _times(stage, "E2eMs")],
        [_burn(stage), _load(stage, function)],
        [_health(stage), _alarms(alarms)],
    ]


def _spend(stage: Stage) -> cloudwatch.IWidget:
    return _graph("Charged an hour, USD", [metric(stage, "UsdCharged", minutes=60)])


def _savings(stage: Stage) -> cloudwatch.IWidget:
    saved = metric(stage, "UsdSaved", minutes=60)
    part = cloudwatch.MathExpression(
        expression="100 * saved / (saved + charged)",
        using_metrics={"saved": saved, "charged": metric(stage, "UsdCharged", minutes=60)},
        period=cdk.Duration.hours(1),
        label="% of what the baseline would have cost",
    )
    return _graph("Saved an hour, USD", [saved], right=[part])


def _mix(stage: Stage) -> cloudwatch.IWidget:
    """Draw who serves."""
    fleets = [fleet.id for fleet in stage.catalogue.fleets][:MOST_FLEETS]
    by_fleet = [metric(stage, "Requests", minutes=5, fleet=fleet, label=fleet) for fleet in fleets]
    return _graph("Requests by fleet", by_fleet, stacked=True)


def _requests(stage: Stage) -> cloudwatch.IWidget:
    names = ("Requests", "Refusals", "Errors")
    return _graph("Requests", [metric(stage, name, minutes=5) for name in names])


def _times(stage: Stage, name: str) -> cloudwatch.IWidget:
    slo = stage.policy.defaults.slo
    limit_ms = slo.ttft_p95_ms if name == "TtftMs" else slo.e2e_p95_ms
    lines = [] if limit_ms is None else [_line(limit_ms, "p95 of the policy's defaults")]
    drawn = [metric(stage, name, at, minutes=5, label=at) for at in ("p50", "p95")]
    return _graph({"TtftMs": "First token, ms", "E2eMs": "Whole answer, ms"}[name], drawn, lines)


def _burn(stage: Stage) -> cloudwatch.IWidget:
    errors = share(stage, "Errors", minutes=60)
    lines = [
        _line(times * BUDGET_PERCENT, f"{times} times the error budget")
        for times, *_ in (FAST, SLOW)
    ]
    return _graph("Error budget: % of an hour's requests in 5xx", [errors], lines)


def _load(stage: Stage, function: lambda_.IFunction | None) -> cloudwatch.IWidget:
    down = metric(stage, "FleetsDown", "Maximum", minutes=5)
    lag = metric(stage, "ObserverLagMs", "Maximum", minutes=5)
    if function is None:
        return _graph("Load: fleets down, age of what is known of them (ms)", [down], right=[lag])
    open_now = function.metric(
        "ConcurrentExecutions", statistic="Maximum", period=cdk.Duration.minutes(5)
    )
    return _graph("Load: open requests, fleets down; age (ms)", [open_now, down], right=[lag])


def _health(stage: Stage) -> cloudwatch.IWidget:
    names = ("PolicyStale", "ProfileWrong", "LedgerViolations", "Overrun", "Unsettled")
    drawn = [metric(stage, name, "Maximum", minutes=5) for name in names]
    return _graph("What must stay at zero", drawn)


def _alarms(alarms: list[cloudwatch.AlarmBase]) -> cloudwatch.IWidget:
    return cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=HALF, height=6)


def _graph(
    title: str,
    left: Sequence[cloudwatch.IMetric],
    lines: list[cloudwatch.HorizontalAnnotation] | None = None,
    *,
    right: Sequence[cloudwatch.IMetric] = (),
    stacked: bool = False,
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(left),  # jsii takes no tuple
        right=list(right),
        left_annotations=lines,
        left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False),
        stacked=stacked,
        width=HALF,
        height=6,
    )


def _line(value: float, label: str) -> cloudwatch.HorizontalAnnotation:
    return cloudwatch.HorizontalAnnotation(value=value, label=label)

"""What rings, and when: one row an alarm, and how many metrics each is paid for.

CloudWatch bills an alarm by the metrics it looks at: $0.10 a month each, ten free in an account;
a band of what is usual counts as three, a composite alarm is $0.50 (aws.amazon.com/cloudwatch/
pricing, us-east-1).
"""

from collections.abc import Iterator
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.metrics import metric, share
from router.deploy.stage import Stage

GOAL_PERCENT: Final = 99.5  # of requests that do not end in our 5xx, over 30 days
BUDGET_PERCENT: Final = 100 - GOAL_PERCENT
# How many times faster than the budget lasts, and over which minutes, long and short: 2 % of a
# month's budget in an hour, 5 % in six (Google's SRE workbook, chapter 5).
FAST: Final = (14.4, 60, 5)
SLOW: Final = (6.0, 360, 30)
ANOMALY_BAND: Final = 3  # standard deviations
STALE_PRICES_DAYS: Final = 7
AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
SILENT = cloudwatch.TreatMissingData.BREACHING
QUIET = cloudwatch.TreatMissingData.NOT_BREACHING


class Alarms:
    """Makes the alarms of a stage below `scope`; each one tells `topic`, and that it is over."""

    def __init__(self, scope: Construct, stage: Stage, topic: sns.ITopic) -> None:
        self._scope, self._stage = scope, stage
        self._tell = actions.SnsAction(topic)
        self.all: list[cloudwatch.AlarmBase] = []

    def wire(self, alarm: cloudwatch.AlarmBase) -> None:
        alarm.add_alarm_action(self._tell)
        alarm.add_ok_action(self._tell)
        self.all.append(alarm)

    def add(
        self,
        name: str,
        said: str,
        measured: cloudwatch.IMetric,
        threshold: float = 1,
        *,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = QUIET,
    ) -> None:
        """Make an alarm that rings after so many periods at or above the threshold."""
        self.wire(self._alarm(name, said, measured, threshold, periods=periods, missing=missing))

    def burn(self, name: str, pace: tuple[float, int, int]) -> None:
        """Ring while both windows burn: the long one says it matters, the short one it still is."""
        times, *windows = pace
        parts = [
            self._alarm(
                f"{name}-{minutes}m",
                f"the error budget burns {times} times too fast over {minutes} minutes",
                share(self._stage, "Errors", minutes=minutes),
                times * BUDGET_PERCENT,
            )
            for minutes in windows
        ]
        self.wire(
            cloudwatch.CompositeAlarm(
                self._scope,
                _title(name),
                composite_alarm_name=f"{self._stage.prefix}-{name}",
                alarm_description=f"SLO: the error budget burns {times} times too fast",
                alarm_rule=cloudwatch.AlarmRule.all_of(*parts),
            )
        )

    def unusual_spend(self) -> None:
        """Ring when an hour's charges leave the band of what is usual at that hour, upwards.

        $0.30 a month. AWS Cost Anomaly Detection is free, but it reads the bill, which is a day
        late and knows instances, not requests; a loop that spends is told within two hours here.
        """
        alarm = cloudwatch.AnomalyDetectionAlarm(
            self._scope,
            "SpendAnomaly",
            alarm_name=f"{self._stage.prefix}-spend-anomaly",
            alarm_description="spend: an hour was charged more than is usual",
            metric=metric(self._stage, "UsdCharged", minutes=60),
            std_devs=ANOMALY_BAND,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_UPPER_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=QUIET,
        )
        self.wire(alarm)

    def _alarm(
        self,
        name: str,
        said: str,
        measured: cloudwatch.IMetric,
        threshold: float,
        *,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = QUIET,
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self._scope,
            _title(name),
            alarm_name=f"{self._stage.prefix}-{name}",
            alarm_description=said,
            metric=measured,
            threshold=threshold,
            comparison_operator=AT_LEAST,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )


def in_both_sizes(alarms: Alarms, stage: Stage) -> None:
    """What no stage can do without. (The policy's own `errors` is a small stage's burn: ten times
    too fast for minutes. Two windows would be two alarms more, and $0.50 for their sum.)
    """
    alarms.add(
        "ledger-invariant",
        "ledger: money was found that is neither spent nor reserved nor left",
        metric(stage, "LedgerViolations", minutes=5),
    )
    alarms.add(
        "observer-silent",
        "load: nobody has looked at the fleets for five minutes",
        _looks(stage),
        periods=5,
        missing=SILENT,
    )
    alarms.add(
        "profile-drift",
        "profiles: a fleet is slower than its benchmark says, so costs and times are wrong",
        metric(stage, "ProfileWrong", "Maximum", minutes=15),
        periods=2,
    )


def in_prod(alarms: Alarms, stage: Stage) -> None:
    """What somebody is paid to look at."""
    alarms.burn("error-budget-fast", FAST)
    alarms.burn("error-budget-slow", SLOW)
    alarms.unusual_spend()
    for name, said, measured, threshold in _of_prod(stage):
        alarms.add(name, said, measured, threshold)
    slo = stage.policy.defaults.slo
    for name, limit_ms in (("TtftMs", slo.ttft_p95_ms), ("E2eMs", slo.e2e_p95_ms)):
        if limit_ms is not None:
            p95 = metric(stage, name, "p95", minutes=5)
            said = f"SLO: the p95 of {name} is above the policy's default"
            alarms.add(f"{name.lower()}-p95", said, p95, limit_ms, periods=3)


def _of_prod(stage: Stage) -> Iterator[tuple[str, str, cloudwatch.Metric, float]]:
    def of(name: str, statistic: str = "Sum", minutes: int = 15) -> cloudwatch.Metric:
        return metric(stage, name, statistic, minutes=minutes)

    yield "overrun", "ledger: requests cost more than was set aside for them", of("Overrun"), 1
    yield (
        "unsettled",
        "ledger: charges were not written, their leases run out",
        of("Unsettled"),
        1,
    )
    yield "receipts-lost", "records: receipts did not reach the lake", of("ReceiptsLost"), 1
    yield "fleets-down", "load: a fleet does not answer", of("FleetsDown", "Minimum"), 1
    old = f"prices: the price book is older than {STALE_PRICES_DAYS} days"
    yield "old-prices", old, of("PricesAgeDays", "Maximum"), STALE_PRICES_DAYS


def _looks(stage: Stage) -> cloudwatch.MathExpression:
    """Return 1 for a minute in which nobody looked."""
    return cloudwatch.MathExpression(
        expression="IF(FILL(looks, 0) > 0, 0, 1)",
        using_metrics={"looks": metric(stage, "ObserverLagMs", "SampleCount")},
        period=cdk.Duration.minutes(1),
        label="minutes without a look",
    )


def _title(name: str) -> str:
    return name.title().replace("-", "")

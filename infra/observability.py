"""What is seen of a stage and who is told: dashboard, alarms, AWS Budgets."""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import dashboard
from infra.alarms import Alarms, in_both_sizes, in_prod
from infra.api import Api
from infra.batches import Batches
from infra.policy import Policy
from infra.router import Router
from infra.state import State
from infra.workers import Workers
from router.deploy import currency
from router.deploy.stage import Stage

API_ERRORS: Final = 5  # in five minutes; what the router itself answers with 5xx is among them
TOLD_AT: Final = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))  # % of the month's USD


class Observability(Construct):
    """`alarms`: all that tell the topic, those of the policy and of the workers too."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        state: State,
        router: Router,
        api: Api | None,
        workers: Workers,
        policy: Policy,
        topic: sns.ITopic,
        batches: Batches | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        alarms = Alarms(self, stage, topic)
        of_batches = () if batches is None else batches.alarms
        for alarm in (*policy.alarms, workers.alarm, *of_batches):
            alarms.wire(alarm)
        in_both_sizes(alarms, stage)
        if stage.size == "prod":
            in_prod(alarms, stage)
            self._of_aws(alarms, state, workers)
        if api is not None:
            errors = api.api.metric_server_error(period=cdk.Duration.minutes(5), statistic="Sum")
            alarms.add("api-5xx", "API: requests ended in 5xx", errors, API_ERRORS)
        self.alarms = alarms.all
        if stage.size == "prod":  # $3 a month, more than all else of an idle small stage
            cloudwatch.Dashboard(
                self,
                "Dashboard",
                dashboard_name=stage.prefix,
                widgets=dashboard.rows(stage, router.function, alarms.all),
            )
        if stage.usd_per_month is not None:
            _budget(self, stage, stage.usd_per_month, topic)

    def _of_aws(self, alarms: Alarms, state: State, workers: Workers) -> None:
        """What AWS measures by itself, at no price but the alarm's."""
        five = cdk.Duration.minutes(5)
        late = workers.functions["stream"].metric("IteratorAge", statistic="Maximum", period=five)
        alarms.add("lake-late", "lake: rows of the ledger wait for an hour", late, 3_600_000)
        throttled = state.table.metric_throttled_requests_for_operations(
            operations=[dynamodb.Operation.TRANSACT_WRITE_ITEMS], period=five
        )
        alarms.add("ledger-throttled", "ledger: DynamoDB turns transactions away", throttled)


def _budget(scope: Construct, stage: Stage, usd: int, topic: sns.ITopic) -> None:
    """Watch the bill of what carries the stage's tag, once that is activated for cost allocation.

    A budget that only tells costs nothing (aws.amazon.com/aws-cost-management/aws-budgets/pricing).
    """
    made = budgets.CfnBudget
    amount, unit = currency.budget(stage, usd)
    told = made.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
    made(
        scope,
        "Budget",
        budget=made.BudgetDataProperty(
            budget_name=stage.prefix,
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=made.SpendProperty(amount=amount, unit=unit),
            cost_filters={"TagKeyValue": [f"user:sluice:stage${stage.name}"]},
        ),
        notifications_with_subscribers=[
            made.NotificationWithSubscribersProperty(
                notification=made.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[told],
            )
            for kind, percent in TOLD_AT
        ],
    )

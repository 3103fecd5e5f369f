"""What works beside the requests: observer, sweeper, prices, the table's stream to the lake, and
where fleets of the stage scale to zero, the waker.

(One more, the policy's validator, stands with the policy: AppConfig needs it before the profile.)
The waker is outside of the network: it calls AWS alone, and an endpoint in it for each service that
it calls would be $15 a month.
Each function may do what its code does and nothing else; `tests/infra/test_iam.py` holds the calls
it really makes against its role.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import waker
from infra.network import Network
from infra.permissions import INTERFACES
from infra.policy import Policy
from infra.reasons import acknowledge
from infra.state import KEY_USES, State
from infra.worker import Form, function
from infra.worker_rights import allow, let_look
from router.deploy import parts
from router.deploy.stage import Stage
from router.ledger.dynamo_table import LEASES

EVERY: Final = {
    "observer": cdk.Duration.minutes(1),
    "sweeper": cdk.Duration.minutes(1),  # a lease ends 60 s after its request's deadline
    "prices": cdk.Duration.days(1),
    "waker": cdk.Duration.minutes(1),  # a fleet's time is over to the minute
}
FORMS: Final = (
    # It looks for as long as requests are open, at most until the next one's minute.
    Form("observer", memory_mb=256, timeout_s=59, alone=True),
    Form("sweeper", memory_mb=256, timeout_s=50, alone=True),
    Form("prices", memory_mb=512, timeout_s=300, alone=True),
    Form("stream", memory_mb=256, timeout_s=60),
)
# The calls of router.ledger by each; a transaction needs the right to each of its parts.
DYNAMODB: Final = {
    "observer": ("DescribeTable", "GetItem", "Query", "PutItem"),
    "sweeper": ("DescribeTable", "GetItem", "Query", "PutItem", "UpdateItem", "DeleteItem"),
    "prices": ("DescribeTable", "GetItem", "PutItem"),
    "waker": ("DescribeTable", "Query", "DeleteItem"),
}
LEASED: Final = ("observer", "sweeper")  # they look at the requests that are open
# ListStreams on this stream alone, where CDK's grant_stream_read allows it on everything.
READ_STREAM: Final = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
NO_RESOURCES: Final = "the price list has no resources: pricing:GetProducts knows only `*`"
NO_ARN_YET: Final = "Lambda's own calls: interfaces have no ARN before they are made"
BATCH: Final = 100
WAIT_S: Final = 30  # for a batch to fill: an alert or a row of the lake may be as late
RETRIES: Final = 5
KEPT_DAYS: Final = 14  # as long as SQS keeps anything


def _on(event: str, kind: str, **image: Any) -> dict[str, Any]:  # noqa: ANN401 (AWS's patterns)
    keys = {"Keys": {"pk": {"S": [{"prefix": kind}]}}}
    return {"eventName": [event], "dynamodb": keys | ({"NewImage": image} if image else {})}


# Charges are only ever added; a minute of a fleet is written again when more of it was seen. Of a
# budget a pattern can say that an alert is out, not that it wasn't before: that router.workers.
# stream compares.
FOLLOWED: Final = (
    _on("INSERT", "E#"),
    _on("INSERT", "F#"),
    _on("MODIFY", "F#"),
    _on("MODIFY", "S#", fired={"S": [{"anything-but": ["[]"]}]}),
)


class Workers(Construct):
    """`functions` by name; `failed`: the queue of what could not be done, `alarm`: it has some."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        state: State,
        code: lambda_.Code,
        topic: sns.ITopic,
        policy: Policy,
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.failed = sqs.Queue(
            self,
            "Failed",
            queue_name=f"{stage.prefix}-failed",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(KEPT_DAYS),
        )
        acknowledge(self.failed, {"SQS3": "it is where the functions' dead letters go"})
        environment = {
            "SLUICE_TABLE": state.table.table_name,
            "SLUICE_ROWS": state.rows_stream.ref,
            "SLUICE_TOPIC": topic.topic_arn,
            "SLUICE_APPCONFIG": policy.reference,
        }
        inside = _inside(network) if network is not None and looks_inside(stage) else None
        self.functions = {
            form.name: function(
                self,
                form,
                stage=stage,
                code=code,
                environment=environment,
                inside=inside if form.name == "observer" else None,
            )
            for form in (*FORMS, *([waker.FORM] if parts.sleepers(stage) else []))
        }
        if inside is not None:
            allow(self.functions["observer"], list(INTERFACES), ["*"], why=NO_ARN_YET)
        self._schedule()
        self._follow(state, "stream", FOLLOWED, batch=BATCH, wait_s=WAIT_S)
        if "waker" in self.functions:
            self._follow(state, "waker", waker.ASKED, batch=waker.BATCH, wait_s=0)
            waker.let_wake(self.functions["waker"], stage)
        self._grant(stage, state, topic)
        allow(self.functions["sweeper"], ["appconfig:ListDeployments"], policy.deployed_arns)
        policy.grant_read(self.functions["sweeper"])
        self.alarm = _not_empty(self, stage, self.failed)

    def _schedule(self) -> None:
        """What runs every minute is not repeated, for the next one comes; what runs daily is."""
        for name, every in EVERY.items():
            worker, daily = self.functions.get(name), name == "prices"
            if worker is None:
                continue
            worker.configure_async_invoke(
                retry_attempts=2 if daily else 0,
                max_event_age=cdk.Duration.hours(1) if daily else cdk.Duration.minutes(1),
                on_failure=destinations.SqsDestination(self.failed) if daily else None,
            )
            events.Rule(
                self,
                f"{name.capitalize()}Every",
                schedule=events.Schedule.rate(every),
                targets=[targets.LambdaFunction(worker, retry_attempts=0)],
            )

    def _follow(
        self,
        state: State,
        name: str,
        patterns: Sequence[Mapping[str, Any]],
        *,
        batch: int,
        wait_s: int,
    ) -> None:
        """A batch that fails is halved until the row that fails it is alone; that one is kept."""
        stream_arn = state.table.table_stream_arn
        assert stream_arn is not None, "the table has a stream"
        worker = self.functions[name]
        allow(worker, [f"dynamodb:{action}" for action in READ_STREAM], [stream_arn])
        worker.add_event_source_mapping(
            "Rows" if name == "stream" else "Asked",
            event_source_arn=stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=batch,
            max_batching_window=cdk.Duration.seconds(wait_s),
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            retry_attempts=RETRIES,
            on_failure=sources.SqsDlq(self.failed),
            filters=[{"pattern": json.dumps(pattern)} for pattern in patterns],
        )

    def _grant(self, stage: Stage, state: State, topic: sns.ITopic) -> None:
        table = state.table.table_arn
        for name, actions in DYNAMODB.items():
            if name in self.functions:
                allow(self.functions[name], [f"dynamodb:{action}" for action in actions], [table])
        for name in LEASED:
            allow(self.functions[name], ["dynamodb:Query"], [f"{table}/index/{LEASES}"])
        prices, stream = self.functions["prices"], self.functions["stream"]
        allow(prices, ["pricing:GetProducts"], ["*"], why=NO_RESOURCES)
        allow(stream, ["firehose:PutRecordBatch"], [state.rows_stream.attr_arn])
        allow(stream, ["sns:Publish"], [topic.topic_arn])
        let_look(self.functions["observer"], stage)
        if state.key is not None:
            for worker in self.functions.values():
                allow(worker, list(KEY_USES), [state.key.key_arn])


def looks_inside(stage: Stage) -> bool:
    """Whether a fleet may have an address that only the network knows."""
    return any(fleet.sagemaker is None for fleet in stage.catalogue.fleets)


def _inside(network: Network) -> dict[str, Any]:
    return {
        "vpc": network.vpc,
        "vpc_subnets": network.inside,
        "security_groups": [network.callers],
    }


def _not_empty(scope: Construct, stage: Stage, queue: sqs.Queue) -> cloudwatch.Alarm:
    waiting = queue.metric_approximate_number_of_messages_visible(
        statistic="Maximum", period=cdk.Duration.minutes(5)
    )
    return cloudwatch.Alarm(
        scope,
        "NotEmpty",
        alarm_name=f"{stage.prefix}-failed-work",
        alarm_description="workers: rows or runs failed for good and wait in the queue",
        metric=waiting,
        threshold=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        evaluation_periods=1,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )

"""Batches: the bucket of their files, the queue of their lines, and what sends them.

The scheduler looks every minute and puts on the queue what is due; the dispatcher takes from it and
sends. So nothing waits in the queue for a window to open, nobody polls for one, and a chunk that
comes back is due again when its lines are: a row of the table, not a message that is hidden.
Dispatchers run where the router runs. They send no message, and Lambda itself reads the queue: a
network without a way out needs no endpoint of SQS.
"""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import permissions
from infra.network import Network
from infra.policy import Policy
from infra.reasons import acknowledge
from infra.state import KEY_USES, State
from infra.worker import Form, function
from router.batches.pace import HIDDEN_S, RUN_S, STUCK_S, hands
from router.deploy.stage import Stage, Window

# A file is told to be gone after 30 days; what the router did not remove goes a day later.
FILE_DAYS: Final = 31
UPLOAD_DAYS: Final = 1
FILES, RESULTS = "files", "results"
TRIES: Final = 5  # of a message whose function died, before it is put aside
KEPT: Final = cdk.Duration.days(14)  # as long as SQS keeps anything
DISPATCHER: Final = Form("dispatcher", memory_mb=512, timeout_s=RUN_S)
SCHEDULER: Final = Form("scheduler", memory_mb=256, timeout_s=50, alone=True)
# The router's: upload, show, delete. Dispatchers read files and make them, and keep results only
# until they are in a file.
OBJECT: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
OF_FILES: Final = ("s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")
OF_RESULTS: Final = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
# The calls of router.batches.aws_...; a transaction needs the right to each of its parts.
OF_SCHEDULER: Final = ("DescribeTable", "GetItem", "Query", "UpdateItem", "DeleteItem")


class Files(Construct):
    """`bucket`: what users upload and get, and what was answered until it is a file."""

    def __init__(
        self, scope: Construct, construct_id: str, *, stage: Stage, key: kms.IKey | None
    ) -> None:
        super().__init__(scope, construct_id)
        kept = stage.size == "prod"
        self.name = f"{stage.prefix}-batches-{stage.account}-{stage.region}"  # one in all of AWS
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=self.name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=key is not None,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=False,  # what was removed is gone, and costs nothing
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="gone",
                    expiration=cdk.Duration.days(FILE_DAYS),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(UPLOAD_DAYS),
                )
            ],
            removal_policy=cdk.RemovalPolicy.RETAIN if kept else cdk.RemovalPolicy.DESTROY,
            auto_delete_objects=not kept,
        )
        said = "only the router and its workers reach it; who reads is in CloudTrail's data events"
        acknowledge(self.bucket, {"S1": said})

    def let(self, role: iam.IRole, folder: str, actions: tuple[str, ...]) -> None:
        """Let the role do this with the objects of this folder."""
        below = f"s3:::{self.name}/{folder}/*"
        on = [f"arn:{cdk.Aws.PARTITION}:{below}"]
        role.add_to_principal_policy(
            iam.PolicyStatement(sid=folder.capitalize(), actions=list(actions), resources=on)
        )
        said = "objects have no names before they are there: one folder of the one bucket"
        acknowledge(role, {f"IAM5[Resource::arn:<AWS::Partition>:{below}]": said})


class Batches(Construct):
    """`queue`: chunks that are due; `failed`: those whose function died again and again. `alarms`:
    that some have, and that chunks wait and nobody sends them.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        state: State,
        files: Files,
        policy: Policy,
        code: lambda_.Code,
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        assert stage.deferrable is not None, "the stage takes batches"
        self._stage = stage
        self.failed = self._queue("Failed", "batches-failed")
        acknowledge(self.failed, {"SQS3": "it is where dead letters go"})
        self.queue = self._queue(
            "Queue", "batches", sqs.DeadLetterQueue(queue=self.failed, max_receive_count=TRIES)
        )
        functions, each = hands(stage.deferrable.at_once)
        environment = {
            "SLUICE_TABLE": state.table.table_name,
            "SLUICE_BATCHES": files.name,
            "SLUICE_AT_ONCE": str(stage.deferrable.at_once),
        }
        window = stage.deferrable.window
        if window is not None:
            environment["SLUICE_WINDOW"] = written(window)
        self.dispatcher = function(
            self,
            DISPATCHER,
            stage=stage,
            code=code,
            environment={
                **environment,
                "SLUICE_APPCONFIG": policy.reference,
                "SLUICE_RECEIPTS": state.receipts_stream.ref,
            },
            inside=None
            if network is None
            else {
                "vpc": network.vpc,
                "vpc_subnets": network.inside,
                "security_groups": [network.callers],
            },
        )
        self.scheduler = function(
            self,
            SCHEDULER,
            stage=stage,
            code=code,
            environment={**environment, "SLUICE_QUEUE": self.queue.queue_url},
        )
        self.dispatcher.add_event_source(
            sources.SqsEventSource(
                self.queue,
                batch_size=1,  # a chunk takes minutes: two of one function would wait in line
                max_concurrency=functions,
                report_batch_item_failures=True,
            )
        )
        assert functions * each <= stage.deferrable.at_once
        self._grant(state, files, policy, network)
        self._every_minute()
        self.alarms = [self._not_empty(), self._waiting()]

    def _queue(self, title: str, name: str, dead: sqs.DeadLetterQueue | None = None) -> sqs.Queue:
        return sqs.Queue(
            self,
            title,
            queue_name=f"{self._stage.prefix}-{name}",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=KEPT,
            visibility_timeout=None if dead is None else cdk.Duration.seconds(HIDDEN_S),
            dead_letter_queue=dead,
        )

    def _grant(self, state: State, files: Files, policy: Policy, network: Network | None) -> None:
        dispatcher, scheduler = self.dispatcher.role, self.scheduler.role
        assert isinstance(dispatcher, iam.Role)
        assert isinstance(scheduler, iam.Role)
        permissions.grant(dispatcher, self._stage, state, policy)
        if network is not None:
            self.dispatcher.add_to_role_policy(
                iam.PolicyStatement(
                    sid="Interfaces", actions=list(permissions.INTERFACES), resources=["*"]
                )
            )
        files.let(dispatcher, FILES, OF_FILES)
        files.let(dispatcher, RESULTS, OF_RESULTS)
        files.let(scheduler, FILES, ("s3:DeleteObject",))
        actions = [f"dynamodb:{action}" for action in OF_SCHEDULER]
        for on, wanted in (
            (state.table.table_arn, actions),
            (self.queue.queue_arn, ["sqs:SendMessage"]),
            *(((state.key.key_arn, list(KEY_USES)),) if state.key is not None else ()),
        ):
            self.scheduler.add_to_role_policy(iam.PolicyStatement(actions=wanted, resources=[on]))

    def _every_minute(self) -> None:
        """What runs every minute is not repeated, for the next one comes."""
        self.scheduler.configure_async_invoke(
            retry_attempts=0, max_event_age=cdk.Duration.minutes(1)
        )
        events.Rule(
            self,
            "SchedulerEvery",
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            targets=[targets.LambdaFunction(self.scheduler, retry_attempts=0)],
        )

    def _not_empty(self) -> cloudwatch.Alarm:
        return self._alarm(
            "batches-failed",
            "batches: the function that sends chunks of them died again and again",
            self.failed.metric_approximate_number_of_messages_visible(
                statistic="Maximum", period=cdk.Duration.minutes(5)
            ),
            1,
        )

    def _waiting(self) -> cloudwatch.Alarm:
        """A chunk is put there when it is due, and no more of them than are sent in hours: what
        waits for longer makes batches miss their deadlines.
        """
        return self._alarm(
            "batches-late",
            f"batches: a chunk that is due waits for {STUCK_S // 3600} hours and is not sent",
            self.queue.metric_approximate_age_of_oldest_message(
                statistic="Maximum", period=cdk.Duration.minutes(5)
            ),
            STUCK_S,
        )

    def _alarm(
        self, name: str, said: str, measured: cloudwatch.IMetric, threshold: float
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name.title().replace("-", ""),
            alarm_name=f"{self._stage.prefix}-{name}",
            alarm_description=said,
            metric=measured,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )


def written(window: Window) -> str:
    """Return it as the workers read it (router.batches.schedule)."""
    return f"{window.from_}-{window.to}@{window.tz}"

"""The ledger's changes, as DynamoDB streams them: rows go to the lake, thresholds to the topic.

* a new charge (E#...) or minute of a fleet (F#...) is a line for Firehose (router.workers.columns)
* a budget row (S#...) that has fired thresholds which it hadn't before is a message for each, the
  one that router.alerts sends elsewhere: on AWS the router itself sends none

What fails is told as a partial failure: the stream delivers from the first of those on again, so
that everything comes at least once. A row that comes twice is two lines in the lake, of which the
queries take one; an alert that comes twice is two messages. A budget that is spread over shards
tells a threshold once for each shard that passes it.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from router.alerts import message_of
from router.ledger.dynamo_rows import fleet_time_of
from router.ledger.dynamo_table import Item, plain
from router.ledger.entry import entry_of
from router.ledger.port import Alert
from router.settings import needed
from router.sns import subject_of
from router.workers.aws_errors import code_of
from router.workers.columns import entry_line, fleet_time_line
from router.workers.kit import Event, Kit, opened

AT_ONCE: Final = 500  # records of one PutRecordBatch
BYTES: Final = 4_000_000  # and their bytes
REMOVED: Final = "REMOVE"


class NotDelivered(Exception):  # noqa: N818 (it says what is the case)
    """A record's row or alert was not taken; it comes again."""


class Stream:
    """`firehose`, `sns`: boto3's clients; `failures`: the exceptions that both raise."""

    def __init__(
        self,
        firehose: Any,  # noqa: ANN401 (boto3 makes its classes as it goes)
        rows: str,
        sns: Any,  # noqa: ANN401 (as above)
        topic: str,
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._firehose, self._rows = firehose, rows
        self._sns, self._topic = sns, topic
        self._failures = failures

    def deliver(self, records: Sequence[Item]) -> tuple[dict[str, str], int]:
        """Send what the records say; return why not, by sequence number, and how many alerts."""
        lines: list[tuple[str, bytes]] = []
        failed: dict[str, str] = {}
        alerts = 0
        for record in records:
            number = record["dynamodb"]["SequenceNumber"]
            try:
                before, after = _images(record)
                line = line_of(after)
                if line is not None:
                    lines.append((number, line))
                for alert in alerts_of(before, after):
                    self._publish(alert)
                    alerts += 1
            except self._failures as exc:
                failed[number] = f"the topic did not take an alert: {code_of(exc)}"
            except (KeyError, TypeError, ValueError) as exc:
                failed[number] = f"the record can't be read: {type(exc).__name__}"
        for batch in _batches(lines):
            failed |= self._put(batch)
        return failed, alerts

    def _publish(self, alert: Alert) -> None:
        message = message_of(alert)
        text = orjson.dumps(message).decode()
        self._sns.publish(TopicArn=self._topic, Subject=subject_of(message), Message=text)

    def _put(self, batch: Sequence[tuple[str, bytes]]) -> dict[str, str]:
        """Put the lines; return those that were not taken."""
        records = [{"Data": line} for _, line in batch]
        try:
            answer = self._firehose.put_record_batch(DeliveryStreamName=self._rows, Records=records)
        except self._failures as exc:
            return {number: f"Firehose did not take it: {code_of(exc)}" for number, _ in batch}
        return {
            number: f"Firehose did not take it: {told['ErrorCode']}"
            for (number, _), told in zip(batch, answer["RequestResponses"], strict=True)
            if told.get("ErrorCode")
        }


def line_of(item: Item) -> bytes | None:
    """Return the row's line for the lake; None: the item is no row. {}: it was removed."""
    kind = item.get("pk", "").partition("#")[0]
    if kind == "E":
        return entry_line(entry_of(item["entry"]))
    return fleet_time_line(fleet_time_of(item)) if kind == "F" else None


def alerts_of(before: Item, after: Item) -> list[Alert]:
    """Return the thresholds that this change of a budget row passed, lowest first."""
    if not after.get("pk", "").startswith("S#") or before.get("fired") == after["fired"]:
        return []
    old = orjson.loads(before.get("fired", "[]"))
    name = (after["budget"], after["value"], after["period"], after["ends"])
    return [
        Alert(*name, share, after["spent"], after["soft"])
        for share in orjson.loads(after["fired"])
        if share not in old
    ]


def _images(record: Item) -> tuple[Item, Item]:
    """Return the item before and after; {}: there was or is none."""
    if record["eventName"] == REMOVED:
        return {}, {}
    images = record["dynamodb"]
    return plain(images.get("OldImage", {})), plain(images["NewImage"])


def _batches(lines: Sequence[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for line in lines:
        if len(batch) == AT_ONCE or (batch and size + len(line[1]) > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line[1])
    if batch:
        yield batch


@functools.cache
def _open() -> tuple[Kit, Stream]:
    import boto3  # noqa: PLC0415  (0.2 s, and only in the function)
    from botocore.config import Config  # noqa: PLC0415  (as above)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

    kit = opened("stream")
    rows = needed(kit.settings.rows, "SLUICE_ROWS", "the name of a Firehose stream")
    topic = needed(kit.settings.topic, "SLUICE_TOPIC", "the ARN of an SNS topic")
    quick = Config(
        connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
    )
    session = boto3.Session()
    clients = session.client("firehose", config=quick), session.client("sns", config=quick)
    return kit, Stream(clients[0], rows, clients[1], topic, (BotoCoreError, ClientError))


def handler(event: Event, context: Any) -> PartialItemFailureResponse:  # noqa: ANN401 (Lambda's)
    kit, stream = _open()
    with kit.told():
        failed, alerts = stream.deliver(event["Records"])
        kit.count("BudgetAlerts", alerts)
        for why in sorted(set(failed.values())):
            kit.log.error("%d records come again: %s", list(failed.values()).count(why), why)

    def delivered(record: Item) -> None:
        why = failed.get(record["dynamodb"]["SequenceNumber"])
        if why is not None:
            raise NotDelivered(why)

    processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
    return process_partial_response(event, delivered, processor, context)

"""Each minute: put on the queue what of the batches is due.

* a batch that is to be checked, has all its answers, was cancelled or has expired: one message, to
  whoever takes that step (router.workers.dispatcher)
* chunks of lines, inside the stage's window or where a deadline presses, and only as many as are
  sent in a few minutes: what is beyond waits in the table, where it costs nothing

A message may come twice: a line is taken once. It also removes files that have expired.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from router.batches.aws import AwsStore
from router.batches.aws_chunks import Chunk
from router.batches.pace import HIDDEN_S, stuck_s
from router.batches.plan import Open, due_now
from router.batches.port import Batch, StoreUnavailable
from router.batches.schedule import Pace
from router.batches.sender import step_of
from router.runtime import LOG
from router.settings import needed
from router.workers.aws_errors import code_of
from router.workers.batch_settings import pace_of, store_of
from router.workers.kit import Answer, Event, Kit, opened

TOGETHER: Final = 10  # messages that SQS takes at once
Message = Mapping[str, str | int]


class NotQueued(Exception):  # noqa: N818 (it says what is the case)
    """The queue did not take it: the next minute tries again."""


@dataclass(slots=True)
class Scheduler:
    """`send` puts messages on the queue, TOGETHER at most, and raises NotQueued. `now`: seconds
    since 1970.
    """

    store: AwsStore
    pace: Pace
    send: Callable[[Sequence[Message]], None]
    now: Callable[[], float]

    def minute(self) -> Answer:
        """Do what is due; return how much. Raises StoreUnavailable, NotQueued."""
        now_s = self.now()
        found, steps = list[Open](), list[Batch]()
        for batch in self.store.batches.unfinished():
            one = self._open(batch)
            step = step_of(batch, now_s)
            if step == "finish" and one.chunks and batch.status == "in_progress":
                found.append(one)
            elif step and self.store.batches.begin_step(batch, step, now_s, now_s + HIDDEN_S):
                steps.append(batch)
        self._send_steps(steps)
        chunks = due_now(found, self.pace, now_s)
        for some in _together([_message(chunk) for chunk in chunks]):
            self.send(some)
        ends = {one.batch.id: one.batch.expires_s for one in found}
        window_s = None if self.pace.window is None else self.pace.window.length_s
        for chunk in chunks:  # after it was sent: twice is once, and never would be never
            stuck = stuck_s(ends[chunk.span.batch_id] - now_s, window_s)
            self.store.chunks.queued(chunk, now_s + stuck)
        return {"steps": len(steps), "chunks": len(chunks), "removed": self._swept(now_s)}

    def _swept(self, now_s: float) -> int:
        """Remove files that are due, after all else: what can't be removed holds nothing up."""
        try:
            return self.store.sweep(now_s)
        except StoreUnavailable as exc:
            LOG.error("files wait for the next minute: %s", exc)
            return 0

    def _send_steps(self, batches: Sequence[Batch]) -> None:
        try:
            for some in _together([{"batch": batch.id} for batch in batches]):
                self.send(some)
        except NotQueued:
            for batch in batches:
                self.store.batches.not_yet(batch)
            raise

    def _open(self, batch: Batch) -> Open:
        if batch.status != "in_progress":
            return Open(batch, 0, ())
        left = self.store.queue.counts(batch.id).left
        return Open(batch, left, self.store.chunks.of(batch.id))


def _message(chunk: Chunk) -> Message:
    span = chunk.span
    return {"batch": span.batch_id, "first": span.first, "last": span.last}


def _together(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for at in range(0, len(messages), TOGETHER):
        yield messages[at : at + TOGETHER]


def sending(
    sqs: Any,  # noqa: ANN401 (boto3 makes its classes as it goes)
    queue: str,
    failures: tuple[type[Exception], ...],
) -> Callable[[Sequence[Message]], None]:
    """Return what puts messages on the queue of this URL."""

    def send(messages: Sequence[Message]) -> None:
        rows = [
            {"Id": str(n), "MessageBody": orjson.dumps(message).decode()}
            for n, message in enumerate(messages)
        ]
        try:
            answer = sqs.send_message_batch(QueueUrl=queue, Entries=rows)
        except failures as exc:
            raise NotQueued(f"the queue took nothing: {code_of(exc)}") from None
        refused = answer.get("Failed", ())
        if refused:
            codes = ", ".join(sorted({str(one.get("Code")) for one in refused}))
            raise NotQueued(f"the queue refused {len(refused)} messages: {codes}")

    return send


@functools.cache
def _open() -> tuple[Kit, Scheduler]:
    import boto3  # noqa: PLC0415  (0.2 s, and only in the function)
    from botocore.config import Config  # noqa: PLC0415  (as above)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

    kit = opened("scheduler")
    environment = kit.settings.environment
    queue = needed(environment.get("SLUICE_QUEUE"), "SLUICE_QUEUE", "the URL of an SQS queue")
    quick = Config(
        connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
    )
    send = sending(boto3.client("sqs", config=quick), queue, (BotoCoreError, ClientError))
    store = store_of(kit.settings)
    return kit, Scheduler(store, pace_of(environment), send, time.time)


def handler(_event: Event, _context: Any) -> Answer:  # noqa: ANN401 (Lambda's context)
    kit, scheduler = _open()
    try:
        return scheduler.minute()
    except (StoreUnavailable, NotQueued) as exc:
        kit.log.error("batches wait for the next minute: %s", exc)  # noqa: TRY400  (one line)
        return {"steps": 0, "chunks": 0, "removed": 0}

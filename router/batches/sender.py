"""Sends the lines of one chunk, and takes a batch's steps, for as long as a function may run.

The same parts as the router's own dispatcher (router.batches.dispatcher): who asks and how is the
desk's, what an answer means `verdict`'s, when lines may be sent `schedule`'s. What differs: each
chunk comes as a message, to whoever is free, and nobody lives for longer than 15 minutes.
"""

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from router.batches import states, work
from router.batches.aws import AwsStore
from router.batches.aws_chunks import Span
from router.batches.aws_lines import AwsQueue
from router.batches.dispatcher import Desk
from router.batches.port import (
    Batch,
    File,
    Job,
    Mistake,
    Result,
    Status,
    StoreFull,
    StoreUnavailable,
)
from router.batches.schedule import Pace, Work
from router.batches.verdict import LOST, Again, judged
from router.identity import Key
from router.ledger.port import LedgerUnavailable
from router.runtime import LOG

Step = Literal["prepare", "finish", "cancel", "expire"]
TRIES: Final = 5  # to write down what was paid for
PREPARED: Final = 10  # times at most: each that fails leaves a message that comes again
UNPREPARED: Final = Mistake(
    "preparation_failed",
    f"the router tried {PREPARED} times to put the requests of this file into its queue, in vain: "
    "make the batch anew, and tell who runs the router if that fails too",
)
AGAIN_S: Final = 2.0
BREAK_OFF_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Sent:
    """How many lines have got a result, how many of these are no success, how many come again."""

    kept: int = 0
    failed: int = 0
    again: int = 0

    def plus(self, told: Result | Again | None) -> "Sent":
        """`told` None: somebody else has ended the line."""
        if told is None:
            return self
        if isinstance(told, Again):
            return replace(self, again=self.again + 1)
        return replace(self, kept=self.kept + 1, failed=self.failed + (not told.ok))


@dataclass(slots=True)
class Sender:
    """`each`: lines at a time. `now`: seconds since 1970. Raises StoreUnavailable and the like."""

    store: AwsStore
    desk: Desk
    pace: Pace
    each: int
    now: Callable[[], float]

    async def step(self, batch_id: str) -> bool:
        """Bring the batch its next step on; False: lines of it are under way, so not yet."""
        batch = await asyncio.to_thread(self.store.batches.find, batch_id)
        step = None if batch is None else step_of(batch, self.now())
        if batch is None or step is None:
            return True
        if step == "prepare":
            await asyncio.to_thread(self._prepare, batch)
            return True
        done = await self._ended(batch, step)
        if not done:
            await asyncio.to_thread(self.store.batches.not_yet, batch)
        return done

    async def chunk(self, span: Span, ends_s: float, over_s: float = math.inf) -> Sent:
        """Send what may be sent of the chunk, beginning no line after `ends_s`; what isn't done at
        `over_s` is broken off and given back.
        """
        queue = self.store.queue.within(span)
        sent = Sent()
        try:
            batch = await self._sendable(span)
            known = None if batch is None else await self._known(batch)
            if batch is None or known is None:
                return sent  # who looks every minute puts it on the queue again
            if isinstance(known, Mistake):
                await asyncio.to_thread(self._fail, batch, known)
                return sent
            await self._take_over(queue)
            sent = await self._lines(queue, batch, *known, ends_s, over_s)
        finally:
            await self._worked_on(queue, span)
        return sent

    async def refuse(self, span: Span, code: str, message: str) -> Sent:
        """Give each line of the chunk that nobody has this error: it can't be sent from here."""
        queue = self.store.queue.within(span)
        if await self._sendable(span) is None:
            return Sent()
        before = await asyncio.to_thread(queue.open_times, span.batch_id)
        await asyncio.to_thread(queue.close, span.batch_id, code, message)
        ended = len(before) - len(await self._worked_on(queue, span))
        return Sent(ended, ended)

    async def _sendable(self, span: Span) -> Batch | None:
        batch = await asyncio.to_thread(self.store.batches.find, span.batch_id)
        if batch is None or batch.status != "in_progress" or self.now() >= batch.expires_s:
            return None
        return batch

    async def _known(self, batch: Batch) -> tuple[Key, File] | Mistake | None:
        """Return as whom and out of what its lines are sent; None: it can't be told now."""
        key = await self.desk.who(batch)
        if isinstance(key, Mistake):
            return key
        source = await asyncio.to_thread(self.store.files.find, batch.input_file_id)
        if source is None:
            return work.GONE
        return None if key is None else (key, source)

    async def _worked_on(self, queue: AwsQueue, span: Span) -> Sequence[float]:
        times = await asyncio.to_thread(queue.open_times, span.batch_id)
        await asyncio.to_thread(self.store.chunks.worked_on, span, times)
        return times

    # -- lines -------------------------------------------------------------------------------------

    async def _lines(
        self, queue: AwsQueue, batch: Batch, key: Key, source: File, ends_s: float, over_s: float
    ) -> Sent:
        counts = await asyncio.to_thread(queue.counts, batch.id)
        one = Work(batch.id, batch.tenant, batch.expires_s, counts.left)
        running: dict[asyncio.Task[Result | Again | None], Job] = {}
        sent, more, trouble = Sent(), True, None
        while (running or more) and self.now() < over_s:
            free = self.each - len(running)
            now_s = self.now()
            more = more and now_s < ends_s and self.pace.may_send(one, now_s)
            try:
                if more and free:
                    taken = (batch.id, free, now_s, self.desk.new_id)
                    jobs = await asyncio.to_thread(queue.take, *taken)
                    more = len(jobs) == free
                    for job in jobs:
                        line = self._line(queue, batch, source, key, job)
                        running[asyncio.get_running_loop().create_task(line)] = job
                for task in await _first_of(running, over_s - self.now()):
                    del running[task]
                    sent = sent.plus(task.result())
            except Exception as exc:  # noqa: BLE001  (told below, once the others have ended)
                trouble, more = exc, False
        await self._break_off(queue, running)
        if trouble is not None:
            raise trouble
        return sent

    async def _break_off(
        self, queue: AwsQueue, running: Mapping[asyncio.Task[Result | Again | None], Job]
    ) -> None:
        """Leave nothing under way in a function that stands still between messages."""
        if not running:
            return
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=BREAK_OFF_S)
        for job in running.values():
            try:
                await self._give_back(queue, job)
            except StoreUnavailable as exc:  # its lease runs out
                LOG.error("batch %s, line %d: %s", job.batch_id, job.line.number, exc)

    async def _line(
        self, queue: AwsQueue, batch: Batch, source: File, key: Key, job: Job
    ) -> Result | Again | None:
        told = await self._told(batch, source, key, job)
        for left in reversed(range(TRIES)):
            try:
                kept = await asyncio.to_thread(self._write, queue, job, told)
            except StoreUnavailable:
                if not left:
                    raise  # its lease runs out, and who comes next sees to it
                await asyncio.sleep(AGAIN_S)
            else:
                return told if kept else None
        return None

    async def _told(self, batch: Batch, source: File, key: Key, job: Job) -> Result | Again:
        line = job.line
        try:
            body = await asyncio.to_thread(work.line_body, self.store, source, job)
            answer = await self.desk.ask(key, job, batch.endpoint, body)
        except (StoreFull, StoreUnavailable):
            return Again(AGAIN_S, "the input file could not be read")
        except Exception as exc:  # noqa: BLE001  (a bug of ours must not end the batch)
            LOG.error("batch %s, line %d: a bug, %s", job.batch_id, line.number, type(exc).__name__)
            bug = ("internal_error", "the router failed on this line")
            return Result(line.number, line.custom_id, job.request_id, None, b"", *bug)
        return judged(job, answer, random.random())  # noqa: S311  (spreads retries)

    def _write(self, queue: AwsQueue, job: Job, told: Result | Again) -> bool:
        """Tell whether it was still wanted."""
        if isinstance(told, Again):
            queue.later(job, self.now() + told.wait_s, told.reason, failed=told.failed)
            return True
        kept = queue.keep(job, told)
        if not kept:
            LOG.error("batch %s, line %d: it had a result", job.batch_id, job.line.number)
        return kept

    async def _take_over(self, queue: AwsQueue) -> None:
        """See to lines whose function died: their money is given back, and they are sent again."""
        for job in await asyncio.to_thread(queue.died):
            if not await self._give_back(queue, job):
                return

    async def _give_back(self, queue: AwsQueue, job: Job) -> bool:
        """Tell whether the ledger could be asked; else it is taken by nobody, and the next one
        tries once its lease is over.
        """
        try:
            back = await self.desk.give_up(job.request_id)
        except LedgerUnavailable:
            return False
        if back:
            await asyncio.to_thread(queue.later, job, self.now(), "the router ended")
        else:
            line = job.line
            lost = Result(line.number, line.custom_id, job.request_id, None, b"", *LOST)
            await asyncio.to_thread(queue.keep, job, lost)
        return True

    # -- batches -----------------------------------------------------------------------------------

    def _prepare(self, batch: Batch) -> None:
        """Prepare it, or end it once that was tried often enough: a function that dies of it says
        nothing, so that tries are counted before.
        """
        if self.store.batches.tried(batch) <= PREPARED:
            work.prepare(self.store, batch, self.now)
            return
        self.store.batches.change(batch.id, states.refused((UNPREPARED,), self.now()))
        self.store.queue.forget(batch.id)

    async def _ended(self, batch: Batch, step: Step) -> bool:
        """Take the last steps of a batch; False: lines of it are under way, so not yet."""
        if step == "finish" and batch.status == "in_progress":
            known = await self._known(batch)
            if not isinstance(known, tuple):
                return known is not None and await asyncio.to_thread(self._fail, batch, known)
        return await asyncio.to_thread(self._end, batch, step)

    def _end(self, batch: Batch, step: Step) -> bool:
        store, now = self.store, self.now
        if step == "cancel":
            return self._closed(batch, "cancelled", work.CANCELLED)
        if step == "expire":
            return self._closed(batch, "expired", work.EXPIRED)
        if batch.status == "finalizing" or store.queue.counts(batch.id).left == 0:
            done = store.batches.change(batch.id, states.finalizing(now()))
            if done is not None and done.status == "finalizing":
                work.finish(store, done, now, "completed")
        return True

    def _fail(self, batch: Batch, why: Mistake) -> bool:
        return self._closed(batch, "failed", (why.code, why.message), (why,))

    def _closed(
        self,
        batch: Batch,
        status: Status,
        left: tuple[str, str],
        mistakes: tuple[Mistake, ...] = (),
    ) -> bool:
        """End it, unless somebody still has lines: those are paid for, and nobody takes others."""
        if not self.store.queue.close(batch.id, *left):
            return False
        work.finish(self.store, batch, self.now, status, left, mistakes)
        return True


async def _first_of(
    running: Mapping[asyncio.Task[Result | Again | None], Job], most_s: float
) -> set[asyncio.Task[Result | Again | None]]:
    if not running:
        return set()
    wait = asyncio.wait(running, timeout=max(0.0, most_s), return_when=asyncio.FIRST_COMPLETED)
    return (await wait)[0]


def step_of(batch: Batch, now_s: float) -> Step | None:
    """Return what is to be done of a batch as a whole; None: nothing, it has ended."""
    if batch.status == "validating":
        return "expire" if now_s >= batch.expires_s else "prepare"
    if batch.status == "cancelling":
        return "cancel"
    if batch.status == "finalizing":
        return "finish"
    if batch.status != "in_progress":
        return None
    return "expire" if now_s >= batch.expires_s else "finish"

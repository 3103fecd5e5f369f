"""Sends the lines of batches from within a router, and ends the batches: one loop, in the one
process of all that have the store which leads.

It decides nothing by itself: when and whose lines is `schedule`, what an answer means `verdict`.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from router.batches import states, work
from router.batches.hands import Hands, done
from router.batches.port import (
    Batch,
    File,
    Job,
    Mistake,
    Result,
    Status,
    Store,
    StoreFull,
    StoreUnavailable,
)
from router.batches.room import Room
from router.batches.schedule import Pace, Work
from router.batches.verdict import LOST, MOST_COSTLY, Again, Answer, judged, retry_after_s
from router.identity import Key
from router.runtime import LOG

LOOK_EVERY_S: Final = 1.0  # at batches: their deadlines, what was cancelled, whose turn it is
SWEEP_EVERY_S: Final = 600.0
SWEEP: Final = "sweep"  # no batch's id
AGAIN_AFTER_S: Final = 5.0  # where the store can't be used
WEIGHT: Final = 0.2  # of the newest line, in how long one takes


class Desk(Protocol):
    """What the dispatcher asks of the router that it is in."""

    @property
    def draining(self) -> bool: ...

    def new_id(self) -> str:
        """Return the id of a request that is made now."""

    async def who(self, batch: Batch) -> Key | Mistake | None:
        """Return as whom its lines are sent; Mistake: nobody any more, and why; None: it can't be
        told now.
        """

    async def ask(self, key: Key, job: Job, path: str, body: bytes) -> Answer:
        """Answer the line as any request of that key."""

    async def give_up(self, request_id: str) -> bool:
        """Give back what was set aside for a request whose router died; False: it was charged.
        Raises LedgerUnavailable.
        """


class Leader(Store, Protocol):
    """A store whose lines a router sends by itself."""

    def leads(self) -> bool:
        """Tell whether it is this process that does."""


@dataclass(slots=True)
class _Under:
    """A batch that is under way here. `left`: without a result; `line_s`: what one takes."""

    batch: Batch
    source: File
    key: Key
    left: int
    running: set[asyncio.Task[None]] = field(default_factory=set)
    line_s: float | None = None

    def work(self) -> Work:
        """Return what may still be taken of it."""
        left = self.left - len(self.running)
        one = self.batch
        return Work(one.id, one.tenant, one.expires_s, left, self.line_s)


class Dispatcher:
    """`now` is the wall clock, `clock` monotonic. No call of the store is made on the event loop:
    one that holds the database for long would hold every request of the process.
    """

    def __init__(
        self,
        store: Leader,
        desk: Desk,
        pace: Pace,
        now: Callable[[], float],
        clock: Callable[[], float],
        hands: Hands,
    ) -> None:
        self._store, self._desk, self._pace = store, desk, pace
        self._now, self._clock, self._hands = now, clock, hands
        self._room = Room()
        self._under: dict[str, _Under] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}  # batches whose files are read or written
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._began = self._said = self._closing = False
        self._looked_s = self._swept_s = float("-inf")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Look now: there is something new."""
        self._looked_s = float("-inf")
        self._wake.set()

    async def aclose(self) -> None:
        """Take no more, and wait for what is under way; somebody else cuts it off in time."""
        self._closing = True
        self._wake.set()
        if self._loop is not None:
            await self._loop  # not cancelled: what a thread takes just now would be nobody's
        tasks = [*self._busy.values(), *(t for u in self._under.values() for t in u.running)]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._hands.do(self._store.close)
        self._hands.close()

    async def _run(self) -> None:
        while not self._closing:
            wait_s = LOOK_EVERY_S
            try:
                if self._store.leads() and not self._desk.draining:
                    await self._round()
                self._said = False
            except (StoreFull, StoreUnavailable) as exc:
                wait_s = self._failed(exc)
            except Exception as exc:  # noqa: BLE001  (a bug of ours must not end all batches)
                LOG.error("batches: a bug, %s", type(exc).__name__)
                wait_s = AGAIN_AFTER_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s)
            self._wake.clear()

    def _failed(self, exc: Exception) -> float:
        if not self._said:
            LOG.error("batches wait: %s", exc)
        self._said = True
        return AGAIN_AFTER_S

    async def _round(self) -> None:
        if not self._began:
            await self._take_over()
            self._began = True
        if self._clock() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = self._clock()
            await self._look()
        await self._send()
        if self._clock() - self._swept_s >= SWEEP_EVERY_S and SWEEP not in self._busy:
            self._swept_s = self._clock()
            self._begin(SWEEP, done(self._hands.ends, partial(self._store.sweep, self._now())))

    async def _take_over(self) -> None:
        """See to what was being sent as the process that led before died: its money is given back,
        and it is sent again.
        """
        queue = self._store.queue
        for job in await self._hands.do(queue.died):
            if await self._desk.give_up(job.request_id):
                back = partial(queue.later, job, self._now(), "the router ended")
                await self._hands.do(back)
            else:
                line = job.line
                lost = Result(line.number, line.custom_id, job.request_id, None, b"", *LOST)
                await self._hands.do(partial(queue.keep, job, lost))

    # -- batches -----------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Bring every batch one step on, where it is due."""
        seen = set[str]()
        busy = set(self._busy)  # what ends while the store is asked is seen as it was before
        for batch in await self._hands.do(self._store.batches.unfinished):
            seen.add(batch.id)
            if batch.id in busy or batch.id in self._busy:
                continue
            if batch.status == "validating":
                prepare = partial(work.prepare, self._store, batch, self._now)
                self._begin(batch.id, done(self._hands.checks, prepare))
            else:
                await self._step(batch)
        for gone in self._under.keys() - seen:
            del self._under[gone]
        self._room.forget({under.key.id for under in self._under.values()})

    async def _step(self, batch: Batch) -> None:
        under = self._under.get(batch.id)
        running = bool(under and under.running)
        if batch.status == "cancelling":
            self._end(batch, running, "cancelled", work.CANCELLED)
            return
        if batch.status == "finalizing":
            self._end(batch, running, "completed")
            return
        if self._now() >= batch.expires_s:
            self._end(batch, running, "expired", work.EXPIRED)
            return
        key = await self._desk.who(batch)
        source = await self._hands.do(partial(self._store.files.find, batch.input_file_id))
        if isinstance(key, Mistake) or source is None:
            why = key if isinstance(key, Mistake) else work.GONE
            self._end(batch, running, "failed", (why.code, why.message), (why,))
            return
        if key is None:
            if under is not None:
                under.left = 0  # until somebody knows
            return
        if under is None or (under.left <= 0 and not under.running):
            # Else it is known: counting reads every line. Nor while one is being kept.
            left = (await self._hands.do(partial(self._store.queue.counts, batch.id))).left
            if left == 0:
                await self._finalize(batch, running)
                return
            under = self._under.setdefault(batch.id, _Under(batch, source, key, left))
            under.left = left
        under.batch, under.source, under.key = batch, source, key

    async def _finalize(self, batch: Batch, running: bool) -> None:
        to = states.finalizing(self._now())
        now = await self._hands.do(partial(self._store.batches.change, batch.id, to))
        if now is not None and now.status == "finalizing":
            self._end(now, running, "completed")

    def _end(
        self,
        batch: Batch,
        running: bool,
        status: Status,
        left: tuple[str, str] | None = None,
        mistakes: tuple[Mistake, ...] = (),
    ) -> None:
        """End it, once nothing of it is under way."""
        if (under := self._under.get(batch.id)) is not None:
            under.left = 0  # no more of it is taken
        if not running:
            finish = partial(work.finish, self._store, batch, self._now, status, left, mistakes)
            self._begin(batch.id, done(self._hands.ends, finish))

    def _begin(self, batch_id: str, doing: Awaitable[object]) -> None:
        async def over() -> None:
            try:
                await doing
            except (StoreFull, StoreUnavailable) as exc:
                self._failed(exc)
                await asyncio.sleep(AGAIN_AFTER_S)
            except Exception as exc:  # noqa: BLE001  (as in _run)
                LOG.error("batch %s: a bug, %s", batch_id, type(exc).__name__)
                await asyncio.sleep(AGAIN_AFTER_S)
            finally:
                self._busy.pop(batch_id, None)
                self.wake()

        self._busy[batch_id] = asyncio.get_running_loop().create_task(over())

    # -- lines -------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Begin as many lines as may be under way now."""
        spent = set[str]()  # batches whose other lines wait
        while not self._closing and not self._desk.draining:
            running = Counter[str]()
            for under in self._under.values():
                running[under.batch.tenant] += len(under.running)
            works = [
                under.work()
                for name, under in self._under.items()
                if name not in spent and self._free(under) != 0
            ]
            given = self._pace.shares(works, running, self._now())
            if not given:
                return
            for batch_id, most in given.items():
                under = self._under[batch_id]
                free = self._free(under)
                room = most if free is None else min(most, free)
                ask = (batch_id, room, self._now(), self._desk.new_id)
                taken = await self._hands.do(partial(self._store.queue.take, *ask)) if room else ()
                if len(taken) < most:
                    spent.add(batch_id)
                self._room.began(under.key, len(taken))
                for job in taken:
                    self._begin_line(under, job)

    def _free(self, under: _Under) -> int | None:
        """Return how many more lines its key may have under way; None: any."""
        mine = [one for one in self._under.values() if one.key.id == under.key.id]
        return self._room.free(under.key, sum(len(one.running) for one in mine), self._clock())

    def _begin_line(self, under: _Under, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._line(under, job))
        under.running.add(task)

        def over(task: asyncio.Task[None]) -> None:
            under.running.discard(task)
            self._wake.set()

        task.add_done_callback(over)

    async def _line(self, under: _Under, job: Job) -> None:
        began_s = self._clock()
        told = await self._told(under, job)
        while (wrote := await self._wrote(job, told)) is None:  # what was paid for is kept
            if self._closing:
                return
            await asyncio.sleep(AGAIN_AFTER_S)
        if isinstance(wrote, Again):
            return
        under.left -= 1
        if under.left <= 0:
            self._looked_s = float("-inf")
        took_s, before = self._clock() - began_s, under.line_s
        under.line_s = took_s if before is None else before + WEIGHT * (took_s - before)

    async def _told(self, under: _Under, job: Job) -> Result | Again:
        try:
            body = await self._hands.do(partial(work.line_body, self._store, under.source, job))
            answer = await self._desk.ask(under.key, job, under.batch.endpoint, body)
        except (StoreFull, StoreUnavailable) as exc:
            return Again(self._failed(exc), "the input file could not be read")
        except Exception as exc:  # noqa: BLE001  (as in _run)
            _log_bug(job, exc)
            return _failed_here(job)
        asked_s = retry_after_s(answer.headers)
        self._room.told(under.key, answer.status, asked_s, self._clock())
        return judged(job, answer, random.random())  # noqa: S311  (spreads retries)

    async def _wrote(self, job: Job, told: Result | Again) -> Result | Again | None:
        """Return what was written down; None: the store can't be used now."""
        try:
            await self._hands.do(partial(self._write, job, told))
        except (StoreFull, StoreUnavailable) as exc:
            self._failed(exc)
            return None
        except Exception as exc:  # noqa: BLE001  (as in _run; else it were taken until the deadline)
            _log_bug(job, exc)
            given = _failed_here(job) if job.failures + 1 >= MOST_COSTLY else _AFTER_A_BUG
            return None if told in (given, _AFTER_A_BUG) else await self._wrote(job, given)
        return told

    def _write(self, job: Job, told: Result | Again) -> None:
        queue = self._store.queue
        if isinstance(told, Again):
            queue.later(job, self._now() + told.wait_s, told.reason, failed=told.failed)
        else:
            queue.keep(job, told)


_AFTER_A_BUG: Final = Again(AGAIN_AFTER_S, "the router failed on this line", failed=True)


def _log_bug(job: Job, exc: Exception) -> None:
    LOG.error("batch %s, line %d: a bug, %s", job.batch_id, job.line.number, type(exc).__name__)


def _failed_here(job: Job) -> Result:
    bug = ("internal_error", "the router failed on this line")
    return Result(job.line.number, job.line.custom_id, job.request_id, None, b"", *bug)

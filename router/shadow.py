"""Shadow judging: a share of what small models answered is asked again of the baseline model, and
a judge compares the two answers. What it finds becomes a label; no text is kept.

It happens after the caller has its answer, by few workers, and in the router's own name, which the
budget of `shadow` pays for: both calls are set aside in the ledger before the first one is sent.
What stands in its way ends it, is counted in `sluice_shadow_total`, and is no label.
"""

import asyncio
import secrets
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from backends.load import Load
from router.answer import Heard
from router.decide import Decision
from router.entries import Spent
from router.exchange import Exchange
from router.flow import Served
from router.judging import Verdict, read_verdict
from router.labels import Judged, Labels
from router.ledger.port import LedgerUnavailable
from router.record import keep_policy
from router.request_id import CHANCE_BYTES
from router.request_id import request_id as new_request_id
from router.runtime import LOG, Generation, Runtime
from router.sampling import ANSWER_BYTES, can_be_judged, drawn, fits, is_small
from router.shadow_plan import LeftOut, Planned, Sample, plan_judge, plan_strong
from router.treasury import Held, Treasury
from router.wire import ChatRequest

WORKERS: Final = 2
WAITING: Final = 64  # samples; each is at most REQUEST_BYTES and ANSWER_BYTES


class Shadow:
    """The queue and its workers. `now` is the wall clock, in seconds since 1970."""

    def __init__(
        self,
        runtime: Runtime,
        state: Path,
        treasury: Treasury,
        labels: Labels,
        now: Callable[[], float],
    ) -> None:
        self._runtime = runtime
        self._state = state
        self._treasury = treasury
        self._labels = labels
        self._now = now
        self._queue: asyncio.Queue[tuple[Sample, Generation]] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._keeping = asyncio.Lock()

    # -- on the request's path ---------------------------------------------------------------------

    def listen(
        self, generation: Generation, request: ChatRequest, decision: Decision, request_id: str
    ) -> Heard | None:
        """Return what is to hear the answer if this request is drawn, before it is sent."""
        asked = generation.world.policy.shadow
        if asked is None or drawn(request_id, "share") >= asked.share:
            return None
        if not can_be_judged(request, decision):
            return None
        if not fits(request, decision):
            self._count("too_long")
            return None
        return Heard(ANSWER_BYTES)

    def offer(self, exchange: Exchange, *, delivered: bool) -> None:
        """Take the answer that was heard, now that the caller has it, if it has."""
        if exchange.heard is None:
            return
        try:
            self._queue.put_nowait((_sample(exchange, delivered=delivered), exchange.generation))
        except LeftOut as left:
            self._count(left.outcome)
        except asyncio.QueueFull:
            self._count("queue_full")

    # -- beside it ---------------------------------------------------------------------------------

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work()) for _ in range(WORKERS)]

    async def aclose(self) -> None:
        """End what is under way; what waits is dropped."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        with suppress(asyncio.QueueEmpty):
            while True:
                self._queue.get_nowait()
                self._count("stopped")
        self._labels.close()

    async def _work(self) -> None:
        while True:
            sample, generation = await self._queue.get()
            outcome = "bug"
            try:
                outcome = await self._judged(sample, generation)
            except LeftOut as left:
                outcome = left.outcome
            except asyncio.CancelledError:
                outcome = "stopped"
                raise
            except Exception as exc:  # noqa: BLE001  (a bug of ours must not end the worker)
                # Its place and type, not its message: that may quote the request.
                where = "".join(traceback.format_tb(exc.__traceback__))
                LOG.error("shadow judging: a bug, %s at\n%s", type(exc).__name__, where)
            finally:
                self._count(outcome)

    async def _judged(self, sample: Sample, generation: Generation) -> str:
        """Ask again, have both answers judged, keep the label; return the outcome."""
        strong = plan_strong(sample, *self._moment(generation))
        judge = plan_judge(sample, None, *self._moment(generation))
        unsent: list[tuple[Planned, Held]] = []
        try:
            await self._set_aside((strong, judge), unsent)
            answer = await self._answer(*unsent.pop(0), generation)
            judge = plan_judge(sample, answer, *self._moment(generation))
            (_, held) = unsent.pop(0)
            said = await self._answer(judge, held, generation)
        finally:
            for planned, held in unsent:
                self._settle(planned, held, (), b"")
        verdict = read_verdict(said, sample.request_id)
        if verdict is None:
            raise LeftOut("unreadable")
        return await self._keep(sample, verdict)

    def _moment(self, generation: Generation) -> tuple[tuple[Load, ...], str]:
        """Return the loads and the time at this moment. Raises LeftOut after a reload: what the
        sample was decided by is replaced, and its connections are closed before long.
        """
        now = self._runtime.generation
        if generation is not now and generation is not now.canary:
            raise LeftOut("reloaded")
        return generation.tracker.loads(self._runtime.clock()), self._at()

    async def _answer(self, planned: Planned, held: Held, generation: Generation) -> str:
        """Make the call, settle it, and return the text of its whole answer."""
        heard = Heard(ANSWER_BYTES)
        exchange = Exchange(
            self._runtime,
            replace(generation, world=planned.world),
            planned.request,
            planned.decision,
            held.reserved.id,
            heard,
            partial(self._settle, planned, held),
        )
        exchange.reservation, exchange.meter.most_nano = held.json(), held.most_nano
        outcome = await exchange.plain()
        if not isinstance(outcome, Served):
            raise LeftOut(f"{planned.role}_failed")
        text = heard.text()
        if text is None:
            raise LeftOut("too_long" if heard.too_long else f"{planned.role}_not_whole")
        return text

    # -- money and labels --------------------------------------------------------------------------

    async def _set_aside(self, calls: Sequence[Planned], held: list[tuple[Planned, Held]]) -> None:
        """Add what is set aside for each call, made one after the other. Raises LeftOut."""
        lasts_s = 0.0
        for planned in calls:
            lasts_s += planned.decision.plan.limits.deadline_ms / 1000
            name = new_request_id(self._now(), secrets.token_hex(CHANCE_BYTES))
            with _store_failures():
                keep_policy(self._state, planned.world.policy)  # receipts are recomputed with it
                mine = await self._treasury.hold(
                    name, planned.world, planned.decision, planned.worst_nano, lasts_s
                )
            if mine is None:
                raise LeftOut("budget_spent")
            held.append((planned, mine))

    def _settle(self, planned: Planned, held: Held, spent: Sequence[Spent], line: bytes) -> None:
        """Charge what a call used; nothing, if it was never sent."""
        finished = held.reserved.id, planned.world, planned.decision
        self._treasury.settle(held, finished, spent, line)

    async def _keep(self, sample: Sample, verdict: Verdict) -> str:
        label = _label(sample, verdict, self._at())
        with _store_failures():
            async with self._keeping:
                kept = await asyncio.to_thread(self._labels.add_judged, label)
        return "label" if kept else "known"

    def _at(self) -> str:
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        return f"{at[:-6]}Z"

    def _count(self, outcome: str) -> None:
        self._runtime.metrics.shadow.labels(outcome).inc()


def _sample(exchange: Exchange, *, delivered: bool) -> Sample:
    """Return what is to be judged. Raises LeftOut if it is no whole answer of a small model."""
    heard, served = exchange.heard, exchange.served
    world, decision = exchange.generation.world, exchange.decision
    rule, asked = decision.verdict.rule, world.policy.shadow
    assert heard is not None
    assert rule is not None
    assert asked is not None
    if not delivered or exchange.outcome != "ok" or served is None:
        raise LeftOut("not_answered")
    if not is_small(served):
        raise LeftOut("not_small")
    text = heard.text()
    if text is None:
        raise LeftOut("too_long" if heard.too_long else "not_whole")
    return Sample(
        exchange.request_id,
        world,
        asked,
        exchange.request,
        decision.facts,
        rule,
        served.candidate.model,
        served.candidate.fleet,
        text,
    )


def _label(sample: Sample, verdict: Verdict, at: str) -> Judged:
    facts = sample.facts
    return Judged(
        sample.request_id,
        at,
        verdict.small.acceptable,
        verdict.small.score,
        verdict.strong.acceptable,
        verdict.strong.score,
        facts.task,
        float(facts.complexity),
        facts.tier,
        facts.language,
        facts.tokens_in,
        float(facts.p_small),
        sample.model,
        sample.fleet,
        sample.world.policy.baseline[0],
        sample.shadow.judge,
    )


@contextmanager
def _store_failures() -> Iterator[None]:
    """Leave the sample out where ledger or state folder can't be read or written."""
    try:
        yield
    except (LedgerUnavailable, sqlite3.Error, OSError):
        raise LeftOut("store_failed") from None

"""Shadow judging: a share of what small models answered is asked again of the baseline model, and
a judge compares the two answers. What it finds becomes a label; no text is kept.

It happens after the caller has its answer, by few workers, in the policy's own name and paid from
the budget of `shadow`: the worst case of both calls is set aside before the first one. What stands
in its way ends it, is counted in `sluice_shadow_total`, and is no label.
"""

import asyncio
import secrets
import sqlite3
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backends.cost import NANO
from backends.load import Load
from policies.model import Shadow as Asked
from router.answer import Heard
from router.decide import Decision
from router.exchange import Exchange
from router.flow import Served
from router.judging import Verdict, read_verdict
from router.labels import Judged, Labels
from router.purse import Purse, Reservation
from router.record import keep_policy
from router.request_id import CHANCE_BYTES
from router.request_id import request_id as new_request_id
from router.runtime import LOG, Generation, Runtime
from router.sampling import ANSWER_BYTES, can_be_judged, drawn, fits, is_small
from router.shadow_plan import LeftOut, Planned, Sample, plan_judge, plan_strong
from router.wire import ChatRequest

WORKERS: Final = 2
WAITING: Final = 64  # samples; each is at most REQUEST_BYTES and ANSWER_BYTES

Paid = list[tuple[Exchange, int]]
"""The calls that were made, each with the most that was set aside for it."""


class Shadow:
    """The queue and its workers. `now` is the wall clock, in seconds since 1970."""

    def __init__(
        self,
        runtime: Runtime,
        state: Path,
        purse: Purse,
        labels: Labels,
        now: Callable[[], float],
    ) -> None:
        self._runtime = runtime
        self._state = state
        self._purse = purse
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
        self._purse.close()
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
        held = await self._reserve(sample.shadow, strong.worst_nano + judge.worst_nano)
        paid: Paid = []
        try:
            answer = await self._answer(strong, generation, held, paid)
            judge = plan_judge(sample, answer, *self._moment(generation))
            said = await self._answer(judge, generation, held, paid)
        finally:
            await self._settle(held, sum(_spent(*each) for each in paid))
        verdict = read_verdict(said, sample.request_id)
        if verdict is None:
            raise LeftOut("unreadable")
        return await self._keep(sample, verdict)

    def _moment(self, generation: Generation) -> tuple[tuple[Load, ...], str]:
        """Return the loads and the time at this moment. Raises LeftOut after a reload: what the
        sample was decided by is replaced, and its connections are closed before long.
        """
        if generation is not self._runtime.generation:
            raise LeftOut("reloaded")
        return generation.tracker.loads(self._runtime.clock()), self._at()

    async def _answer(
        self, planned: Planned, generation: Generation, held: Reservation, paid: Paid
    ) -> str:
        """Make the call and return the text of its whole answer."""
        with _store_failures():
            keep_policy(self._state, planned.world.policy)  # so that its receipt can be recomputed
        name = new_request_id(self._now(), secrets.token_hex(CHANCE_BYTES))
        heard = Heard(ANSWER_BYTES)
        exchange = Exchange(
            self._runtime,
            replace(generation, world=planned.world),
            planned.request,
            planned.decision,
            name,
            heard,
        )
        usd = held.nano / NANO
        exchange.reservation = {"budget": held.budget, "period": held.period, "usd": usd}
        paid.append((exchange, planned.worst_nano))
        outcome = await exchange.plain()
        if not isinstance(outcome, Served):
            raise LeftOut(f"{planned.role}_failed")
        text = heard.text()
        if text is None:
            raise LeftOut("too_long" if heard.too_long else f"{planned.role}_not_whole")
        return text

    # -- money and labels --------------------------------------------------------------------------

    async def _reserve(self, asked: Asked, nano: int) -> Reservation:
        with _store_failures():
            held = await asyncio.to_thread(self._purse.reserve, asked.budget, self._now(), nano)
        if held is None:
            raise LeftOut("budget_spent")
        return held

    async def _settle(self, held: Reservation, nano: int) -> None:
        """Pay what was used. What can't be settled stays spent."""
        try:
            await asyncio.to_thread(self._purse.settle, held, nano)
        except sqlite3.Error as exc:
            said = "shadow judging: a reservation of budget %s could not be settled: %s"
            LOG.error(said, held.budget, type(exc).__name__)

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
    """Leave the sample out where the state folder can't be read or written."""
    try:
        yield
    except (sqlite3.Error, OSError):
        raise LeftOut("store_failed") from None


def _spent(exchange: Exchange, worst_nano: int) -> int:
    """Return what a call used; of a use that nobody knows, all that was set aside for it."""
    if exchange.meter.unknown:
        return worst_nano
    return sum(charge.nano for charge in exchange.meter.charges)

"""The life of one decided request: its attempts, its answer on the way out, and its receipt.

An answer that is to be tested is held to its end, plain or stream, before any of it goes out.
However it ends - answered, failed, broken off by the fleet or by the caller - it is finished once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

import orjson

from backends.base import (
    AtLimit,
    Backend,
    BackendError,
    Broken,
    Call,
    CircuitOpen,
    Reply,
    TimedOut,
)
from backends.sse import is_whole, usage_in
from policies.acceptance import reads_logprobs
from router import wire
from router.accept import HELD, failed_test
from router.affinity import prefix_of
from router.answer import Choice, Heard, choices_of_reply, choices_of_stream, without_logprobs
from router.beside_decision import decided_beside
from router.charge import usd_text
from router.decide import Attempt, Decision
from router.drive import Hands, Opened, drive, open_stream
from router.entries import Spent
from router.flow import Failed, NotAccepted, PassedOver, Pause, Served, Try
from router.gate import Gate
from router.meter import Live, Meter
from router.place import Place
from router.receipt import Json, Outcome, receipt
from router.runtime import Generation, Runtime

Answer = TypeVar("Answer")
Settle = Callable[[Sequence[Spent], bytes], None]
"""What is told of the attempts that were made, and of the receipt, once it is written."""


class _Got(NamedTuple, Generic[Answer]):
    """An answer, and the attempt that gave it and still runs."""

    live: Live
    answer: Answer


WHOLE_BYTES = 4 << 20  # of a stream that is held: 4,096 tokens with log probabilities are 1.6 MB


class Exchange:
    """One request from its decision to its receipt.

    `heard` hears the answer as it goes out. Afterwards `outcome` is the receipt's, and `served`
    the attempt whose answer it was. `reservation` is what was set aside for it. `place` is let go
    when the first attempt begins, or can't.
    """

    def __init__(
        self,
        runtime: Runtime,
        generation: Generation,
        request: wire.ChatRequest,
        decision: Decision,
        request_id: str,
        heard: Heard | None = None,
        settle: Settle | None = None,
        place: Place | None = None,
    ) -> None:
        self.runtime = runtime
        self.generation = generation
        self.request = request
        self.decision = decision
        self.request_id = request_id
        self.heard = heard
        self._settle = settle
        self._place = place or Place(generation.tracker)
        self.served: Attempt | None = None
        self.outcome: str | None = None
        self.reservation: Json = {}
        self.headers: list[tuple[bytes, bytes]] = []  # of the answer, beside those of the decision
        self.meter = Meter(runtime, generation, decision)
        self._live: Live | None = None  # of the answer that goes out
        limits = decision.plan.limits
        self._ends_s = runtime.clock() + limits.deadline_ms / 1000
        self._edits: list[str] = []

    def left_s(self) -> float:
        """Return the seconds until the deadline, which is one for all attempts and the stream."""
        return max(0.0, self._ends_s - self.runtime.clock())

    async def plain(self) -> Served[Reply] | Failed:
        """Get a whole answer; afterwards the receipt is written."""
        outcome = await self._driven(self._send)
        if isinstance(outcome, Served):
            answer = outcome.answer.json
            live = self._served()
            live.usage = usage_in(answer)
            self.meter.answered(live)
            if self.heard is not None:
                self.heard.reply(answer)
        self.finish("failed" if isinstance(outcome, Failed) else "ok")
        return outcome

    async def open(self) -> Served[Opened] | Failed:
        """Get a stream whose first content token is there; `relay` goes on from it."""
        outcome = await self._driven(self._open)
        if isinstance(outcome, Failed):
            self.finish("failed")
        return outcome

    async def _driven(
        self, send: Callable[[Try], Awaitable[_Got[Answer] | NotAccepted]]
    ) -> Served[Answer] | Failed:
        """Make the attempts; afterwards the one that was answered is known."""
        hands: Hands[_Got[Answer]] = Hands(send, self._rest, self._pass_over, self._lose)
        # What no hard budget counts may be charged more than was set aside for it.
        binds = self.meter.most_nano is not None or self.decision.facts.max_usd is not None
        plan, clock = self.decision.plan, self.runtime.clock
        try:
            outcome = await drive(plan, hands, clock, money_binds=binds)
        except BaseException as exc:
            self._broken_off(exc)
            raise
        if isinstance(outcome, Failed):
            return outcome
        self.served, (self._live, answer) = outcome.attempt, outcome.answer
        return Served(outcome.attempt, answer, outcome.took_ms, outcome.failures)

    def relay(self, opened: Opened) -> AsyncGenerator[bytes, None]:
        """Yield the bytes to be sent on, to the stream's end, good or bad."""
        return self._flowing(opened) if opened.whole is None else self._at_once(opened.whole)

    async def _at_once(self, whole: bytes) -> AsyncGenerator[bytes, None]:
        """Yield what was held; its attempt is over."""
        try:
            yield whole
            self.finish("ok")
        except BaseException as exc:
            self._broken_off(exc)
            raise

    async def _flowing(self, opened: Opened) -> AsyncGenerator[bytes, None]:
        live = self._served()
        try:
            async with contextlib.aclosing(self._pieces(opened, live, self._ends_s)) as pieces:
                async for piece in pieces:
                    sent_s = self.runtime.clock()
                    yield piece
                    live.writing_s += self.runtime.clock() - sent_s
                    if self.heard is not None:
                        self.heard.piece(piece)
            self.meter.answered(live)
            self.finish("ok")
            await opened.stream.end()  # so that the connection may be used again
        except BackendError as exc:
            self.meter.failed(live, exc)
            self.finish("broken")
            yield broken_event(f"the fleet broke off: {exc.detail}")
        except BaseException as exc:
            self._broken_off(exc)
            raise
        finally:
            await opened.stream.aclose()

    def finish(self, outcome: str) -> None:
        """Write the receipt, once."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        rule, attempts = self.decision.verdict.rule, self.meter.attempts
        fleet = attempts[-1]["fleet"] if attempts else ""
        self.runtime.metrics.requests.labels(outcome, rule.id if rule else "", fleet).inc()
        world = self.generation.world
        beside = decided_beside(world, self.decision, self.runtime.metrics)
        came = Outcome(self._edits, attempts, self.reservation, self.meter.charge(), beside)
        line = receipt(self.request_id, world, self.decision, came)
        self.runtime.record(self.decision.facts.at, line)
        if self._settle is not None:
            self._settle(self.meter.spent, line)

    async def _pieces(
        self, opened: Opened, live: Live, ends_s: float
    ) -> AsyncGenerator[bytes, None]:
        inter_chunk_s = self.decision.plan.limits.inter_chunk_timeout_ms / 1000
        gate = Gate(
            usage_asked=self.request.usage_asked,
            n=self.request.n,
            max_tokens=live.attempt.max_tokens,
        )
        events = opened.events
        while True:
            out = gate.pass_on(events)
            live.usage, live.events = gate.usage, gate.events
            if gate.end is not None:
                yield out + self._cost_comment(live) + gate.end
                return
            if out:
                yield out
            if gate.error is not None:
                raise gate.error
            left_s = min(inter_chunk_s, ends_s - self.runtime.clock())
            if left_s <= 0:
                raise TimedOut("the time for this answer has passed")
            chunk = await opened.stream.read(left_s)
            if chunk:
                events = opened.scanner.feed(chunk)
            elif (rest := opened.scanner.rest()) and is_whole(rest):
                events = [rest + b"\n\n"]  # what follows may be an event of ours
            elif gate.finish_seen:
                return  # some servers leave [DONE] out
            else:
                raise Broken("closed in the middle of the answer", received=True)

    async def _send(self, step: Try) -> _Got[Reply] | NotAccepted:
        backend, call, live = self._begin(step)
        try:
            reply = await backend.send(call)
        except BackendError as exc:
            self.meter.failed(live, exc)
            raise
        if not step.attempt.accept_if:
            return _Got(live, reply)
        usage = live.usage = usage_in(reply.json)
        refused = self._refused(live, choices_of_reply(reply.json, usage))
        return refused or _Got(live, replace(reply, body=self._as_asked(reply.body)))

    async def _open(self, step: Try) -> _Got[Opened] | NotAccepted:
        backend, call, live = self._begin(step)
        try:
            opened = await open_stream(backend, call, self.runtime.clock)
            if opened.spoke:
                live.ttft_s = self.runtime.clock() - live.began_s
            if step.attempt.accept_if:
                return await self._held(step, opened, live) or _Got(live, opened)
        except BackendError as exc:
            self.meter.failed(live, exc)
            raise
        return _Got(live, opened)

    async def _rest(self, pause: Pause) -> bool:
        """Wait before a fleet is tried again; False at once, if it is not to be. A breaker wins
        over a retry: a fleet that is left alone when the pause ends is not tried again.
        """
        runtime, fleet = self.runtime, pause.attempt.candidate.fleet
        wait_s = (pause.at_least_ms + runtime.chance() * pause.jitter_ms) / 1000
        ends_s = runtime.clock() + wait_s
        outcome = "made"
        if self.generation.tracker.is_open(fleet, ends_s):
            outcome = "circuit_open"
        elif not runtime.retries.take(fleet):
            outcome = "over_budget"
        runtime.metrics.retries.labels(fleet, outcome).inc()
        if outcome != "made":
            return False
        while (left_s := ends_s - runtime.clock()) > 0:  # noqa: ASYNC110  (a timer may be early)
            await asyncio.sleep(left_s)
        return True

    async def _lose(self, attempt: Attempt, got: tuple[Live, object] | None, beaten: bool) -> None:
        if got is not None and isinstance(got[1], Opened):
            await got[1].stream.aclose()
        if beaten:
            self.meter.beaten(attempt)

    def _pass_over(self, step: PassedOver) -> None:
        self.meter.passed_over(step.attempt, step.why.detail)

    async def _held(self, step: Try, opened: Opened, live: Live) -> NotAccepted | None:
        """Hold a stream to its end, within the attempt's time, and test it."""
        ends_s = min(self._ends_s, live.began_s + step.timeout_ms / 1000)
        held: list[bytes] = []
        held_bytes = 0
        try:
            async with contextlib.aclosing(self._pieces(opened, live, ends_s)) as pieces:
                async for piece in pieces:
                    held.append(piece)
                    held_bytes += len(piece)
                    if held_bytes > WHOLE_BYTES:
                        self.meter.not_accepted(live, HELD)
                        return NotAccepted(HELD)
            whole = b"".join(held)
            refused = self._refused(live, choices_of_stream(whole, live.usage))
            await opened.stream.end()  # so that the connection may be used again
        finally:
            await opened.stream.aclose()
        if refused is None:
            opened.whole = self._as_asked(whole)
            self.meter.answered(live)
        return refused

    def _refused(self, live: Live, choices: Sequence[Choice]) -> NotAccepted | None:
        """Test a whole answer; if it is not kept, its attempt is over."""
        test = failed_test(live.attempt.accept_if, choices, self.request.body)
        if test is None:
            return None
        self.meter.not_accepted(live, test)
        return NotAccepted(test)

    def _as_asked(self, answer: bytes) -> bytes:
        return without_logprobs(answer) if "logprobs" in self._edits else answer

    def _begin(self, step: Try) -> tuple[Backend, Call, Live]:
        fleet = step.attempt.candidate.on.fleet
        held = self._place.fleet == fleet.id
        try:
            self._may_begin(fleet.id, held=held)
            live = self.meter.begin(step.attempt, held=held)
        except BackendError:
            self._place.let_go()
            raise
        if held:
            self._place.sent()
        self._place.let_go()
        rule = self.decision.verdict.rule
        thinking = rule.settings.thinking if rule else None
        tests = step.attempt.accept_if
        logprobs = reads_logprobs(tests)
        edit = wire.Edit(self.request, fleet, step.attempt.max_tokens, thinking, logprobs)
        body, self._edits = wire.upstream_body(edit)
        if not step.again:
            self.runtime.retries.tried(fleet.id)
        timeout_ms = step.timeout_ms
        if tests and self.request.stream:  # its first token is not given the whole answer's time
            timeout_ms = min(timeout_ms, self.decision.plan.limits.ttft_timeout_ms)
        prefix = prefix_of(self.request.body) if len(fleet.urls) > 1 else b""
        call = Call(body, timeout_s=timeout_ms / 1000, prefix=prefix)
        return self.generation.backends[fleet.id], call, live

    def _may_begin(self, fleet_id: str, *, held: bool) -> None:
        tracker, now_s = self.generation.tracker, self.runtime.clock()
        if tracker.is_open(fleet_id, now_s, held=held):
            raise CircuitOpen("it failed since this request was planned")
        if not held and tracker.is_full(fleet_id, now_s):
            raise AtLimit("it was filled since this request was planned")

    def _served(self) -> Live:
        assert self._live is not None
        return self._live

    def _broken_off(self, exc: BaseException) -> None:
        hung_up = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        left = "shutdown" if self.runtime.ending else "client_closed"
        outcome = left if hung_up else "bug"
        self.meter.close_all(outcome)
        self.finish(outcome)

    def _cost_comment(self, live: Live) -> bytes:
        nano = self.meter.nano_so_far(live)
        return b"" if nano is None else b": x-sluice-cost-usd " + usd_text(nano) + b"\n\n"


def broken_event(message: str) -> bytes:
    """Return the event that ends a stream in which content had been sent."""
    error = {"message": message, "type": "upstream_error", "code": "stream_broken"}
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

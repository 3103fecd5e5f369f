"""The life of one decided request: its attempts, its answer on the way out, and its receipt.

An answer that is to be tested is held to its end, plain or stream, before any of it goes out.
However it ends - answered, failed, broken off by the fleet or by the caller - it is finished once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import orjson

from backends.base import Backend, BackendError, Broken, Call, CircuitOpen, Reply, TimedOut
from backends.sse import is_whole, usage_in
from policies.acceptance import reads_logprobs
from router import wire
from router.accept import HELD, failed_test
from router.affinity import prefix_of
from router.answer import Choice, Heard, choices_of_reply, choices_of_stream, without_logprobs
from router.charge import usd_text
from router.decide import Attempt, Decision
from router.drive import Opened, drive, open_stream
from router.entries import Spent
from router.flow import Failed, NotAccepted, Served, Try
from router.gate import Gate
from router.meter import Live, Meter
from router.receipt import Json, Outcome, receipt
from router.runtime import Generation, Runtime

Settle = Callable[[Sequence[Spent], bytes], None]
"""What is told of the attempts that were made, and of the receipt, once it is written."""

WHOLE_BYTES = 4 << 20  # of a stream that is held: 4,096 tokens with log probabilities are 1.6 MB


class Exchange:
    """One request from its decision to its receipt.

    `heard` hears the answer as it goes out. Afterwards `outcome` is the receipt's, and `served`
    the attempt whose answer it was. `reservation` is what was set aside for it.
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
    ) -> None:
        self.runtime = runtime
        self.generation = generation
        self.request = request
        self.decision = decision
        self.request_id = request_id
        self.heard = heard
        self._settle = settle
        self.served: Attempt | None = None
        self.outcome: str | None = None
        self.reservation: Json = {}
        self.headers: list[tuple[bytes, bytes]] = []  # of the answer, beside those of the decision
        self.meter = Meter(runtime, generation, decision)
        limits = decision.plan.limits
        self._ends_s = runtime.clock() + limits.deadline_ms / 1000
        self._edits: list[str] = []

    def left_s(self) -> float:
        """Return the seconds until the deadline, which is one for all attempts and the stream."""
        return max(0.0, self._ends_s - self.runtime.clock())

    async def plain(self) -> Served[Reply] | Failed:
        """Get a whole answer; afterwards the receipt is written."""
        try:
            outcome = await drive(self.decision.plan, self._send, self.runtime.clock)
        except BaseException as exc:
            self._broken_off(exc)
            raise
        if isinstance(outcome, Served):
            self._live().usage = usage_in(outcome.answer.json)
            self.meter.answered()
            self.served = outcome.attempt
            if self.heard is not None:
                self.heard.reply(outcome.answer.json)
        self.finish("failed" if isinstance(outcome, Failed) else "ok")
        return outcome

    async def open(self) -> Served[Opened] | Failed:
        """Get a stream whose first content token is there; `relay` goes on from it."""
        try:
            outcome = await drive(self.decision.plan, self._open, self.runtime.clock)
        except BaseException as exc:
            self._broken_off(exc)
            raise
        if isinstance(outcome, Failed):
            self.finish("failed")
        else:
            self.served = outcome.attempt
        return outcome

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
        live = self._live()
        try:
            async with contextlib.aclosing(self._pieces(opened, live, self._ends_s)) as pieces:
                async for piece in pieces:
                    sent_s = self.runtime.clock()
                    yield piece
                    live.writing_s += self.runtime.clock() - sent_s
                    if self.heard is not None:
                        self.heard.piece(piece)
            self.meter.answered()
            self.finish("ok")
            await opened.stream.end()  # so that the connection may be used again
        except BackendError as exc:
            self.meter.failed(exc)
            self.finish("broken")
            yield _broken_event(exc)
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
        came = Outcome(self._edits, attempts, self.reservation, self.meter.charge())
        line = receipt(self.request_id, self.generation.world, self.decision, came)
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
                yield out + self._cost_comment() + gate.end
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

    async def _send(self, step: Try) -> Reply | NotAccepted:
        backend, call = self._begin(step)
        try:
            reply = await backend.send(call)
        except BackendError as exc:
            self.meter.failed(exc)
            raise
        if not step.attempt.accept_if:
            return reply
        usage = self._live().usage = usage_in(reply.json)
        refused = self._refused(step, choices_of_reply(reply.json, usage))
        return refused or replace(reply, body=self._as_asked(reply.body))

    async def _open(self, step: Try) -> Opened | NotAccepted:
        backend, call = self._begin(step)
        try:
            opened = await open_stream(backend, call, self.runtime.clock)
            live = self._live()
            if opened.spoke:
                live.ttft_s = self.runtime.clock() - live.began_s
            return await self._held(step, opened, live) if step.attempt.accept_if else opened
        except BackendError as exc:
            self.meter.failed(exc)
            raise

    async def _held(self, step: Try, opened: Opened, live: Live) -> Opened | NotAccepted:
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
                        self.meter.not_accepted(HELD)
                        return NotAccepted(HELD)
            whole = b"".join(held)
            refused = self._refused(step, choices_of_stream(whole, live.usage))
            await opened.stream.end()  # so that the connection may be used again
        finally:
            await opened.stream.aclose()
        if refused is None:
            opened.whole = self._as_asked(whole)
            self.meter.answered()
        return refused or opened

    def _refused(self, step: Try, choices: Sequence[Choice]) -> NotAccepted | None:
        """Test a whole answer; if it is not kept, its attempt is over."""
        test = failed_test(step.attempt.accept_if, choices, self.request.body)
        if test is None:
            return None
        self.meter.not_accepted(test)
        return NotAccepted(test)

    def _as_asked(self, answer: bytes) -> bytes:
        return without_logprobs(answer) if "logprobs" in self._edits else answer

    def _begin(self, step: Try) -> tuple[Backend, Call]:
        fleet = step.attempt.candidate.on.fleet
        if self.generation.tracker.is_open(fleet.id, self.runtime.clock()):
            raise CircuitOpen("it failed since this request was planned")
        rule = self.decision.verdict.rule
        thinking = rule.settings.thinking if rule else None
        tests = step.attempt.accept_if
        logprobs = reads_logprobs(tests)
        edit = wire.Edit(self.request, fleet, step.attempt.max_tokens, thinking, logprobs)
        body, self._edits = wire.upstream_body(edit)
        self.meter.begin(step.attempt)
        timeout_ms = step.timeout_ms
        if tests and self.request.stream:  # its first token is not given the whole answer's time
            timeout_ms = min(timeout_ms, self.decision.plan.limits.ttft_timeout_ms)
        prefix = prefix_of(self.request.body) if len(fleet.urls) > 1 else b""
        return self.generation.backends[fleet.id], Call(
            body, timeout_s=timeout_ms / 1000, prefix=prefix
        )

    def _live(self) -> Live:
        assert self.meter.live is not None
        return self.meter.live

    def _broken_off(self, exc: BaseException) -> None:
        hung_up = isinstance(exc, asyncio.CancelledError | GeneratorExit)
        outcome = "client_closed" if hung_up else "bug"
        self.meter.close(outcome)
        self.finish(outcome)

    def _cost_comment(self) -> bytes:
        nano = self.meter.nano_so_far()
        return b"" if nano is None else b": x-sluice-cost-usd " + usd_text(nano) + b"\n\n"


def _broken_event(exc: BackendError) -> bytes:
    """Return the event that ends a stream in which content had been sent."""
    message = f"the fleet broke off: {exc.detail}"
    error = {"message": message, "type": "upstream_error", "code": "stream_broken"}
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

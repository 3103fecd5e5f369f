"""The life of one decided request: its attempts, its answer on the way out, and its receipt.

However it ends - answered, failed, broken off by the fleet or by the caller - it is finished once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import orjson

from backends.base import Backend, BackendError, Broken, Call, CircuitOpen, Reply, TimedOut
from backends.sse import usage_in
from router import wire
from router.charge import usd_text
from router.decide import Decision
from router.drive import Opened, drive, open_stream
from router.flow import Failed, Served, Try
from router.gate import Gate
from router.meter import Live, Meter
from router.receipt import Outcome, receipt
from router.runtime import Generation, Runtime


class Exchange:
    """One request from its decision to its receipt."""

    def __init__(
        self,
        runtime: Runtime,
        generation: Generation,
        request: wire.ChatRequest,
        decision: Decision,
        request_id: str,
    ) -> None:
        self.runtime = runtime
        self.generation = generation
        self.request = request
        self.decision = decision
        self.request_id = request_id
        self.meter = Meter(runtime, generation, decision)
        limits = decision.plan.limits
        self._ends_s = runtime.clock() + limits.deadline_ms / 1000
        self._edits: list[str] = []
        self._finished = False

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
        return outcome

    async def relay(self, opened: Opened) -> AsyncGenerator[bytes, None]:
        """Yield the bytes to be sent on, to the stream's end, good or bad."""
        live = self._live()
        try:
            async with contextlib.aclosing(self._pieces(opened, live)) as pieces:
                async for piece in pieces:
                    sent_s = self.runtime.clock()
                    yield piece
                    live.writing_s += self.runtime.clock() - sent_s
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
        if self._finished:
            return
        self._finished = True
        rule, attempts = self.decision.verdict.rule, self.meter.attempts
        fleet = attempts[-1]["fleet"] if attempts else ""
        self.runtime.metrics.requests.labels(outcome, rule.id if rule else "", fleet).inc()
        came = Outcome(self._edits, attempts, {}, self.meter.charge())
        line = receipt(self.request_id, self.generation.world, self.decision, came)
        self.runtime.record(self.decision.facts.at, line)

    async def _pieces(self, opened: Opened, live: Live) -> AsyncGenerator[bytes, None]:
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
            left_s = min(inter_chunk_s, self.left_s())
            if left_s <= 0:
                raise TimedOut("the request's deadline has passed")
            chunk = await opened.stream.read(left_s)
            if chunk:
                events = opened.scanner.feed(chunk)
            elif rest := opened.scanner.rest():
                events = [rest]  # the last event may lack its empty line
            elif gate.finish_seen:
                return  # some servers leave [DONE] out
            else:
                raise Broken("closed in the middle of the answer", received=True)

    async def _send(self, step: Try) -> Reply:
        backend, call = self._begin(step)
        try:
            return await backend.send(call)
        except BackendError as exc:
            self.meter.failed(exc)
            raise

    async def _open(self, step: Try) -> Opened:
        backend, call = self._begin(step)
        try:
            opened = await open_stream(backend, call, self.runtime.clock)
        except BackendError as exc:
            self.meter.failed(exc)
            raise
        if opened.spoke:
            live = self._live()
            live.ttft_s = self.runtime.clock() - live.began_s
        return opened

    def _begin(self, step: Try) -> tuple[Backend, Call]:
        fleet = step.attempt.candidate.on.fleet
        if self.generation.tracker.is_open(fleet.id, self.runtime.clock()):
            raise CircuitOpen("it failed since this request was planned")
        rule = self.decision.verdict.rule
        thinking = rule.settings.thinking if rule else None
        edit = wire.Edit(self.request, fleet, step.attempt.max_tokens, thinking)
        body, self._edits = wire.upstream_body(edit)
        self.meter.begin(step.attempt)
        return self.generation.backends[fleet.id], Call(body, timeout_s=step.timeout_ms / 1000)

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

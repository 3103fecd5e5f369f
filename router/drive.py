"""The driver of ``flow.attempts``: all sending of a request happens here.

A plain answer is whole when it comes back; a stream comes back as `Opened` once its first content
token has been seen, with every event so far. What is neither an answer nor a BackendError is a bug
and flies on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from backends.base import Backend, BackendError, Broken, Call, Garbled, Stream, TimedOut
from backends.sse import Events, error_of, has_content, is_done
from router.decide import Attempt, Plan
from router.flow import (
    Came,
    Failed,
    Failure,
    Hedge,
    NotAccepted,
    PassedOver,
    Pause,
    Paused,
    Served,
    Steps,
    Try,
    attempts,
)

Clock = Callable[[], float]  # seconds, monotonic
Answer = TypeVar("Answer")

HELD_BYTES = 1 << 20  # of events before the first content token; more is no stream of a model


@dataclass(slots=True)
class Opened:
    """A stream with its first content token: `events` have come, more may.

    Not `spoke`: it ended in good order without any content. `whole`: it was held to its end and
    accepted, and this is all that its caller gets.
    """

    stream: Stream
    scanner: Events
    events: list[bytes]
    spoke: bool
    whole: bytes | None = None


@dataclass(slots=True)
class Hands(Generic[Answer]):
    """What a driver does with. `rest` returns after the pause, or False at once where the attempt
    is not to be made again. `lose` ends an attempt that was cancelled, with the answer that it had
    nevertheless; `beaten`: because the one beside it came to an end, not the whole request.
    """

    send: Callable[[Try], Awaitable[Answer | NotAccepted]]
    rest: Callable[[Pause], Awaitable[bool]]
    pass_over: Callable[[PassedOver], None]
    lose: Callable[[Attempt, Answer | None, bool], Awaitable[None]]

    async def result(self, step: Try) -> Answer | NotAccepted | BackendError:
        try:
            return await self.send(step)
        except BackendError as exc:
            # From here on it is a value. Its frames would hold all that came of the answer, and be
            # held by it, until the collector comes: 64 MB for each answer without end.
            return exc.with_traceback(None)


async def drive(
    plan: Plan, hands: Hands[Answer], clock: Clock, *, money_binds: bool = True
) -> Served[Answer] | Failed:
    """Make the plan's attempts until one is answered or none is left."""
    steps: Steps[Answer] = attempts(plan, money_binds=money_binds)
    came: Came[Answer] | Paused | None = None
    while True:
        try:
            step = steps.send(came)
        except StopIteration as stop:
            outcome: Served[Answer] | Failed = stop.value
            return outcome
        began_s = clock()
        if isinstance(step, PassedOver):
            hands.pass_over(step)
            came = None
        elif isinstance(step, Pause):
            go = await hands.rest(step)
            came = Paused(go, (clock() - began_s) * 1000)
        elif step.hedge is not None:
            came = await _raced(hands, step, step.hedge, clock)
        else:
            came = Came(await hands.result(step), (clock() - began_s) * 1000)


async def _raced(hands: Hands[Answer], step: Try, hedge: Hedge, clock: Clock) -> Came[Answer]:
    """Return the first answer of an attempt and its hedge, the attempt's own if both are there, or
    the failure that ends them. Nothing of them runs any more when this returns.
    """
    began_s, came = clock(), None
    failures: list[Failure] = []
    running = {asyncio.ensure_future(hands.result(step)): step.attempt}
    try:
        done, _ = await asyncio.wait(running, timeout=hedge.after_ms / 1000)
        if not done:
            beside = hands.result(Try(hedge.attempt, hedge.timeout_ms))
            running[asyncio.ensure_future(beside)] = hedge.attempt
        while came is None:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            task = next(task for task in running if task in done)
            attempt, result = running.pop(task), task.result()
            took_ms = (clock() - began_s) * 1000
            if running and isinstance(result, BackendError) and result.try_elsewhere:
                failures.append(Failure(attempt, result, took_ms))
            else:
                came = Came(result, took_ms, attempt, tuple(failures))
    finally:
        for task, attempt in running.items():
            await _cancelled(task)
            answer = None if task.cancelled() else task.result()
            if isinstance(answer, NotAccepted | BackendError):
                answer = None
            await hands.lose(attempt, answer, came is not None)
    return came


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def open_stream(backend: Backend, call: Call, clock: Clock) -> Opened:
    """Open a stream and hold its events until the first content token (not the role chunk).

    `call.timeout_s` runs from sending to that token. A stream that is closed in good order without
    any content (an empty answer) counts as opened.
    """
    ends_s = clock() + (call.timeout_s or 0.0)
    stream = await backend.stream(call)
    try:
        return await _until_content(stream, ends_s, clock)
    except BaseException:
        await stream.aclose()
        raise


async def _until_content(stream: Stream, ends_s: float, clock: Clock) -> Opened:
    scanner, held_bytes = Events(), 0
    held: list[bytes] = []
    while held_bytes <= HELD_BYTES:
        left_s = ends_s - clock()
        if left_s <= 0:
            raise TimedOut("no content token in time")
        chunk = await stream.read(left_s)
        if not chunk:
            raise Broken("closed before the first content token", received=True)
        held_bytes += len(chunk)
        events = scanner.feed(chunk)
        held += events
        for event in events:
            error = error_of(event)
            if error is not None:
                raise error
        spoke = any(map(has_content, events))
        if spoke or any(map(is_done, events)):
            return Opened(stream, scanner, held, spoke)
    raise Garbled("no content token in the first 1 MiB")

"""The driver of ``flow.attempts``: all sending of a request happens here.

A plain answer is whole when it comes back; a stream comes back as `Opened` once its first content
token has been seen, with every event so far. What is neither an answer nor a BackendError is a bug
and flies on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from backends.base import Backend, BackendError, Broken, Call, Garbled, Stream, TimedOut
from backends.sse import Events, error_of, has_content, is_done
from router.decide import Plan
from router.flow import (
    Came,
    Failed,
    NotAccepted,
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


@dataclass(frozen=True, slots=True)
class Hands(Generic[Answer]):
    """What a driver does with. `rest` returns after the pause, or False at once where the attempt
    is not to be made again.
    """

    send: Callable[[Try], Awaitable[Answer | NotAccepted]]
    rest: Callable[[Pause], Awaitable[bool]]


async def drive(plan: Plan, hands: Hands[Answer], clock: Clock) -> Served[Answer] | Failed:
    """Make the plan's attempts until one is answered or none is left."""
    steps: Steps[Answer] = attempts(plan)
    came: Came[Answer] | Paused | None = None
    while True:
        try:
            step = next(steps) if came is None else steps.send(came)
        except StopIteration as stop:
            outcome: Served[Answer] | Failed = stop.value
            return outcome
        began_s = clock()
        if isinstance(step, Pause):
            go = await hands.rest(step)
            came = Paused(go, (clock() - began_s) * 1000)
        else:
            result: Answer | NotAccepted | BackendError
            try:
                result = await hands.send(step)
            except BackendError as exc:
                # From here on it is a value. Its frames would hold all that came of the answer, and
                # be held by it, until the collector comes: 64 MB for each answer without end.
                result = exc.with_traceback(None)
            came = Came(result, (clock() - began_s) * 1000)


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

"""One HTTP/1.1 connection: bytes in and out of a transport, one answer at a time.

Chunked, counted and close-delimited bodies; 1xx answers are skipped. What is not asked for is not
believed: bytes on an idle connection, or behind an answer, close it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import httptools

from backends import foreign
from backends.base import BackendError, Garbled, TimedOut

HEAD_BYTES = 65_536  # in a row that are no body: headers, trailers (nginx stops at 8 kB)
BODY_BYTES = 64 * 1024 * 1024  # of a plain answer: 20 times the longest completion
HIGH_WATER_BYTES = 65_536  # unread bytes of a stream, above which the peer has to wait
PARTS = 1024  # of a body that are kept apart: one of 2 bytes takes 56 of memory
END_S = 0.05  # servers write the last chunk's end on its own, right behind it

_FRAMED = (b"content-length", b"transfer-encoding")


class Response:
    """One answer as it comes. `status` 0: its head isn't there yet. Header names are lower case.
    `size` is of what has come and wasn't read, in bytes.

    `whole`: nobody reads before the end, so nobody is woken before it.
    """

    __slots__ = (
        "_connection",
        "_done",
        "_failure",
        "_joined",
        "_parts",
        "_then",
        "_waiter",
        "headers",
        "size",
        "status",
        "whole",
    )

    def __init__(self, connection: "Connection", *, whole: bool) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.whole = whole
        self._connection: Connection | None = connection
        self._parts: list[bytes] = []
        self._joined = 0  # of the parts, from the first on: each was PARTS of them
        self.size = 0
        self._done = False
        self._failure: BackendError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._then: Callable[[], None] | None = None

    def then(self, call: Callable[[], None]) -> None:
        """Call this once nothing more comes, well or badly; now, if that is so."""
        if self._done:
            call()
        else:
            self._then = call

    async def arrived(self, timeout_s: float | None) -> None:
        """Wait for the head, with `whole` for the last byte; whatever stops this, closes it."""
        try:
            while not self._done and (self.whole or not self.status):
                await self._wait(timeout_s)
        except TimedOut:
            self.close()
            raise
        if self._failure is not None and (self.whole or not self.status):
            raise self._failure

    async def read(self, timeout_s: float | None = None) -> bytes:
        """Return what has come and wasn't read, b"" at the end. TimedOut leaves it open."""
        while not self._parts:
            if self._failure is not None:
                raise self._failure
            if self._done:
                return b""
            await self._wait(timeout_s)
        return self._taken()

    async def body(self, timeout_s: float | None = None) -> bytes:
        """Return all of the body that wasn't read. If it fails, the connection is closed."""
        if self._done and self._failure is None:
            return self._taken()
        loop = asyncio.get_running_loop()
        began = loop.time()
        parts: list[bytes] = []
        size = 0
        try:
            while part := await self.read(left(timeout_s, loop.time() - began)):
                parts.append(part)
                size += len(part)
                if size > BODY_BYTES:
                    raise _too_long("body", BODY_BYTES)
        except BackendError:
            parts.clear()  # nobody gets them, and the error's traceback would hold them
            self.close()
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Drop the connection if the answer isn't whole. Nothing more comes of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    async def end(self) -> None:
        """Wait a moment for the end of a body whose last event has come; then close."""
        with contextlib.suppress(BackendError):
            await self.body(END_S)
        self.close()

    async def aclose(self) -> None:
        self.close()

    def add(self, part: bytes) -> bool:
        """Take a part of the body; return whether the peer should wait."""
        parts = self._parts
        parts.append(part)
        if len(parts) - self._joined == PARTS:
            parts[self._joined :] = (b"".join(parts[self._joined :]),)
            self._joined += 1
        self.size += len(part)
        if self.whole:
            return False
        self.wake()
        return self.size > HIGH_WATER_BYTES

    def finish(self, failure: BackendError | None = None) -> None:
        if failure is not None and self.whole:
            self._parts.clear()
        self._connection = None
        self._done = True
        self._failure = failure
        self.wake()
        then, self._then = self._then, None
        if then is not None:
            then()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _taken(self) -> bytes:
        parts = self._parts
        taken = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._joined = 0
        self.size = 0
        if self._connection is not None:
            self._connection.read_on()
        return taken

    async def _wait(self, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        # less than half of what `asyncio.timeout` costs (5 against 12 us)
        timer = None if timeout_s is None else loop.call_later(timeout_s, self._expire, timeout_s)
        try:
            await waiter
        except TimedOut:
            raise
        except BaseException:  # cancelled: the upstream must stop generating
            self.close()
            raise
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _expire(self, timeout_s: float) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimedOut(f"nothing came for {timeout_s:.3g} s"))


class Connection(asyncio.Protocol):
    """Tells its owner when it is free for the next request (`freed`) and when it is gone."""

    __slots__ = (
        "_aborted",
        "_complete",
        "_fed",
        "_freed",
        "_length",
        "_lost",
        "_parser",
        "_paused",
        "_response",
        "_reusable",
        "_transport",
        "gone",
        "idle_since",
    )

    def __init__(
        self,
        freed: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._freed = freed
        self._lost = lost
        self._response: Response | None = None
        self._aborted = False
        self._paused = False
        self.gone = False
        self.idle_since = 0.0

    @property
    def closing(self) -> bool:
        return self._transport.is_closing()

    def send(self, message: bytes, *, whole: bool) -> Response:
        """Put a request on the wire. Only on a connection that is free."""
        response = Response(self, whole=whole)
        if self.gone:  # lost between the connect and now: nobody would tell this response
            response.finish(foreign.at_loss(None, received=False))
            return response
        self._response = response
        self._fed = 0  # bytes since the last of a body
        self._length = 0  # of the body, where it is told
        self._complete = False
        self._reusable = False
        self._transport.write(message)
        return response

    def read_on(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close now, without sending what is left; whoever waits for an answer is told."""
        self._aborted = True
        self._transport.abort()

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self._transport.abort()
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except foreign.AT_PARSE:
            if not self._complete:
                self._fail(foreign.at_parse())
                return
            self._reusable = False
        if self._complete:
            self._finish()
        elif self._fed > HEAD_BYTES:
            self._fail(_too_long("head", HEAD_BYTES))
        elif response.whole and max(response.size, self._length) > BODY_BYTES:
            self._fail(_too_long("body", BODY_BYTES))

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        response, self._response = self._response, None
        if response is not None:
            whole = exc is None and not self._aborted and _ends_with_connection(response)
            received = response.status > 0 or self._fed > 0
            response.finish(None if whole else foreign.at_loss(exc, received=received))
        self._lost(self)

    # what the parser tells

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer behind the one that was asked for
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._response is not None and not self._response.status:  # not a trailer
            self._response.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # noqa: PLR2004 (1xx: the answer is still to come)
            response.headers.clear()
            return
        response.status = status
        self._length = int(response.headers.get(b"content-length", 0))
        if not response.whole:
            response.wake()

    def on_body(self, body: bytes) -> None:
        response = self._response
        if response is None or self._complete:
            return
        self._fed = 0
        if response.add(body) and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        response = self._response
        if response is not None and response.status and not self._complete:
            self._complete = True
            self._reusable = self._parser.should_keep_alive()

    def _finish(self) -> None:
        response, self._response = self._response, None
        self.read_on()
        unsent = self._transport.get_write_buffer_size()
        if self._reusable and not unsent and not self._transport.is_closing():
            self._freed(self)
        else:
            self._transport.abort()
        if response is not None:
            response.finish()

    def _fail(self, failure: BackendError) -> None:
        response, self._response = self._response, None
        self._transport.abort()
        if response is not None:
            response.finish(failure)


def _ends_with_connection(response: Response) -> bool:
    return bool(response.status) and not any(name in response.headers for name in _FRAMED)


def left(timeout_s: float | None, spent_s: float) -> float | None:
    return None if timeout_s is None else max(0.0, timeout_s - spent_s)


def _too_long(what: str, limit: int) -> Garbled:
    return Garbled(f"the {what} of the answer is longer than {limit} bytes")

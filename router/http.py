"""One HTTP request of the ASGI server: headers, body within a limit, and one answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from router.emf import Numbers
from router.errors import Refusal
from router.identity import CONTEXT

if TYPE_CHECKING:
    from router.inside import Caller

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_LIMIT_BYTES = 6_000_000  # Lambda's payload limit, the same everywhere
BODY_WAIT_S = 30.0
UPLOAD_WAIT_S = 1800.0  # for all of a file
LEAST_BYTES_S = 4096  # of a file that comes, over BODY_WAIT_S each
PIECE_WAIT_S = 60.0  # for a piece of a file (1 MiB) to be read by who asked for it
READ_ON_BYTES = 10 * BODY_LIMIT_BYTES  # of a body over the limit, so that its sender sees the 413
JSON_TYPE = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")
# A proxy on this machine makes every caller a local one; these say that one was between.
_HANDED_ON = frozenset(
    {b"x-forwarded-for", b"forwarded", b"via", b"x-real-ip", b"x-amzn-lambda-context", CONTEXT}
)


class HungUp(Exception):  # noqa: N818  (nobody is left to be told)
    """The caller closed the connection."""


class Http:
    """`headers` are lower case, a later one of the same name wins. `body_bytes`: what its body
    counts for (`router.doors`). `last`: the connection is closed after its answer. `streams`: a
    stream's head was sent. `ending` is waited for before the answer's last byte goes out, or where
    there is no answer. `status`: the answer's, once it is known. `numbers`: what was measured.
    `inside`: as whom the router asks itself; None: it came from outside.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        last: bool = False,
        ending: Callable[["Http"], Awaitable[None]] | None = None,
        inside: "Caller | None" = None,
    ) -> None:
        self.inside = inside
        self.query: bytes = scope.get("query_string", b"")
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        if CONTEXT in self.headers and [name for name, _ in scope["headers"]].count(CONTEXT) > 1:
            del self.headers[CONTEXT]  # one of them is the caller's own: neither is believed
        client = scope.get("client")
        self.from_loopback = client is not None and client[0] in ("127.0.0.1", "::1")
        self.receive = receive
        self.body_bytes = 0
        self._more = True  # of the body, as far as is known
        self.last = last
        self.streams = False
        self.status: int | None = None
        self.numbers = Numbers()
        self._send = send
        self._ending = ending

    @property
    def is_local(self) -> bool:
        """Tell whether the caller is on this machine, as far as anybody can."""
        return self.from_loopback and not _HANDED_ON & self.headers.keys()

    async def body(self) -> bytes:
        """Return the whole body; raise Refusal (408, 413) or HungUp."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_WAIT_S):
                message = await self.receive()
                if not message.get("more_body"):
                    return self._checked(message)
                parts, size = [self._checked(message)], len(message["body"])
                while message.get("more_body"):
                    message = await self.receive()
                    part = self._checked(message)
                    size += len(part)
                    if size <= BODY_LIMIT_BYTES:
                        parts.append(part)
                    elif size > READ_ON_BYTES:
                        break
        except TimeoutError:
            raise Refusal(408, "the body did not come in time", "request_timeout") from None
        if size > BODY_LIMIT_BYTES:
            raise _too_large()
        return b"".join(parts)

    async def pieces(self, each_s: float = BODY_WAIT_S) -> AsyncIterator[bytes]:
        """Yield the body as it comes, however long; raise Refusal (408) or HungUp.

        In every `each_s` spent waiting for it LEAST_BYTES_S must come: who sends a byte now and
        then would hold a place for long.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + UPLOAD_WAIT_S
        more, size, left_s = True, 0, each_s
        while more:
            began_s = loop.time()
            try:
                async with asyncio.timeout(min(left_s, ends_s - began_s)):
                    message = await self.receive()
            except TimeoutError:
                raise _too_slow("the body did not come in time") from None
            if message["type"] == "http.disconnect":
                self._more = False
                raise HungUp
            body = message.get("body", b"")
            self._more = more = message.get("more_body", False)
            size, left_s = size + len(body), left_s - (loop.time() - began_s)
            if size >= each_s * LEAST_BYTES_S:
                size, left_s = 0, each_s
            yield body

    async def read_on(self, most: int = READ_ON_BYTES) -> None:
        """Read what still comes of the body, so that its sender sees the answer; not for ever."""
        size = 0
        try:
            async with asyncio.timeout(BODY_WAIT_S):
                while self._more and size <= most:
                    message = await self.receive()
                    self._more = message.get("more_body", False)
                    size += len(message.get("body", b""))
        except TimeoutError:
            pass
        self.last = self.last or self._more  # else the rest were read for as long as it comes

    async def answer(
        self, status: int, body: bytes, headers: Headers | None = None, *, json: bool = True
    ) -> None:
        head = [(b"content-length", b"%d" % len(body)), *(headers or ())]
        if json:
            head.append(JSON_TYPE)
        if self.last and CLOSE not in head:
            head.append(CLOSE)
        self.status = status
        await self.end()
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self, headers: Headers) -> None:
        head = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *headers,
            *((CLOSE,) if self.last else ()),
        ]
        self.streams, self.status = True, 200
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    async def start_file(self, headers: Headers) -> None:
        """Begin an answer that comes in pieces; its headers say of what kind it is, and its length.

        It is no stream that could be ended by an event.
        """
        head = [*headers, *((CLOSE,) if self.last else ())]
        self.status = 200
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    async def piece(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def file_piece(self, data: bytes, within_s: float = PIECE_WAIT_S) -> None:
        """Send a piece of a file. Raises HungUp if the caller doesn't read it in time."""
        try:
            async with asyncio.timeout(within_s):
                await self.piece(data)
        except TimeoutError:
            raise HungUp from None

    async def end_stream(self) -> None:
        await self.end()
        await self._send({"type": "http.response.body", "body": b""})

    async def end(self) -> None:
        """Do what must be done before the last byte, once."""
        if self._ending is not None:
            await self._ending(self)
            self._ending = None

    @staticmethod
    def _checked(message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise HungUp
        body: bytes = message.get("body", b"")
        if len(body) > BODY_LIMIT_BYTES and not message.get("more_body"):
            raise _too_large()
        return body


def _too_slow(said: str) -> Refusal:
    return Refusal(408, said, "request_timeout", headers=(CLOSE,))


def _too_large() -> Refusal:
    said = f"the body is larger than {BODY_LIMIT_BYTES:,} bytes"
    return Refusal(413, said, "body_too_large", headers=((b"connection", b"close"),))

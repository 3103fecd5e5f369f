"""How a fault strikes one answer: it stands between the app and the connection.

`Wire` is uvicorn's protocol that lends its connection to the app: a reset, and what is no HTTP,
can't be said in ASGI.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backends.engines.emulated_fault import Fault
from backends.engines.emulated_http import Message, Scope, Send

EXTENSION = "sluice.wire"
NO_HTTP = b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n"
HTML = b"<!doctype html><html><body><h1>It works!</h1></body></html>\n"
NO_JSON = b'{"choices":[{"index":0,"delta":{"content":"emul'
NO_UTF8 = (
    b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"},"message":{"content":"\xff\xfe"}}]}'
)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
FLUSH_S = 0.05  # between the last bytes and a reset, which throws away what was not sent yet


class Wire(HttpToolsProtocol):
    """Lends the app its connection, as `scope["extensions"]`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"transport": self.transport}}


def transport(scope: Scope) -> asyncio.Transport:
    lent: asyncio.Transport = scope["extensions"][EXTENSION]["transport"]
    return lent


async def hang_up(wire: asyncio.Transport, gone: asyncio.Future[None]) -> None:
    """Close with RST, which the peer reads as "connection reset"."""
    if not wire.is_closing():
        sock = wire.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        wire.abort()
    await asyncio.wait([gone])


class Strike:
    """The `send` of one answer with a fault in it; what is sent after the fault is dropped.

    `gone` is done when the client has gone, `over` waits for that or for the emulator's end.
    """

    def __init__(
        self,
        fault: Fault,
        send: Send,
        wire: asyncio.Transport,
        gone: asyncio.Future[None],
        over: Callable[[], Awaitable[None]],
    ) -> None:
        self.fault = fault
        self._send = send
        self._wire = wire
        self._gone = gone
        self._over = over
        self._struck = False
        self._began = False
        self._chunks = 0

    async def __call__(self, message: Message) -> None:
        if not self._struck:
            await HOW[self.fault.name](self, message)

    async def delay(self, message: Message) -> None:
        if not self._began:
            self._began = True
            if await self._waits(self.fault.number("ms") / 1000):
                return
        await self._send(message)

    async def hang(self, message: Message) -> None:
        if await self._is_due(message):
            await self._over()
            await hang_up(self._wire, self._gone)

    async def reset(self, message: Message) -> None:
        if await self._is_due(message):
            await asyncio.sleep(FLUSH_S)
            await hang_up(self._wire, self._gone)

    async def drip(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            return
        for byte in message["body"]:
            part = {"type": "http.response.body", "body": bytes((byte,)), "more_body": True}
            await self._send(part)
            if await self._waits(self.fault.number("ms") / 1000):
                return
        await self._send({**message, "body": b""})

    async def garbage(self, message: Message) -> None:
        self._struck = True
        kind = self.fault.kind()
        if kind == "http":
            self._wire.write(NO_HTTP)
            self._wire.close()
            await asyncio.wait([self._gone])
            return
        content_type = dict(message["headers"])[b"content-type"]
        content = {"html": HTML, "json": NO_JSON, "utf8": NO_UTF8}[kind]
        if kind == "html":
            content_type = b"text/html; charset=utf-8"
        elif content_type.startswith(b"text/event-stream"):
            content = b"data: " + content + b"\n\n"
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(content))]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def _is_due(self, message: Message) -> bool:
        """Send this on unless the fault is due; before the last chunk it is in any case."""
        if message["type"] == "http.response.start":
            self._struck = self.fault.number("after") == 0
        else:
            last = not message.get("more_body", False)
            self._struck = last or self._chunks >= self.fault.number("after")
            if last and not self._chunks:  # a plain answer, or one of a single chunk: half of it
                half = message["body"][: len(message["body"]) // 2]
                await self._send({**message, "body": half, "more_body": True})
            self._chunks += 1
        if not self._struck:
            await self._send(message)
        return self._struck

    async def _waits(self, seconds: float) -> bool:
        """Wait; return True, and drop the rest, if the client goes meanwhile."""
        over = asyncio.ensure_future(self._over())
        done, _ = await asyncio.wait([over], timeout=seconds)
        over.cancel()
        self._struck = bool(done)
        return self._struck


HOW: Final[Mapping[str, Callable[[Strike, Message], Awaitable[None]]]] = {
    "delay": Strike.delay,
    "hang": Strike.hang,
    "reset": Strike.reset,
    "garbage": Strike.garbage,
    "drip": Strike.drip,
}

"""Requests that the router makes of itself: they go the way of any other, without a network.

Who asks is a value that only our own code can hand over: no header and nothing of an ASGI scope is
read for it.
"""

import asyncio
from dataclasses import dataclass, field

from router.http import Headers, Message, Scope
from router.identity import Key
from router.wire import Hints


@dataclass(frozen=True, slots=True)
class Caller:
    """As whom it is asked, with the hints that other callers give in headers."""

    key: Key
    hints: Hints


@dataclass(slots=True)
class Caught:
    """The two ends of a request with this body; afterwards its answer."""

    body: bytes
    status: int = 0
    headers: Headers = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    _read: bool = False

    async def receive(self) -> Message:
        if self._read:
            await asyncio.Event().wait()  # this caller never hangs up
        self._read = True
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
        else:
            self.parts.append(message.get("body", b""))


def scope_of(path: str, body: bytes) -> Scope:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {"type": "http", "method": "POST", "path": path, "headers": head}

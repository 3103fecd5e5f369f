"""What the emulator's parts share of ASGI: types, whole bodies in, whole answers out."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from backends.engines.emulated_request import Refused

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_MAX_BYTES = 6_000_000  # the router's own default limit
DRAIN_MAX_BYTES = 10 * BODY_MAX_BYTES  # read on so far, so that the client gets to see the 413

JSON: Final[Headers] = ((b"content-type", b"application/json"),)


async def body(receive: Receive) -> bytes | None:
    """Return the whole body, None if the client left before its end; raise Refused if too long."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more and size <= DRAIN_MAX_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if size <= BODY_MAX_BYTES:
            parts.append(message.get("body", b""))
    if size > BODY_MAX_BYTES:
        close = ((b"connection", b"close"),)
        raise Refused(413, f"the body is longer than {BODY_MAX_BYTES} bytes", headers=close)
    return b"".join(parts)


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(send: Send, status: int, content: bytes, headers: Headers) -> None:
    length = (b"content-length", b"%d" % len(content))
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": content})

"""The ASGI app of the emulated fleets: paths, bodies, streams, and clients that hang up."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import orjson

from backends.catalogue import Catalogue
from backends.engines import emulated_request
from backends.engines.emulated_fleet import EmulatedFleet, Unfit
from backends.engines.emulated_reply import Reply, event, models
from backends.engines.emulated_request import Kind, Refused
from backends.engines.emulation import Stream

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_MAX_BYTES = 6_000_000  # the router's own default limit
DRAIN_MAX_BYTES = 10 * BODY_MAX_BYTES  # read on so far, so that the client gets to see the 413

JSON: Final[Headers] = ((b"content-type", b"application/json"),)
PLAIN: Final[Headers] = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
EVENTS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)

ROUTES: Final = {  # the end of the path, after the fleet's name
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/models": "GET",
    "/health": "GET",
    "/metrics": "GET",
}
KINDS: Final[dict[str, Kind]] = {"/v1/chat/completions": "chat", "/v1/completions": "text"}


class Emulator:
    """Every emulated fleet of a catalogue; raises Unfit where one can't be emulated."""

    def __init__(
        self,
        catalogue: Catalogue,
        time_scale: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        began_s = clock()

        def now_ms() -> float:
            return (clock() - began_s) * 1000 / time_scale

        self.fleets = {
            fleet.id: EmulatedFleet(fleet, now_ms, time_scale, self.streams)
            for fleet in catalogue.fleets
            if fleet.emulated
        }
        if not self.fleets:
            raise Unfit("no fleet of kind `emulated` in the catalogue")
        self._wall_clock = wall_clock
        self._created = int(wall_clock())
        self._stopping = False

    def streams(self) -> int:
        return sum(fleet.replica.running for fleet in self.fleets.values())

    def stop(self) -> None:
        """End every stream with an error event, and take no more."""
        self._stopping = True
        for fleet in self.fleets.values():
            fleet.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        try:
            await self._serve(scope, receive, send)
        except Refused as refused:
            await _send(send, refused.status, refused.body(), JSON + refused.headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        fleet_id, route = _route(scope["path"])
        if scope["method"] != ROUTES[route]:
            said = f"`{route}` takes {ROUTES[route]}"
            raise Refused(405, said, headers=((b"allow", ROUTES[route].encode()),))
        if fleet_id == "" and route == "/health":
            await _send(send, 200, orjson.dumps({"emulated": list(self.fleets)}), JSON)
            return
        fleet = self.fleets.get(fleet_id)
        if fleet is None:
            known = ", ".join(self.fleets)
            raise Refused(404, f"no fleet `{_shown(fleet_id)}` here (known: {known})")
        mark = ((b"x-sluice-emulated", fleet.fleet.id.encode()),)
        match route:
            case "/health":
                await _send(send, 200, b"", mark)
            case "/metrics":
                await _send(send, 200, fleet.metrics().encode(), PLAIN + mark)
            case "/v1/models":
                await _send(send, 200, models(fleet.fleet, self._created), JSON + mark)
            case _:
                await self._complete(fleet, KINDS[route], mark, receive, send)

    async def _complete(
        self, fleet: EmulatedFleet, kind: Kind, mark: Headers, receive: Receive, send: Send
    ) -> None:
        raw = await _body(receive)
        if raw is None:
            return
        ask = emulated_request.parse(raw, fleet.fleet, kind)
        if self._stopping:
            raise _stopping()
        stream = fleet.open(ask)
        gone = asyncio.ensure_future(_disconnected(receive))
        gone.add_done_callback(lambda _: fleet.close(stream))
        try:
            reply = Reply(ask, uuid.uuid4().hex, int(self._wall_clock()))
            if ask.stream:
                await self._stream(fleet, stream, reply, mark, send)
            elif await fleet.more(stream, stream.tokens_out - 1) is not None:
                await _send(send, 200, reply.whole(), JSON + mark)
            elif self._stopping:
                raise _stopping()
        finally:
            fleet.close(stream)
            gone.cancel()

    async def _stream(
        self, fleet: EmulatedFleet, stream: Stream, reply: Reply, mark: Headers, send: Send
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(EVENTS + mark)})
        sent = 0
        while sent < stream.tokens_out:
            out = await fleet.more(stream, sent)
            if out is None:
                if self._stopping:
                    error = event(orjson.loads(_stopping().body()))
                    await send({"type": "http.response.body", "body": error})
                return
            await send(
                {
                    "type": "http.response.body",
                    "body": reply.part(sent, out),
                    "more_body": out < stream.tokens_out,
                }
            )
            sent = out


def _route(path: str) -> tuple[str, str]:
    for route in ROUTES:
        if path.endswith(route):
            return path.removesuffix(route).removeprefix("/"), route
    known = ", ".join(f"/<fleet>{route}" for route in ROUTES)
    raise Refused(404, f"no such path `{_shown(path)}` (known: {known}, /health)")


def _shown(text: str) -> str:
    return text[: emulated_request.NAME_SHOWN]


def _stopping() -> Refused:
    return Refused(503, "the emulator is stopping", headers=((b"retry-after", b"1"),))


async def _body(receive: Receive) -> bytes | None:
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


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", b"%d" % len(body))
    start = {"type": "http.response.start", "status": status, "headers": [*headers, length]}
    await send(start)
    await send({"type": "http.response.body", "body": body})

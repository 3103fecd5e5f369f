"""The ASGI app of the emulated fleets: paths, bodies, streams, and clients that hang up."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from backends.catalogue import Catalogue
from backends.engines import emulated_request
from backends.engines.emulated_desk import Desk
from backends.engines.emulated_fault import Fault, NoFault
from backends.engines.emulated_fleet import EmulatedFleet, Unfit
from backends.engines.emulated_http import (
    JSON,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    body,
    disconnected,
)
from backends.engines.emulated_reply import Reply, event, models
from backends.engines.emulated_request import Ask, Kind, Refused
from backends.engines.emulated_strike import HOW, Strike, hang_up, transport
from backends.engines.emulation import Stream

PLAIN: Final[Headers] = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
EVENTS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)

ROUTES: Final = {  # the end of the path, after the fleet's name
    "/v1/chat/completions": ("POST",),
    "/v1/completions": ("POST",),
    "/v1/models": ("GET",),
    "/health": ("GET",),
    "/metrics": ("GET",),
    "/faults": ("GET", "POST", "DELETE"),
}
KINDS: Final[dict[str, Kind]] = {"/v1/chat/completions": "chat", "/v1/completions": "text"}


class Emulator:
    """Every emulated fleet of a catalogue; raises Unfit where one can't be emulated.

    `faults` by fleet are in force from the start; raises Unfit where one can't be.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        time_scale: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        faults: Mapping[str, str],
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
            raise Unfit("the catalogue has no fleet of `kind: emulated`")
        self._desk = Desk(clock, lambda fleet_id: self.fleets[fleet_id].cut())
        for fleet_id, text in faults.items():
            if fleet_id not in self.fleets:
                known = ", ".join(self.fleets)
                raise Unfit(
                    f"a fault for `{_shown(fleet_id)}`: no such emulated fleet (known: {known})"
                )
            try:
                self._desk.start(fleet_id, text)
            except NoFault as exc:
                raise Unfit(f"a fault for `{fleet_id}`: {exc}") from None
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
            await answer(send, refused.status, refused.body(), JSON + refused.headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        fleet_id, route = _route(scope["path"])
        if scope["method"] not in ROUTES[route]:
            methods = ", ".join(ROUTES[route])
            said = f"`{route}` takes {methods}"
            raise Refused(405, said, headers=((b"allow", methods.encode()),))
        if fleet_id == "" and route == "/health":
            await answer(send, 200, orjson.dumps({"emulated": list(self.fleets)}), JSON)
            return
        fleet = self.fleets.get(fleet_id)
        if fleet is None:
            known = ", ".join(self.fleets)
            raise Refused(404, f"no fleet `{_shown(fleet_id)}` here (known: {known})")
        mark = ((b"x-sluice-emulated", fleet.fleet.id.encode()),)
        if route == "/faults":
            await self._desk.serve(fleet_id, scope, mark, receive, send)
            return
        phase = self._desk.phase(fleet_id)
        if phase == "away":
            await hang_up(transport(scope), asyncio.ensure_future(disconnected(receive)))
        elif phase == "loading":
            raise Refused(503, f"`{fleet_id}` is loading its model", headers=mark)
        elif phase == "draining" and route in (*KINDS, "/health"):
            raise Refused(503, f"`{fleet_id}` is shutting down", headers=mark)
        elif route in KINDS:
            raw = await body(receive)
            if raw is not None:
                ask = emulated_request.parse(raw, fleet.fleet, KINDS[route])
                await self._complete(fleet, ask, mark, scope, receive, send)
        else:
            await answer(send, 200, *self._state(fleet, route, mark))

    def _state(self, fleet: EmulatedFleet, route: str, mark: Headers) -> tuple[bytes, Headers]:
        match route:
            case "/metrics":
                return fleet.metrics().encode(), PLAIN + mark
            case "/v1/models":
                return models(fleet.fleet, self._created), JSON + mark
            case _:  # /health
                return b"", mark

    async def _complete(
        self,
        fleet: EmulatedFleet,
        ask: Ask,
        mark: Headers,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        if self._stopping:
            raise _stopping()
        fault = self._desk.fault(fleet.fleet.id, scope["headers"])
        if fault is not None and fault.name == "status":
            raise _asked_for(fault, mark)
        stream = fleet.open(ask)
        gone = asyncio.ensure_future(disconnected(receive))
        gone.add_done_callback(lambda _: fleet.close(stream))
        if fault is not None and fault.name in HOW:
            send = Strike(fault, send, transport(scope), gone, lambda: fleet.closed(stream))
        try:
            wrong = fault.usage() if fault is not None else None
            reply = Reply(ask, uuid.uuid4().hex, int(self._wall_clock()), wrong)
            if ask.stream:
                await self._stream(fleet, stream, reply, mark, send)
            elif await fleet.more(stream, stream.tokens_out - 1) is not None:
                await answer(send, 200, reply.whole(), JSON + mark)
            elif self._stopping:
                raise _stopping()
            if stream.left and not self._stopping:  # its client has gone, or the fleet has
                await hang_up(transport(scope), gone)
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


def _asked_for(fault: Fault, mark: Headers) -> Refused:
    """Return the answer of the fault `status`."""
    headers = mark
    if "retry_after" in fault.values:
        headers += ((b"retry-after", b"%d" % fault.number("retry_after")),)
    return Refused(int(fault.number("code")), f"asked for: {fault.text}", headers=headers)


def _stopping() -> Refused:
    return Refused(503, "the emulator is stopping", headers=((b"retry-after", b"1"),))

"""Where faults are asked for: a request's header, and each fleet's own `/faults`.

POST /<fleet>/faults     {"fault": "reset after=3", "share": 0.2, "count": 10, "seed": 7}
GET /<fleet>/faults      what is in force, and how many requests it has struck
DELETE /<fleet>/faults   no more of it
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from backends.engines import emulated_fault, emulated_http
from backends.engines.emulated_fault import Fault, NoFault, Phase, Rule
from backends.engines.emulated_http import JSON, Headers, Receive, Scope, Send
from backends.engines.emulated_request import Refused

HEADER: Final = b"x-emulate-fault"
# An origin: some page in a browser asks. The others: somebody elsewhere, through a proxy here.
HANDED_ON: Final = frozenset({b"origin", b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})


class Desk:
    """The faults in force: one per fleet. `cut(fleet)` ends what runs there."""

    def __init__(self, now_s: Callable[[], float], cut: Callable[[str], None]) -> None:
        self._now_s = now_s
        self._cut = cut
        self._rules: dict[str, Rule] = {}

    def start(self, fleet_id: str, text: str) -> None:
        """Put a fleet's fault in force before anything runs there; raises NoFault."""
        self._rules[fleet_id] = emulated_fault.of_fleet(text, self._now_s())

    def fault(self, fleet_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Fault | None:
        """Return the fault of this request: its own, else that of its fleet if it is struck."""
        asked = [value for name, value in headers if name == HEADER]
        if len(asked) > 1:
            raise Refused(400, f"`{HEADER.decode()}` stands here twice")
        if asked:
            try:
                return emulated_fault.of_request(asked[0].decode("latin-1"))
            except NoFault as exc:
                raise Refused(400, f"`{HEADER.decode()}`: {exc}", param=HEADER.decode()) from None
        rule = self._rules.get(fleet_id)
        return None if rule is None else rule.strike()

    def phase(self, fleet_id: str) -> Phase:
        rule = self._rules.get(fleet_id)
        return "up" if rule is None else rule.phase(self._now_s())[0]

    async def serve(
        self, fleet_id: str, scope: Scope, mark: Headers, receive: Receive, send: Send
    ) -> None:
        _check_near(scope)
        if scope["method"] == "DELETE":
            self._rules.pop(fleet_id, None)
        elif scope["method"] == "POST":
            raw = await emulated_http.body(receive)
            if raw is None:
                return
            try:
                rule = emulated_fault.of_json(raw, self._now_s())
            except NoFault as exc:
                raise Refused(400, str(exc), param="fault") from None
            self._put(fleet_id, rule)
        shown = orjson.dumps(self._shown(fleet_id))
        await emulated_http.answer(send, 200, shown, JSON + mark)

    def _put(self, fleet_id: str, rule: Rule) -> None:
        self._rules[fleet_id] = rule
        phase, left_s = rule.phase(self._now_s())
        if phase == "draining":
            asyncio.get_running_loop().call_later(left_s, self._ends, fleet_id, rule)
        elif phase == "away":
            self._cut(fleet_id)

    def _ends(self, fleet_id: str, rule: Rule) -> None:
        if self._rules.get(fleet_id) is rule:
            self._cut(fleet_id)

    def _shown(self, fleet_id: str) -> Mapping[str, Any]:
        rule = self._rules.get(fleet_id)
        if rule is None:
            return {"fleet": fleet_id, "phase": "up", "fault": None}
        phase, left_s = rule.phase(self._now_s())
        left = {} if phase == "up" else {"seconds_left": round(left_s, 3)}
        return {"fleet": fleet_id, "phase": phase, **left, **rule.shown()}


def _check_near(scope: Scope) -> None:
    """Raise Refused unless a program on this machine asks for itself."""
    host = (scope.get("client") or ("",))[0]
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near or any(name in HANDED_ON for name, _ in scope["headers"]):
        raise Refused(403, "faults are asked for on the emulator's own machine only")

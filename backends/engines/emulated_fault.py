"""Faults on request of the emulated fleets: how they are written, and which requests they strike.
Pure.

    NAME [key=value]...        `reset after=3`   `status code=429 retry_after=5`

A fault of a fleet says besides which of its requests it strikes: `share` of them, drawn by `seed`
(the same requests in the same order: the same draws), `count` of them at most. All times are those
of a clock on the wall, whatever the time scale.

* NoFault      the text names no fault, or a key or value that it doesn't have
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson

from yamlfile import suggest

AFTER_MAX = 100_000
SECONDS_MAX = 86_400.0
SEED_MAX = 2**63 - 1
SHOWN = 60  # characters of a wrong word that a message repeats

UsageFault = Literal["missing", "doubled", "twice", "negative", "huge"]
Phase = Literal["up", "loading", "draining", "away"]
Value = str | float | int


class NoFault(ValueError):  # noqa: N818  (it reads as what it says)
    """The text asks for nothing that can be done; the message says what can."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with its values, `text` as it was asked for. `after`: chunks that go out before."""

    name: str
    text: str
    values: Mapping[str, Value]

    def number(self, key: str) -> float:
        return float(self.values[key])

    def kind(self) -> str:
        return str(self.values["kind"])

    def usage(self) -> UsageFault | None:
        """Return what is wrong with the usage of the answer, if that is the fault."""
        return cast("UsageFault", self.kind()) if self.name == "usage" else None


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a fault: what it is if left out (None: left out), how it is read, what is valid."""

    default: Value | None
    read: Callable[[str], Value]
    valid: str


def _number(low: float, high: float, default: float | None, *, whole: bool = False) -> Key:
    def read(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    kind = "a whole number" if whole else "a number"
    return Key(default, read, f"{kind} from {low:g} to {high:.15g}")


def _choice(*known: str, default: str) -> Key:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(text)
        return text

    return Key(default, read, "one of " + ", ".join(known))


_AFTER = _number(0, AFTER_MAX, 0, whole=True)
FAULTS: Final[Mapping[str, Mapping[str, Key]]] = {
    "delay": {"ms": _number(0, SECONDS_MAX * 1000, 1000)},
    "hang": {"after": _AFTER},
    "reset": {"after": _AFTER},
    "status": {
        "code": _choice("429", "500", "502", "503", "504", "529", default="503"),
        "retry_after": _number(0, SECONDS_MAX, None, whole=True),
    },
    "garbage": {"kind": _choice("http", "json", "html", "utf8", default="http")},
    "drip": {"ms": _number(0, 60_000, 1)},
    "usage": {
        "kind": _choice("missing", "doubled", "twice", "negative", "huge", default="missing")
    },
    "cold": {"seconds": _number(0, SECONDS_MAX, 30)},
    "interrupt": {
        "notice": _number(0, SECONDS_MAX, 120),  # as EC2 gives
        "away": _number(0, SECONDS_MAX, 60),
    },
}
OF_A_FLEET: Final = frozenset(
    {"cold", "interrupt"}
)  # states: they strike every request, for a time
WHOM: Final[Mapping[str, Key]] = {
    "share": _number(0, 1, 1.0),
    "count": _number(1, 10**9, None, whole=True),
    "seed": _number(0, SEED_MAX, 0, whole=True),
}


@dataclass(slots=True)
class Rule:
    """A fault of a fleet, in force since `since_s`."""

    fault: Fault
    since_s: float
    share: float = 1.0
    count: int | None = None
    seed: int = 0
    seen: int = 0
    struck: int = 0

    def strike(self) -> Fault | None:
        """Return the fault of the next request, if it gets one."""
        if self.fault.name in OF_A_FLEET or self.struck == self.count:
            return None
        self.seen += 1
        if _draw(self.seed, self.seen) >= self.share:
            return None
        self.struck += 1
        return self.fault

    def phase(self, now_s: float) -> tuple[Phase, float]:
        """Return what the fleet is, and for how many seconds yet."""
        spent_s = now_s - self.since_s
        for phase, seconds in self._phases():
            if spent_s < seconds:
                return phase, seconds - spent_s
            spent_s -= seconds
        return "up", math.inf

    def shown(self) -> dict[str, Any]:
        """Return what is in force, as JSON."""
        whom = {"share": self.share, "count": self.count, "seed": self.seed}
        counted = {"seen": self.seen, "struck": self.struck}
        return {
            "fault": self.fault.text,
            **({} if self.fault.name in OF_A_FLEET else whom | counted),
        }

    def _phases(self) -> tuple[tuple[Phase, float], ...]:
        of = self.fault
        if of.name == "cold":
            return (("loading", of.number("seconds")),)
        if of.name == "interrupt":
            return (("draining", of.number("notice")), ("away", of.number("away")))
        return ()


def of_request(text: str) -> Fault:
    """Read the fault of one request."""
    fault, _ = _read(text, {})
    if fault.name in OF_A_FLEET:
        raise NoFault(f"`{fault.name}` is a fault of a fleet, not of a request")
    return fault


def of_fleet(text: str, now_s: float) -> Rule:
    """Read the fault of a fleet, with `share`, `count` and `seed` among its keys."""
    fault, whom = _read(text, WHOM)
    if whom and fault.name in OF_A_FLEET:
        raise NoFault(f"`{fault.name}` strikes every request: it has no `{next(iter(whom))}`")
    count = whom.get("count")
    return Rule(
        fault,
        now_s,
        share=float(whom.get("share", 1.0)),
        count=None if count is None else int(count),
        seed=int(whom.get("seed", 0)),
    )


def of_json(raw: bytes, now_s: float) -> Rule:
    """Read `{"fault": text, "share", "count", "seed"}`."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("fault"), str):
        raise NoFault('the body is not a JSON object with a `fault` (`{"fault": "reset after=3"}`)')
    words = [body["fault"]]
    for key, value in body.items():
        if key == "fault":
            continue
        if key not in WHOM:
            raise NoFault(f"unknown key `{key[:SHOWN]}` {suggest(key[:SHOWN], ['fault', *WHOM])}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NoFault(f"`{key}` is not {WHOM[key].valid}")
        words.append(f"{key}={value!r}")
    return of_fleet(" ".join(words), now_s)


def _read(text: str, more: Mapping[str, Key]) -> tuple[Fault, dict[str, Value]]:
    """Return the fault, and the values of the keys beside its own."""
    name, *words = text.split() or [""]
    if name not in FAULTS:
        raise NoFault(f"unknown fault `{name[:SHOWN]}` {suggest(name[:SHOWN], FAULTS)}")
    keys = {**FAULTS[name], **more}
    given: dict[str, Value] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise NoFault(f"`{word[:SHOWN]}` is not of the form key=value")
        if key not in keys:
            raise NoFault(f"`{name}` has no `{key[:SHOWN]}` {suggest(key[:SHOWN], keys)}")
        if key in given:
            raise NoFault(f"`{key}` stands here twice")
        try:
            given[key] = keys[key].read(value)
        except (ValueError, OverflowError):
            said = f"`{key}` of `{name}` can't be `{value[:SHOWN]}`: it is {keys[key].valid}"
            raise NoFault(said) from None
    own = {key: given.pop(key, form.default) for key, form in FAULTS[name].items()}
    values = {key: value for key, value in own.items() if value is not None}
    asked = " ".join([name, *(f"{key}={_shown(value)}" for key, value in values.items())])
    return Fault(name, asked, values), given


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"


def _draw(seed: int, nth: int) -> float:
    """Return a number from 0 to below 1 that this seed always has for its nth request."""
    digest = hashlib.blake2b(f"{seed}:{nth}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48

"""Sluice's own receipts as a trace: who asked what is known, so nothing of it is drawn.

What a request was is its `facts`; how long the answer was, its `charge`. A request that was
refused was asked too. A receipt is written at its request's end, so the files are put in order.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import blake2b
from math import inf
from random import Random
from types import MappingProxyType
from typing import Any, Final

import orjson

from policies.model import SHADOW, Facts
from router.receipt import facts_from
from router.traces.arrivals import (
    LATEST_S,
    MOST_REQUESTS,
    MOST_TOKENS,
    Span,
    gaps,
    in_order,
    taken,
    zeros,
)
from router.traces.files import invalid
from router.traces.trace import UNKNOWN, Trace
from router.traces.window import WHOLE, Window, part

OWN: Final = frozenset(  # of each request; the rest of its facts is its kind
    ("at", "complexity", "p_small", "tokens_in", "tokens_out", "tokens_in_bound")
)
TORN: Final = b'{"id":"'
ASSUMED: Final = (
    "who asked what is what the receipts say; the trace's mix is not used",
    "decisions see the prompt tokens that the router estimated; time and cost those counted",
    "whether the small model's answer would do is drawn with the receipt's p_small",
)


@dataclass(slots=True)
class Passed:
    """The requests outside of the window: how many, the first and the last."""

    count: int = 0
    first_s: float = inf
    last_s: float = -inf

    def add(self, at_s: float) -> None:
        self.count += 1
        self.first_s, self.last_s = min(at_s, self.first_s), max(at_s, self.last_s)


@dataclass(slots=True)
class Found:
    """What was read so far. A kind is known by a hash of it: a million tenants are a few 100 MB."""

    window: Window = WHOLE
    passed: Passed = field(default_factory=Passed)
    at_s: array[float] = field(default_factory=lambda: array("d"))
    tokens_in: array[int] = field(default_factory=lambda: array("l"))
    counted: array[int] = field(default_factory=lambda: array("l"))
    tokens_out: array[int] = field(default_factory=lambda: array("l"))
    expected: array[int] = field(default_factory=lambda: array("l"))
    bound: array[int] = field(default_factory=lambda: array("l"))
    complexity: array[float] = field(default_factory=lambda: array("d"))
    p_small: array[float] = field(default_factory=lambda: array("d"))
    kind: array[int] = field(default_factory=lambda: array("l"))
    kinds: list[Facts] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)
    lists: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    span: Span = field(default_factory=Span)
    unanswered: int = 0
    shadow: int = 0
    torn: int = 0


def is_first(value: Mapping[str, Any]) -> bool:
    return "facts" in value


def read(found: Found, name: str, lines: Iterable[tuple[int, bytes]]) -> None:
    """Add the receipts of the lines; raise Invalid."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except ValueError:
            if not line.startswith(TORN):
                told = "no JSON: each line of a file of receipts is one"
                raise invalid(f"{name}:{number}", told) from None
            found.torn += 1
            continue
        try:
            _add(found, value)
        except ValueError as exc:
            raise invalid(f"{name}:{number}", str(exc)) from None


def trace(name: str, found: Found, seed: int) -> Trace:
    """Return the trace of what was read, in the order of time."""
    order, _ = in_order(found.at_s)
    at_s = taken(found.at_s, order)
    draw = Random(f"{seed}:acceptable").random  # noqa: S311  (traffic, no secrets)
    p_small = taken(found.p_small, order)
    tokens_in, tokens_out = taken(found.tokens_in, order), taken(found.tokens_out, order)
    found.known.clear()
    return Trace(
        name=name,
        start_s=at_s[0],
        at_s=array("d", (at - at_s[0] for at in at_s)),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        expected=taken(found.expected, order),
        complexity=taken(found.complexity, order),
        p_small=p_small,
        acceptable=array("b", (draw() < one for one in p_small)),
        kind=taken(found.kind, order),
        kinds=tuple(found.kinds),
        assumptions=(*part(found.window, *_counts(found)), *ASSUMED, *_assumed(found)),
        warnings=(*_warnings(found), *gaps(at_s), *zeros(tokens_in, tokens_out)),
        bound=taken(found.bound, order),
        counted=taken(found.counted, order),
    )


def _counts(found: Found) -> tuple[int, int]:
    kept = len(found.at_s)
    return kept, kept + found.passed.count


def _assumed(found: Found) -> Iterator[str]:
    if found.unanswered:
        told = f"{found.unanswered:,} of {len(found.at_s):,} requests had no answer to count"
        yield f"{told}: theirs are taken to be as long as was expected"


def _warnings(found: Found) -> Iterator[str]:
    if found.shadow:
        yield f"{found.shadow:,} receipts of shadow judging are left out: no caller asked for it"
    if found.torn:
        yield f"{found.torn:,} receipts are cut off (a disk was full): they are left out"


def _add(found: Found, value: Any) -> None:  # noqa: ANN401  (what JSON can hold)
    """Add one receipt; raise ValueError saying what is wrong with it."""
    if not isinstance(value, dict) or not isinstance(facts := value.get("facts"), dict):
        raise ValueError("no receipt: an object with `facts` is due; one trace has one format")  # noqa: TRY004  (the file is wrong)
    of_shadow = facts.get("tenant") == SHADOW
    if found.window != WHOLE and _passes(found, facts.get("at"), is_request=not of_shadow):
        return
    if of_shadow:
        found.shadow += 1
        return
    _check(facts)
    counted, made = _charged(value.get("charge") or {})
    if len(found.at_s) >= MOST_REQUESTS:
        raise ValueError(f"more than {MOST_REQUESTS:,} requests: give a part of the trace")
    at_s = datetime.fromisoformat(facts["at"]).timestamp()
    found.span.take(at_s)
    found.kind.append(_kind(found, facts))
    if made is None:
        found.unanswered += 1
        made = facts["tokens_out"] * facts.get("n", 1)
    found.at_s.append(at_s)
    found.tokens_in.append(facts["tokens_in"])
    found.counted.append(facts["tokens_in"] if counted is None else counted)
    found.tokens_out.append(made)
    found.expected.append(facts["tokens_out"])
    bound = facts.get("tokens_in_bound")
    found.bound.append(UNKNOWN if bound is None else bound)
    found.complexity.append(facts["complexity"])
    found.p_small.append(facts["p_small"])


def _passes(found: Found, at: object, *, is_request: bool) -> bool:
    """Tell whether a receipt is outside of the window: then no more of it is looked at. It counts
    where it is a caller's request.
    """
    if not isinstance(at, str) or not _is_time(at):
        return False
    at_s = datetime.fromisoformat(at).timestamp()
    if found.window.holds(at_s):
        return False
    if is_request:
        found.passed.add(at_s)
    return True


def _check(facts: dict[str, Any]) -> None:
    if len(facts) < len(CHECKS):
        facts_from(facts)  # raises what is missing
    for name, check, due in CHECKS:
        if name in facts and not check(facts[name]):
            raise ValueError(f"`facts.{name}` must be {due}")


def _charged(charge: object) -> tuple[int | None, int | None]:
    """Return the tokens in and out of an answer, as the fleet counted them; None: unknown."""
    if not isinstance(charge, dict):
        raise ValueError("`charge` must be an object")  # noqa: TRY004  (the file is wrong)
    counted, made = charge.get("tokens_in"), charge.get("tokens_out")
    for name, tokens in (("tokens_in", counted), ("tokens_out", made)):
        if tokens is not None and not _is_tokens(tokens):
            raise ValueError(f"`charge.{name}` must be {TOKENS}, or null")
    return counted, made


def _kind(found: Found, facts: dict[str, Any]) -> int:
    own = {name: facts[name] for name in facts if name not in OWN}
    key = blake2b(orjson.dumps(own), digest_size=16).digest()
    place = found.known.get(key)
    if place is None:
        facts_from(facts)  # raises what is unknown or missing
        for name in INTERNED:
            if isinstance(own.get(name), str):
                own[name] = sys.intern(own[name])
        for name, value in own.items():
            if isinstance(value, list):  # the rights of most keys are alike
                listed = tuple(value)
                own[name] = found.lists.setdefault(listed, listed)
        blank = {"at": "", "complexity": 0.0, "p_small": 0.0, "tokens_in": 0, "tokens_out": 0}
        own["tags"] = own["tags"] or NO_TAGS
        found.kinds.append(facts_from({**own, **blank}))
        place = found.known[key] = len(found.known)
    return place


INTERNED: Final = ("team", "task", "tier", "language", "service_class", "requested_model")
NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
TOKENS: Final = f"a whole number of tokens from 0 to {MOST_TOKENS:,}"


def _is_tokens(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_TOKENS


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]  # checked


def _is_time(value: object) -> bool:
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]  # or raises
    except (TypeError, ValueError):
        return False
    return at.tzinfo is not None and 0 <= at.timestamp() < LATEST_S


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= 1_000  # noqa: PLR2004  (choices: the API allows fewer)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_tags(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and value >= 0  # type: ignore[operator]  # checked


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


def _checks() -> Iterator[tuple[str, Callable[[object], bool], str]]:
    """Yield of each fact: its name, whether a value is one, and what is due."""
    yield "at", _is_time, "a time like 2026-01-05T08:00:00.000Z"
    for name in ("tokens_in", "tokens_out"):
        yield name, _is_tokens, TOKENS
    for name in ("tokens_in_bound", "max_tokens"):
        yield name, _or_null(_is_tokens), f"{TOKENS}, or null"
    for name in ("complexity", "p_small"):
        yield name, _is_share, "a number from 0 to 1"
    yield "spread", _or_null(_is_share), "a number from 0 to 1, or null"
    for name in ("tenant", "key", "task", "tier", "language", "service_class", "requested_model"):
        yield name, _is_text, "a text"
    yield "team", _or_null(_is_text), "a text or null"
    yield "tags", _are_tags, "an object of texts"
    for name in ("needs", "may", "downgraded"):
        yield name, _are_texts, "a list of texts"
    for name in ("lanes", "models"):
        yield name, _or_null(_are_texts), "a list of texts, or null"
    yield "n", _is_count, "a whole number from 1 to 1,000"
    for name in ("max_usd", "slo_ttft_ms"):
        yield name, _or_null(_is_amount), "a number, 0 or more, or null"
    for name in ("labels", "labels_acceptable"):
        yield name, _is_tokens, "a whole number, 0 or more"


CHECKS: Final = tuple(_checks())
assert {name for name, _, _ in CHECKS} == {f.name for f in fields(Facts)}

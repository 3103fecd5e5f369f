"""Makes arrivals of `gen:KIND?name=value&...`: as theory has them, seeded."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType
from typing import Final

from router.traces.arrivals import LATEST_S, MOST_REQUESTS, MOST_S, UNDATED_S, Arrivals
from router.traces.files import invalid
from router.traces.lengths import length
from yamlfile import full_width

PREFIX: Final = "gen:"
DAY_S: Final = 86_400.0
HOUR_S: Final = 3_600.0
IN, OUT = "lognormal:1020:1", "lognormal:129:1"
"""Medians of Azure's trace of conversations (Splitwise, ISCA 2024); their spread is assumed."""

Numbers = Mapping[str, float]
COMMON: Final = {"rate": (1.0, 1e-6, 1e6), "seconds": (HOUR_S, 1e-3, MOST_S)}


def _poisson(given: Numbers, draw: Random) -> Iterator[float]:
    rate, at_s = given["rate"], 0.0
    while True:
        at_s += draw.expovariate(rate)
        yield at_s


def _gamma(given: Numbers, draw: Random) -> Iterator[float]:
    """Bursts: gaps whose standard deviation is `cv` times their mean."""
    shape = 1 / given["cv"] ** 2
    scale, at_s = 1 / (given["rate"] * shape), 0.0
    while True:
        at_s += draw.gammavariate(shape, scale)
        yield at_s


def _day(given: Numbers, draw: Random) -> Iterator[float]:
    """A rate with one wave a day around its mean: a Poisson stream, thinned."""
    amplitude, peak = given["amplitude"], given["peak"]
    most, at_s = given["rate"] * (1 + amplitude), 0.0
    while True:
        at_s += draw.expovariate(most)
        hour = (given["start_s"] + at_s) % DAY_S / HOUR_S
        wave = 1 + amplitude * math.cos((hour - peak) * math.pi / 12)
        if draw.random() * (1 + amplitude) < wave:
            yield at_s


Stream = Callable[[Numbers, Random], Iterator[float]]
KINDS: Final[Mapping[str, tuple[Stream, Mapping[str, tuple[float, float, float]]]]] = (
    MappingProxyType(
        {  # of each parameter: unless given, its least, its most
            "poisson": (_poisson, COMMON),
            "gamma": (_gamma, {**COMMON, "cv": (3.0, 0.01, 100.0)}),
            "day": (
                _day,
                {
                    "rate": COMMON["rate"],
                    "days": (1.0, 1e-3, MOST_S / DAY_S),
                    "amplitude": (0.8, 0.0, 1.0),
                    "peak": (15.0, 0.0, 24.0),
                },
            ),
        }
    )
)
TEXTS: Final[Mapping[str, str]] = MappingProxyType({"in": IN, "out": OUT, "start": "2026-01-05"})


def generated(text: str, seed: int) -> Arrivals:
    """Return the arrivals of `gen:...`; raise Invalid saying what would be valid."""
    if typed := full_width(text):
        raise invalid(text, typed)
    kind, _, query = text.removeprefix(PREFIX).partition("?")
    if kind not in KINDS:
        raise invalid(text, f"unknown generator `{kind}` (known: {', '.join(KINDS)})")
    stream, numbers = KINDS[kind]
    given = _parameters(text, kind, query)
    figures = {name: _number(text, name, given, numbers[name]) for name in numbers}
    figures["start_s"] = _start_s(text, given["start"])
    ends_s = figures["days"] * DAY_S if "days" in figures else figures["seconds"]
    if figures["rate"] * ends_s > MOST_REQUESTS:
        most = f"at most {MOST_REQUESTS:,}"
        raise invalid(text, f"{figures['rate'] * ends_s:,.0f} requests are too many: {most}")
    at_s = array("d")
    for at in stream(figures, Random(f"{seed}:arrivals")):  # noqa: S311  (traffic, no secrets)
        if at >= ends_s:
            break
        at_s.append(at)
    if not at_s:
        raise invalid(text, "not one request comes in that time: raise `rate`, or the time")
    return Arrivals(
        text,
        figures["start_s"],
        at_s,
        _lengths(text, "in", given, len(at_s), seed),
        _lengths(text, "out", given, len(at_s), seed),
        (f"the arrivals and the lengths are generated (seed {seed}): {_told(kind, given)}",),
    )


def _parameters(text: str, kind: str, query: str) -> dict[str, str]:
    """Return the texts of all parameters, those that weren't given too."""
    numbers = KINDS[kind][1]
    known = {name: f"{usual:g}" for name, (usual, _, _) in numbers.items()} | dict(TEXTS)
    given: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known:
            raise invalid(text, f"`{kind}` has no parameter `{name}` (known: {', '.join(known)})")
        if name in given:
            raise invalid(text, f"`{name}` is given twice")
        given[name] = value
    return known | given


def _number(
    text: str, name: str, given: Mapping[str, str], bounds: tuple[float, float, float]
) -> float:
    _, least, most = bounds
    try:
        figure = float(given[name])
    except ValueError:
        figure = math.nan
    if not least <= figure <= most:
        told = f"`{name}` must be a number from {least:g} to {most:,.0f}"
        raise invalid(text, f"{told}, not `{given[name]}`")
    return figure


def _start_s(text: str, given: str) -> float:
    try:
        start = datetime.fromisoformat(given)
        start_s = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        start_s = -1.0
    if not 0 <= start_s < LATEST_S:
        told = f"`start` must be a time from 1970 to 2199, like 2026-01-05T08:00:00Z, not `{given}`"
        raise invalid(text, told)
    return start_s


def _lengths(text: str, name: str, given: Mapping[str, str], count: int, seed: int) -> array[int]:
    try:
        draw = length(given[name])
    except ValueError as exc:
        raise invalid(text, f"`{name}`: {exc}") from None
    random = Random(f"{seed}:{name}")  # noqa: S311  (traffic, no secrets)
    return array("l", (draw(random) for _ in range(count)))


def _told(kind: str, given: Mapping[str, str]) -> str:
    return f"{kind}, " + ", ".join(f"{name} {value}" for name, value in given.items())


assert datetime.fromtimestamp(UNDATED_S, UTC).date().isoformat() == TEXTS["start"]

"""The part of a trace that is asked for, by the clock. Pure."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from dataclasses import dataclass
from math import inf
from typing import Final

from router.ledger.entry import stamp
from router.traces.arrivals import Columns, taken
from router.traces.files import invalid


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds since 1970: `start_s` belongs to it, `end_s` doesn't."""

    start_s: float = -inf
    end_s: float = inf

    def holds(self, at_s: float) -> bool:
        return self.start_s <= at_s < self.end_s

    def __str__(self) -> str:
        begins = "" if self.start_s == -inf else f"from {stamp(self.start_s)} "
        ends = "" if self.end_s == inf else f"to before {stamp(self.end_s)}"
        return (begins + ends).strip()


WHOLE: Final = Window()


def within(where: str, read: Columns, window: Window) -> Columns:
    """Return the requests in the window; raise Invalid if there are none."""
    if window == WHOLE or not read.at_s:
        return read
    places = array("l", (i for i, at_s in enumerate(read.at_s) if window.holds(at_s)))
    if not places:
        raise invalid(where, nothing(window, min(read.at_s), max(read.at_s)))
    return Columns(
        taken(read.at_s, places), taken(read.tokens_in, places), taken(read.tokens_out, places)
    )


def nothing(window: Window, first_s: float, last_s: float) -> str:
    """Return what is told of a window without requests, in a trace that has some elsewhere."""
    spans = f"the trace goes from {stamp(first_s)} to {stamp(last_s)}"
    return f"no request came in the time asked for, {window}: {spans}"


def part(window: Window, kept: int, whole: int) -> tuple[str, ...]:
    """Return what a report says of it."""
    if window == WHOLE:
        return ()
    return (f"of the trace's {whole:,} requests the {kept:,} {window} are taken",)

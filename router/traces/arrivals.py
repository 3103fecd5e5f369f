"""When requests came and how long they were, put in order; and what is odd about them."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, TypeVar

from router.ledger.entry import stamp

MOST_TOKENS: Final = 100_000_000  # of one request: beyond every context; a typing mistake
MOST_REQUESTS: Final = 50_000_000  # some 3 GB
T = TypeVar("T", int, float)

LATEST_S: Final = 7_258_118_400.0  # the year 2200
GAP_S: Final = 60.0
GAP_TIMES: Final = 20.0  # a Poisson stream of a million requests has no gap of 20 mean ones
GAP_MOST_S: Final = 3600.0  # always told: in a trace of few requests the mean gap says little
MOST_S: Final = 366 * 86_400.0  # of a trace: one wild time would have a replay go on for years
UNDATED_S: Final = 1_767_571_200.0  # 2026-01-05 00:00 UTC, a Monday
UNDATED: Final = (
    "the trace has no dates: it is taken to begin on Monday, 2026-01-05 00:00 UTC; rules by the "
    "hour depend on it"
)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Columns of one length, in the order of `at_s`; see Trace."""

    name: str
    start_s: float
    at_s: array[float]
    tokens_in: array[int]
    tokens_out: array[int]
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """What a reader appends to, in the order of the file. `at_s` is since 1970."""

    at_s: array[float]
    tokens_in: array[int]
    tokens_out: array[int]


@dataclass(slots=True)
class Span:
    """The first and the last time of what was read so far."""

    first_s: float = inf
    last_s: float = -inf

    def take(self, at_s: float) -> None:
        """Raise ValueError where the trace would be longer than MOST_S."""
        first_s, last_s = min(at_s, self.first_s), max(at_s, self.last_s)
        if last_s - first_s > MOST_S:
            raise ValueError(self._beyond(at_s))
        self.first_s, self.last_s = first_s, last_s

    def _beyond(self, at_s: float) -> str:
        after = at_s > self.last_s
        far = f"after {stamp(self.first_s)}" if after else f"before {stamp(self.last_s)}"
        told = f"{stamp(at_s)} is more than {MOST_S / 86_400:,.0f} days {far}, of another request"
        return f"{told}: correct the time, or give a part of the trace"


def columns() -> Columns:
    return Columns(array("d"), array("l"), array("l"))


def arrivals(name: str, read: Columns, assumptions: tuple[str, ...] = ()) -> Arrivals:
    """Return what was read, in the order of time, from the first request on."""
    order, disorder = in_order(read.at_s)
    at_s = taken(read.at_s, order)
    tokens_in, tokens_out = taken(read.tokens_in, order), taken(read.tokens_out, order)
    start_s = at_s[0]
    warnings = (*disorder, *gaps(at_s), *zeros(tokens_in, tokens_out))
    since = array("d", (at - start_s for at in at_s))
    return Arrivals(name, start_s, since, tokens_in, tokens_out, assumptions, warnings)


def in_order(at_s: Sequence[float]) -> tuple[array[int] | None, tuple[str, ...]]:
    """Return the places in the order of time (None: as they are), and a warning if they moved.

    Several frontends write one trace: lines a little out of order are no mistake of the file's.
    """
    latest, late, most_s = float("-inf"), 0, 0.0
    for at in at_s:
        if at < latest:
            late += 1
            most_s = max(most_s, latest - at)
        else:
            latest = at
    if not late:
        return None, ()
    told = f"{late:,} of {len(at_s):,} requests stood after a later one, by up to {most_s:,.3f} s"
    order = array("l", sorted(range(len(at_s)), key=at_s.__getitem__))
    return order, (f"{told}: they were put in order",)


def taken(column: array[T], order: array[int] | None) -> array[T]:
    """Return the column in this order."""
    if order is None:
        return column
    return array(column.typecode, map(column.__getitem__, order))


def gaps(at_s: Sequence[float]) -> tuple[str, ...]:
    """Return a warning if nothing came for far longer than usual, or for more than an hour.
    `at_s`: since 1970, in order.
    """
    if len(at_s) < 2:  # noqa: PLR2004  (a gap is between two)
        return ()
    usual_s = (at_s[-1] - at_s[0]) / (len(at_s) - 1)
    least_s = min(max(GAP_S, GAP_TIMES * usual_s), GAP_MOST_S)
    found, longest_s, begins_s = 0, 0.0, 0.0
    before = at_s[0]
    for at in at_s:
        gap_s = at - before
        if gap_s > least_s:
            found += 1
            if gap_s > longest_s:
                longest_s, begins_s = gap_s, before
        before = at
    if not found:
        return ()
    told = f"gaps of more than {least_s:,.0f} s without a request: {found:,}; the longest is"
    return (f"{told} {longest_s:,.0f} s from {stamp(begins_s)}; fleets stand idle there",)


def zeros(tokens_in: array[int], tokens_out: array[int]) -> tuple[str, ...]:
    """Return a warning of each kind of length that is 0 somewhere."""
    counted = ("prompt tokens", tokens_in.count(0)), ("output tokens", tokens_out.count(0))
    return tuple(
        f"requests with 0 {what}: {count:,}; they are kept as they are"
        for what, count in counted
        if count
    )

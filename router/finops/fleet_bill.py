"""Every fleet's bill over a period, closed: allocated + idle + variance = bill. Pure.

A request is busy while it holds a place, and while it waits for one: so no hour of a fleet is
busier than what was paid for it. Sums are exact and are rounded to whole nano-USD once a fleet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime

HOUR_S = 3600
MS_PER_HOUR = 3_600_000
Money = TypeVar("Money", int, Fraction)
Key = TypeVar("Key", str, tuple[str, str])
OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Costed:
    """A fleet's replicas over (a part of) one minute."""

    fleet: str
    minute: str
    replica_seconds: float
    cost: Fraction  # nano-USD
    assumed: bool
    emulated: bool


@dataclass(frozen=True, slots=True)
class FleetBill:
    """Nano-USD. `bill` None: nobody recorded the fleet's time, so idle and variance are unknown.

    `busy`: of the bill, by the hour; without a bill as it is. `assumed`: how much of the bill was
    not observed; `busy_unknown`: charges whose time on the
    fleet can't be priced, counted as busy for what they were charged.
    """

    fleet: str
    bill: int | None
    allocated: int
    busy: int
    assumed: int
    busy_unknown: int
    emulated: bool

    @property
    def idle(self) -> int | None:
        return None if self.bill is None else self.bill - self.busy

    @property
    def variance(self) -> int | None:
        return None if self.bill is None else self.busy - self.allocated


def costed(times: Iterable[FleetTime]) -> Iterator[Costed]:
    """Price the rows. In one minute of a fleet the observed time goes first; what was assumed of
    the same minute fills only the rest of it. A fleet's rows come in the order of their minutes.
    """
    held: dict[str, list[FleetTime]] = {}
    for row in times:
        minute = held.setdefault(row.fleet, [])
        if minute and minute[0].minute != row.minute:
            yield from _minute(minute)
            minute.clear()
        minute.append(row)
    for minute in held.values():
        yield from _minute(minute)


def _minute(rows: list[FleetTime]) -> Iterator[Costed]:
    seen = sum(row.seconds for row in rows if row.source == OBSERVED)
    for row in rows:
        assumed = row.source != OBSERVED
        seconds = max(0.0, row.seconds - seen) if assumed else row.seconds
        if seconds:
            held = seconds * row.replicas
            cost = Fraction(seconds) * row.replicas * row.nano_hour / HOUR_S
            yield Costed(row.fleet, row.minute, held, cost, assumed, row.emulated)


def busy_cost(entry: Entry) -> Fraction | None:
    """Return what the attempt's place on its replica cost, or None where that is unknown."""
    if not entry.capacity or entry.nano_hour is None:
        return None
    return Fraction(entry.service_ms) * entry.nano_hour / (entry.capacity * MS_PER_HOUR)


class FleetBills:
    """Adds charges and fleet times in any order."""

    def __init__(self) -> None:
        self._bill: dict[str, Fraction] = {}
        self._assumed: dict[str, Fraction] = {}
        self._allocated: dict[str, int] = {}
        self._busy: dict[tuple[str, str], Fraction] = {}  # by fleet and hour
        self._paid: dict[tuple[str, str], Fraction] = {}
        self._busy_unknown: dict[str, int] = {}
        self._emulated: set[str] = set()

    def charge(self, entry: Entry) -> None:
        busy = busy_cost(entry)
        _add(self._allocated, entry.fleet, entry.nano)
        _add(
            self._busy,
            (entry.fleet, _hour(entry.at)),
            Fraction(entry.nano) if busy is None else busy,
        )
        if busy is None:
            _add(self._busy_unknown, entry.fleet, entry.nano)
        if entry.emulated:
            self._emulated.add(entry.fleet)

    def time(self, row: Costed) -> None:
        _add(self._bill, row.fleet, row.cost)
        _add(self._paid, (row.fleet, _hour(row.minute)), row.cost)
        _add(self._assumed, row.fleet, row.cost if row.assumed else Fraction())
        if row.emulated:
            self._emulated.add(row.fleet)

    def done(self) -> tuple[FleetBill, ...]:
        busy_of = dict[str, Fraction]()
        for (fleet, hour), busy in self._busy.items():
            paid = self._paid.get((fleet, hour), Fraction()) if fleet in self._bill else busy
            _add(busy_of, fleet, max(Fraction(), min(busy, paid)))
        return tuple(
            FleetBill(
                fleet,
                round(self._bill[fleet]) if fleet in self._bill else None,
                self._allocated.get(fleet, 0),
                round(busy_of.get(fleet, 0)),
                round(self._assumed.get(fleet, 0)),
                self._busy_unknown.get(fleet, 0),
                fleet in self._emulated,
            )
            for fleet in sorted({*self._bill, *self._allocated})
        )


def _hour(at: str) -> str:
    return at[: len("2026-11-21T09")]


def _add(sums: dict[Key, Money], key: Key, nano: Money) -> None:
    held = sums.get(key)
    sums[key] = nano if held is None else held + nano

"""The cloud's bill against the fleets' time: by fleet and day, what differs, and why. Pure.

difference = bill - expected = by price + by hours + by other lines
expected   = replica-hours x price, of the ledger's fleet times
by hours   = (the bill's machine hours - replica-hours) x our price an hour
by other   = the fleet's lines that are no machine's: storage, traffic
by price   = the rest: the bill's machine hours at another price
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from router.finops.bill_lines import Kind, Line
from router.finops.fleet_bill import HOUR_S, Costed
from router.finops.period import moment

Cause = Literal[
    "", "price", "hours", "other lines", "unknown hours", "no lines", "not in the ledger"
]
DAY = timedelta(days=1)


@dataclass(slots=True)
class _Cell:
    """One fleet on one day; nano-USD."""

    bill: int = 0
    machines: int = 0  # of the bill: lines that have hours
    hours: Decimal = Decimal()  # the bill's
    lines: int = 0
    expected: Fraction = Fraction()
    replica_hours: Fraction = Fraction()
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Nano-USD and hours; None: that side has nothing of the fleet on this day. `ok`: within the
    tolerance. `by_...` add up to the difference; None where the bill tells no hours.
    """

    fleet: str
    day: date
    bill: int | None
    expected: int | None
    hours: Fraction
    replica_hours: Fraction
    by_price: int | None
    by_hours: int | None
    by_other: int | None
    cause: Cause
    ok: bool

    @property
    def difference(self) -> int:
        return (self.bill or 0) - (self.expected or 0)


@dataclass(frozen=True, slots=True)
class Apart:
    """What is in the bill and in no row: nano-USD by fleet (None: no tag) or by service."""

    unallocated: Mapping[str, int]
    unallocated_lines: int
    credits: Mapping[str | None, int]
    taxes: Mapping[str | None, int]
    purchases: Mapping[str | None, int]


@dataclass(slots=True)
class Reconciliation:
    """Adds lines and times in any order; holds one cell a fleet and day. `within`: UTC days."""

    usd: Callable[[int, str], int]  # nano of a currency -> nano-USD; raises for an unknown one
    within: tuple[date | None, date | None] = (None, None)
    lines: int = 0  # that begin in the period
    emulated: set[str] = field(default_factory=set)
    _cells: dict[tuple[str, date], _Cell] = field(default_factory=dict)
    _days: set[date] = field(default_factory=set)
    _unallocated: Counter[str] = field(default_factory=Counter)
    _unallocated_lines: int = 0
    _apart: dict[Kind, Counter[str | None]] = field(default_factory=dict)

    def line(self, line: Line) -> None:
        """Add a line of the bill; one over several days is spread over them by time."""
        day = line.start.date()
        last = max(line.start, line.end - timedelta.resolution).date()
        if day == last:
            if self._is_within(day):
                self.lines += 1
                self._unallocated_lines += _is_unallocated(line)
                self._part(line, day, line.nano, line.hours)
            return
        days = _days_of(line)
        if any(self._is_within(day) for day, _, _ in days):
            self._unallocated_lines += _is_unallocated(line)
        for day, before, after in days:
            if self._is_within(day):
                self.lines += before == 0
                nano = round(line.nano * after) - round(line.nano * before)
                hours = None if line.hours is None else line.hours * _decimal(after - before)
                self._part(line, day, nano, hours)

    def time(self, row: Costed) -> None:
        if row.emulated:
            self.emulated.add(row.fleet)
            return
        day = moment(row.minute).astimezone(UTC).date()
        if not self._is_within(day):
            return
        cell = self._cells.setdefault((row.fleet, day), _Cell())
        cell.timed = True
        cell.expected += row.cost
        cell.replica_hours += Fraction(row.replica_seconds) / HOUR_S

    def days(self) -> tuple[date, date] | None:
        """Return the first day of the bill and the one after its last; None: it has no lines."""
        return (min(self._days), max(self._days) + DAY) if self._days else None

    def rows(self, tolerance: float) -> tuple[Row, ...]:
        return tuple(
            _row(fleet, day, cell, tolerance) for (fleet, day), cell in sorted(self._cells.items())
        )

    def apart(self) -> Apart:
        def of(kind: Kind) -> Mapping[str | None, int]:
            return dict(self._apart.get(kind, Counter()))

        return Apart(
            dict(self._unallocated.most_common()),
            self._unallocated_lines,
            of("credit"),
            of("tax"),
            of("purchase"),
        )

    def _is_within(self, day: date) -> bool:
        first, end = self.within
        return (first is None or day >= first) and (end is None or day < end)

    def _part(self, line: Line, day: date, of_currency: int, hours: Decimal | None) -> None:
        nano = self.usd(of_currency, line.currency)
        self._days.add(day)
        if line.kind != "usage":
            self._apart.setdefault(line.kind, Counter())[line.fleet] += nano
            return
        if line.fleet is None:
            self._unallocated[line.service] += nano
            return
        cell = self._cells.get((line.fleet, day))
        if cell is None:
            cell = self._cells[line.fleet, day] = _Cell()
        cell.bill += nano
        cell.lines += 1
        if hours is not None:
            cell.machines += nano
            cell.hours += hours


def _is_unallocated(line: Line) -> bool:
    return line.kind == "usage" and line.fleet is None


def _decimal(share: Fraction) -> Decimal:
    return Decimal(share.numerator) / share.denominator


def _days_of(line: Line) -> list[tuple[date, Fraction, Fraction]]:
    """Return the days of a line, each with the shares of its time before it and up to its end."""
    whole = (line.end - line.start) // timedelta.resolution
    at, before, days = line.start, Fraction(0), []
    while at < line.end:
        until = min(line.end, datetime(at.year, at.month, at.day, tzinfo=UTC) + DAY)
        after = before + Fraction((until - at) // timedelta.resolution, whole)
        days.append((at.date(), before, after))
        at, before = until, after
    return days


def _row(fleet: str, day: date, cell: _Cell, tolerance: float) -> Row:
    bill = cell.bill if cell.lines else None
    expected = round(cell.expected) if cell.timed else None
    difference = (bill or 0) - (expected or 0)
    by_price, by_hours, by_other = _causes(cell, difference)
    ok = abs(difference) <= tolerance * abs(expected or 0)
    cause: Cause = ""
    if not ok:
        cause = _cause(bill, expected, by_price, by_hours, by_other)
    return Row(
        fleet, day, bill, expected, Fraction(cell.hours), cell.replica_hours,
        by_price, by_hours, by_other, cause, ok,
    )  # fmt: skip


def _causes(cell: _Cell, difference: int) -> tuple[int | None, int | None, int | None]:
    if not (cell.lines and cell.timed and cell.hours):
        return None, None, None
    other = cell.bill - cell.machines
    if not cell.replica_hours:
        return 0, difference - other, other
    ours = cell.expected / cell.replica_hours
    hours = round((Fraction(cell.hours) - cell.replica_hours) * ours)
    return difference - hours - other, hours, other


def _cause(
    bill: int | None, expected: int | None, price: int | None, hours: int | None, other: int | None
) -> Cause:
    if bill is None:
        return "no lines"
    if expected is None:
        return "not in the ledger"
    if price is None or hours is None or other is None:
        return "unknown hours"
    parts: tuple[tuple[int, Cause], ...] = (
        (price, "price"),
        (hours, "hours"),
        (other, "other lines"),
    )
    return max(parts, key=lambda part: abs(part[0]))[1]


def total(rows: Iterable[Row]) -> tuple[int, int]:
    """Return the bill and what was expected, of all rows."""
    found = tuple(rows)
    return sum(row.bill or 0 for row in found), sum(row.expected or 0 for row in found)

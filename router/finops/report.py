"""What a period cost, by whom or what: rows that reconcile with the fleets' bill. Pure.

charges + idle + variance = bill + charges on fleets whose bill nobody recorded
saved = baseline - charges - router's own + charges of requests whose baseline is unknown
saved_net = saved - idle - variance
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from router.finops.fleet_bill import FleetBill, FleetBills, costed
from router.finops.tally import Sums, Tally, Value
from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime


@dataclass(frozen=True, slots=True)
class Totals:
    """Nano-USD over all rows; None: unknown. `without_bill`: charged on fleets without a bill."""

    sums: Sums
    bill: int
    idle: int | None
    variance: int | None
    without_bill: int

    @property
    def saved_net(self) -> int | None:
        saved = self.sums.saved
        if saved is None or self.idle is None or self.variance is None:
            return None
        return saved - self.idle - self.variance


@dataclass(frozen=True, slots=True)
class Report:
    """`rows`: the dearest first. `policies`: hashes of all that decided in the period."""

    by: str
    rows: tuple[tuple[Value, Sums], ...]
    fleets: tuple[FleetBill, ...]
    totals: Totals
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One calendar day or hour of the chart; `start` in the chart's zone."""

    start: datetime
    totals: Totals


def report(
    by: str,
    group: Callable[[Entry], Value],
    entries: Iterable[Entry],
    times: Iterable[FleetTime],
) -> Report:
    """Add up one period; every row is read once and none is kept."""
    tally, bills = Tally(group), FleetBills()
    policies: dict[str, None] = {}
    for entry in entries:
        tally.add(entry)
        bills.charge(entry)
        policies[entry.policy] = None
    for row in costed(times):
        bills.time(row)
    rows = tally.done()
    fleets = bills.done()
    ordered = sorted(rows.items(), key=lambda row: (-row[1].nano, row[0] or ""))
    return Report(by, tuple(ordered), fleets, totals(rows.values(), fleets), tuple(policies))


def slots(
    entries: Iterable[Entry], times: Iterable[FleetTime], start_of: Callable[[str], datetime]
) -> tuple[Slot, ...]:
    """Return every day or hour that has rows; a request counts where its last row is. `start_of`
    says when the slot of a row's time begins.
    """
    tally = Tally(lambda entry: start_of(entry.at).isoformat())
    bills: dict[str, FleetBills] = {}
    for entry in entries:
        tally.add(entry)
        bills.setdefault(start_of(entry.at).isoformat(), FleetBills()).charge(entry)
    for row in costed(times):
        bills.setdefault(start_of(row.minute).isoformat(), FleetBills()).time(row)
    sums: Mapping[Value, Sums] = tally.done()
    found = [
        Slot(datetime.fromisoformat(start), totals([sums.get(start, Sums())], bill.done()))
        for start, bill in bills.items()
    ]
    return tuple(sorted(found, key=lambda slot: slot.start))


def totals(rows: Iterable[Sums], fleets: Iterable[FleetBill]) -> Totals:
    whole = Sums()
    for sums in rows:
        whole += sums
    fleets = tuple(fleets)
    billed = [fleet for fleet in fleets if fleet.bill is not None]
    return Totals(
        whole,
        sum(fleet.bill or 0 for fleet in billed),
        sum(fleet.idle or 0 for fleet in billed) if billed else None,
        sum(fleet.variance or 0 for fleet in billed) if billed else None,
        sum(fleet.allocated for fleet in fleets if fleet.bill is None),
    )

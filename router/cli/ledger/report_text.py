"""A report as tables with a plain word on what the figures mean."""

from collections.abc import Iterator
from datetime import tzinfo

from router.cli.table import grid
from router.finops.fleet_bill import FleetBill
from router.finops.money import dollars, usd_cents, usd_text
from router.finops.period import Period, moment
from router.finops.report import Report, Totals
from router.finops.tally import Sums

HEAD = ("requests", "charged $", "marginal $", "router $", "baseline $", "saved $")
FLEETS = ("fleet", "bill $", "charged $", "idle $", "variance $", "note")
LOSS = (
    "A loss needn't be one: the baseline's card is that of a full machine, and nobody gets a p5\n"
    "at that price who can't fill it. So a CPU fleet that spares you a half-empty p5 shows a loss\n"
    "here; what that p5 would have cost is in no row (docs/ledger-reports.md)."
)


def report_text(found: Report, over: Period, zone: tzinfo, baselines: tuple[str, ...]) -> str:
    if not found.rows and not found.fleets:
        return f"{_when(over, zone)}: the ledger has no rows"
    cells = [(value or "(none)", *_cells(sums)) for value, sums in found.rows]
    cells.append(("total", *_cells(found.totals.sums)))
    parts = [
        _when(over, zone),
        "",
        grid((found.by, *HEAD), cells, left={found.by}),
        "",
        grid(FLEETS, [_fleet(fleet) for fleet in found.fleets], left={"fleet", "note"}),
        "",
        *_said(found, baselines),
    ]
    return "\n".join(parts)


def _when(over: Period, zone: tzinfo) -> str:
    if over.start is None and over.end is None:
        return "all that the ledger holds"
    parts = [] if over.start is None else [f"from {_clock(over.start, zone)}"]
    parts += [] if over.end is None else [f"up to {_clock(over.end, zone)}"]
    return f"{' '.join(parts)} ({zone})"


def _clock(text: str, zone: tzinfo) -> str:
    there = moment(text).astimezone(zone).replace(tzinfo=None)
    return there.isoformat(" ", "minutes")  # `strftime` pads no year before 1000


def _cells(sums: Sums) -> tuple[str, ...]:
    return (
        f"{sums.requests:,}",
        usd_cents(sums.nano),
        _some(sums.marginal, sums.marginal_known, sums.marginal_unknown),
        usd_cents(sums.router),
        _some(sums.baseline, sums.baseline_known, sums.baseline_unknown),
        _usd(sums.saved),
    )


def _some(nano: int, known: int, unknown: int) -> str:
    """A star: rows of which it is unknown are not in the sum."""
    if not known:
        return "unknown" if unknown else usd_cents(nano)
    return usd_cents(nano) + ("*" if unknown else "")


def _usd(nano: int | None) -> str:
    return "unknown" if nano is None else usd_cents(nano)


def _fleet(fleet: FleetBill) -> tuple[str, ...]:
    notes = ["emulated: no model runs there"] if fleet.emulated else []
    if fleet.bill is None:
        notes.append("nobody recorded its time")
    elif fleet.assumed:
        share = fleet.assumed / fleet.bill
        notes.append(f"{share:.0%} of the bill assumed, not observed")
    if fleet.busy_unknown:
        notes.append("charges without a known price count as busy")
    return (
        fleet.fleet,
        _usd(fleet.bill),
        usd_cents(fleet.allocated),
        _usd(fleet.idle),
        _usd(fleet.variance),
        "; ".join(notes),
    )


def _said(found: Report, baselines: tuple[str, ...]) -> Iterator[str]:
    totals = found.totals
    sums = totals.sums
    if totals.idle is None:
        yield "The fleets' bill is unknown: nobody recorded how long their replicas ran."
    else:
        yield _closed(totals)
    yield from _saved(totals, baselines)
    if any((row.saved or 0) < 0 for row in (sums, *(row for _, row in found.rows))):
        yield LOSS
    if sums.baseline_unknown:
        yield (
            f"* of {sums.baseline_unknown:,} requests the baseline is unknown: their charges, "
            f"{dollars(sums.unmatched)}, are compared with nothing."
        )
    if sums.marginal_unknown:
        yield f"* of {sums.marginal_unknown:,} rows the marginal cost is unknown."
    if sums.emulated:
        yield f"{dollars(sums.emulated)} of the charges are of emulated fleets: no model ran."


def _closed(totals: Totals) -> str:
    charged = totals.sums.nano - totals.without_bill
    idle, variance = totals.idle or 0, totals.variance or 0
    said = (
        f"charged {usd_text(charged)} + idle {usd_text(idle)} + variance {usd_text(variance)} "
        f"= {usd_text(totals.bill)}, the fleets' bill.\n"
        "Idle is paid time in which no request held a place; variance is what serving took beyond "
        "its charges."
    )
    if totals.without_bill:
        said += f"\nBesides, {dollars(totals.without_bill)} were charged on fleets without a bill."
    return said


def _saved(totals: Totals, baselines: tuple[str, ...]) -> Iterator[str]:
    saved = totals.sums.saved
    if saved is None:
        yield "Savings are unknown: no request has a baseline."
        return
    named = " and ".join(baselines) or "the policy's baseline (its version isn't kept here)"
    net = "unknown" if totals.saved_net is None else dollars(totals.saved_net)
    yield f"Against {named}: saved {dollars(saved)}; net of idle and variance {net}."
    if len(baselines) > 1:
        yield "The period has more than one baseline, so the sum adds up what isn't alike."

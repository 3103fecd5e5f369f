"""``sluice ledger reconcile``: hold the cloud's bill against the fleets' time."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import click
import orjson

from backends import files
from router.cli import options
from router.cli.errors import FAILED, INVALID, Ends, told
from router.cli.ledger import bill_file
from router.cli.ledger import options as ours
from router.cli.ledger.reconcile_text import reconcile_text
from router.cli.ledger.source import Rows, rows_of
from router.finops.fleet_bill import costed
from router.finops.period import Period, moment, rfc3339
from router.finops.reconcile import Reconciliation
from router.finops.reconcile_json import reconcile_json

Rates = Mapping[str, tuple[Decimal, str]]  # USD for one unit, and the day of that


@click.command("reconcile")
@click.option("--bill", "bills", required=True, multiple=True, type=options.FILE,
              help="CSV (.gz too) or Parquet, FOCUS or CUR 2.0; repeat for parts.")  # fmt: skip
@click.option("--cost", type=click.Choice(["effective", "list"]), default="effective",
              show_default=True, help="Amortised costs, or list prices.")  # fmt: skip
@click.option("--tolerance", type=options.Share(), default=0.05, show_default=True,
              help="Share of a fleet's day by which the bill may differ.")  # fmt: skip
@click.option("--from", "start", metavar="DAY", help="From this day (UTC) on; without: the bill's.")
@click.option("--to", "end", metavar="DAY", help="Up to and without this day (UTC).")
@ours.rows
@options.state
@options.ledger
@options.as_json
def command(
    bills: tuple[Path, ...],
    cost: str,
    tolerance: float,
    start: str | None,
    end: str | None,
    rows: Path | None,
    state: Path,
    store: str,
    as_json: bool,
) -> None:
    """Join the bill by the tag `sluice:fleet`; say per fleet and day what differs, and why."""
    over, _ = ours.chosen(start, end, "UTC")
    within = (_day(over.start, "--from"), _day(over.end, "--to"))
    ours.rows_alone(rows, "store")
    _check_once(bills)
    with told(), rows_of(store, state, rows) as ledger:
        rates = _rates(state)
        used: dict[str, str] = {}
        found = Reconciliation(_usd(rates, used, state), within)
        for bill in bills:
            for line in bill_file.lines(bill, cost):
                found.line(line)
        _add_times(found, ledger, over)
    compared = found.rows(tolerance)
    failed = sum(not row.ok for row in compared)
    if as_json:
        value = reconcile_json(compared, found.apart(), sorted(found.emulated))
        head = {"cost": cost, "tolerance": tolerance, "lines": found.lines, "rates": used}
        click.echo(orjson.dumps({**head, **value}))
    else:
        click.echo(reconcile_text(compared, found.apart(), sorted(found.emulated), tolerance))
        for currency, said in used.items():
            click.echo(f"{currency} converted at {said}")
    if failed:
        raise SystemExit(FAILED)


def _check_once(bills: tuple[Path, ...]) -> None:
    """Refuse a file that is given twice: its lines would count twice."""
    for n, bill in enumerate(bills):
        for before in bills[:n]:
            if bill.samefile(before):
                named = f"`--bill {before}`"
                if before != bill:
                    named += f" and `--bill {bill}` are the same file"
                else:
                    named += " is given twice"
                raise Ends(f"{named}: its lines would count twice", INVALID)


def _day(at: str | None, option: str) -> date | None:
    if at is None:
        return None
    when = moment(at).astimezone(UTC)
    if (when.hour, when.minute) != (0, 0):
        raise Ends(f"`{option}`: bills are in whole days of UTC (valid: 2026-11-21)", INVALID)
    return when.date()


def _add_times(found: Reconciliation, ledger: Rows, over: Period) -> None:
    """Add the fleets' time of the period, or else of the bill's own days."""
    days = found.days()
    if days is None:
        raise Ends("the bill has no lines in this period", INVALID)
    first, last = (rfc3339(datetime(d.year, d.month, d.day, tzinfo=UTC)) for d in days)
    for row in costed(ledger.fleet_times(over.start or first, over.end or last)):
        found.time(row)


def _rates(state: Path) -> Rates:
    """Return the dated rates of the price book."""
    exchange = files.library(state).prices.compiled.get("exchange", [])
    assert isinstance(exchange, list)
    return {row["currency"]: (Decimal(str(row["usd"])), str(row["as_of"])) for row in exchange}


def _usd(rates: Rates, used: dict[str, str], state: Path) -> Callable[[int, str], int]:
    """Return the conversion of nano amounts; it notes which rates were used."""

    def usd(nano: int, currency: str) -> int:
        if currency == "USD":
            return nano
        if currency not in rates:
            known = f"write its rate with its day to `exchange` of {files.own_prices(state)}"
            raise Ends(f"the bill is in `{currency[:10]}`, not USD: {known}", INVALID)
        rate, day = rates[currency]
        used[currency] = f"{rate} USD, the rate of {day}"
        return round(Decimal(nano) * rate)

    return usd

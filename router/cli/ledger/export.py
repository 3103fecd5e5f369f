"""``sluice ledger export``: the ledger's rows as FOCUS, CSV or lines of JSON."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import click

from router.cli import options
from router.cli.errors import INVALID, REFUSED, Ends, told
from router.cli.ledger import options as ours
from router.cli.ledger import writers
from router.cli.ledger.source import Rows, rows_of
from router.finops.focus import Column, charges, columns
from router.finops.period import Period

PARQUET = ".parquet"


@click.command("export")
@click.option("--format", "form", required=True, type=click.Choice(["focus", "csv", "jsonl"]),
              help="FOCUS 1.2; the entries; or all rows, as --rows reads them.")  # fmt: skip
@click.option("--out", required=True, metavar="FILE|-",
              help="- is standard output; FOCUS to FILE.parquet is Parquet.")  # fmt: skip
@click.option("--account", default="sluice", show_default=True,
              help="FOCUS' BillingAccountId: who is charged for all tenants.")  # fmt: skip
@click.option("--strict-names", is_flag=True,
              help="FOCUS without the columns that only focus-validator asks for.")  # fmt: skip
@ours.over
@ours.rows
@options.state
@options.ledger
def command(
    form: str,
    out: str,
    account: str,
    start: str | None,
    end: str | None,
    tz: str,
    rows: Path | None,
    state: Path,
    store: str,
    *,
    strict_names: bool,
) -> None:
    """Write what was charged. FOCUS leaves emulated fleets out: no model ran there."""
    over, _ = ours.chosen(start, end, tz)
    ours.rows_alone(rows, "store", "state")
    _check(form, out, account)
    if out != "-":
        ours.spared(Path(out), state, rows)
    of = columns(validator_names=not strict_names)
    with told(), rows_of(store, state, rows) as ledger:
        if form == "focus" and out.endswith(PARQUET):
            n = _parquet(ledger, over, of, account, Path(out))
        else:
            with writers.output(out) as stream:
                n = WRITERS[form](ledger, over, of, account, stream)
    click.echo(f"written: {n:,} rows", err=True)


def _check(form: str, out: str, account: str) -> None:
    if out != "-":
        ours.writable(Path(out))
    if out.endswith(PARQUET) and form != "focus":
        raise Ends(f"`--out {out}`: only `--format focus` is written as Parquet", INVALID)
    if not account.strip() or account.replace(".", "").isdigit():
        said = "a name that isn't a number (readers that guess types would lose its zeros)"
        raise Ends(f"`--account {account}`: valid is {said}", INVALID)


def _focus(ledger: Rows, over: Period, of: tuple[Column, ...], account: str, out: BinaryIO) -> int:
    return writers.focus_csv(charges(ledger.entries(*over.bounds), account), of, out)


def _csv(ledger: Rows, over: Period, _of: tuple[Column, ...], _account: str, out: BinaryIO) -> int:
    return writers.entries_csv(ledger.entries(*over.bounds), out)


def _jsonl(
    ledger: Rows, over: Period, _of: tuple[Column, ...], _account: str, out: BinaryIO
) -> int:
    return writers.lines(_all(ledger, over), out)


def _all(ledger: Rows, over: Period) -> Iterator[bytes]:
    yield from map(writers.entry_line, ledger.entries(*over.bounds))
    yield from map(writers.time_line, ledger.fleet_times(*over.bounds))


WRITERS: Mapping[str, Callable[[Rows, Period, tuple[Column, ...], str, BinaryIO], int]] = {
    "focus": _focus,
    "csv": _csv,
    "jsonl": _jsonl,
}


def _parquet(ledger: Rows, over: Period, of: tuple[Column, ...], account: str, out: Path) -> int:
    try:
        from router.cli.ledger import parquet  # noqa: PLC0415  (pyarrow is optional, and slow)
    except ImportError:
        said = "Parquet needs pyarrow: install `sluice[parquet]`, or `pip install pyarrow`"
        raise Ends(said, REFUSED) from None
    with writers.replacing(out) as part:
        return parquet.write(charges(ledger.entries(*over.bounds), account), of, part)

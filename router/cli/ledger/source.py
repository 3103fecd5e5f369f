"""Where reports read the ledger's rows: the state's store, or a file of exported rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from router.cli.errors import FAILED, INVALID, Ends
from router.finops.rows_file import row_of
from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime
from router.ledger.port import Ledger, LedgerUnavailable
from router.settings import environment, table_of
from router.store import open_ledger


class Rows(Protocol):
    """Rows in order, of a half-open period between two RFC 3339 times."""

    def entries(self, start: str, end: str) -> Iterator[Entry]: ...

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]: ...


class RowsFile:
    """Rows of a JSONL file, in the order of the file; it is read anew for every call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self, start: str, end: str) -> Iterator[Entry]:
        for row in self._rows():
            if isinstance(row, Entry) and start <= row.at < end:
                yield row

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]:
        for row in self._rows():
            if isinstance(row, FleetTime) and start <= row.minute < end:
                yield row

    def _rows(self) -> Iterator[Entry | FleetTime]:
        with self._path.open("rb") as lines:
            for n, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield row_of(line)
                except ValueError as exc:
                    raise Ends(f"{self._path}:{n}: {exc}", INVALID) from None


@contextmanager
def opened(store: str, state: Path) -> Iterator[Ledger]:
    """Open the ledger that `--ledger` names; a file that isn't there is not made."""
    where = state if table_of(store) is None else store
    if where == state and not (state / "sluice.db").exists():
        raise Ends(f"{state}: no ledger here (give `--state`, `--ledger` or `--rows`)", INVALID)
    ledger = None
    try:
        ledger = open_ledger(store, state, environment())
        yield ledger
    except LedgerUnavailable as exc:
        raise Ends(f"{where}: the ledger can't be used: {exc}", FAILED) from None
    finally:
        if ledger is not None:
            ledger.close()


@contextmanager
def rows_of(store: str, state: Path, rows: Path | None) -> Iterator[Rows]:
    """Open what `--rows` names, else the ledger."""
    if rows is not None:
        yield RowsFile(rows)
        return
    with opened(store, state) as ledger:
        yield ledger

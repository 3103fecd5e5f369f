"""Bills on disk: CSV (plain or gzip) and Parquet, read row by row."""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from router.cli.errors import INVALID, REFUSED, Ends
from router.finops.bill_lines import Cells, Form, Line, fleet_of, form_of

csv.field_size_limit(1 << 24)  # a cell of tags may be long
SHOWN = 5  # wrong lines, until reading ends
Rows = Callable[[Sequence[str]], Iterator[tuple[int, Cells]]]  # of these columns, numbered


def lines(path: Path, cost: str) -> Iterator[Line]:
    """Yield the lines of a bill; end the command where columns lack or lines are wrong, with the
    places of the first.
    """
    header, rows = _parquet(path) if path.name.endswith(".parquet") else _csv(path)
    try:
        form = form_of(header, cost)
    except ValueError as exc:
        raise Ends(f"{path}: {exc}", INVALID) from None
    wrong: list[str] = []
    for n, cells in rows(form.wanted(header, cost)):
        try:
            line = _line(form, header, cells, cost)
        except ValueError as exc:
            wrong.append(f"{path}:{n}: {exc}")
            if len(wrong) == SHOWN:
                break
            continue
        if line is not None and not wrong:
            yield line
    if wrong:
        raise Ends("\n".join(wrong), INVALID)


def _line(form: Form, header: Sequence[str], cells: Cells, cost: str) -> Line | None:
    tags = cells[form.tag_column(header) or ""]
    return form.line(cells, form.costs[cost], fleet_of(tags))


def _csv(path: Path) -> tuple[Sequence[str], Rows]:
    header = next(_records(path), (0, []))[1]

    def rows(wanted: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        places = [(name, header.index(name)) for name in wanted]
        for n, record in islice(_records(path), 1, None):
            if len(record) != len(header):
                found, width = len(record), len(header)
                raise Ends(f"{path}:{n}: {found} cells where the header has {width}", INVALID)
            yield n, {name: record[place] for name, place in places}

    return header, rows


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file with the line each ends on; blank lines are none."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        try:
            for record in reader:
                if record:
                    yield reader.line_num, record
        except (csv.Error, EOFError) as exc:
            raise Ends(f"{path}:{reader.line_num + 1}: {exc}", INVALID) from None


def _parquet(path: Path) -> tuple[Sequence[str], Rows]:
    try:
        from router.cli.ledger import parquet  # noqa: PLC0415  (pyarrow is optional, and slow)
    except ImportError:
        said = "Parquet needs pyarrow: install `sluice[parquet]`, or `pip install pyarrow`"
        raise Ends(said, REFUSED) from None
    try:
        header = parquet.names(path)
    except ValueError as exc:
        raise Ends(f"{path}: not a Parquet file: {exc}", INVALID) from None
    return header, lambda wanted: enumerate(parquet.rows(path, wanted), 1)

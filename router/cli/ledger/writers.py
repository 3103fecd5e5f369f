"""Files of rows, written line by line; a file is whole or isn't there."""

import codecs
import csv
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

import orjson

from router.finops.focus import Charge, Column, cells
from router.finops.rows_file import entry_line, time_line
from router.ledger.entry import Entry

__all__ = ["entries_csv", "entry_line", "focus_csv", "lines", "output", "replacing", "time_line"]


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """Open a file to be written whole; `-` is standard output."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replacing(Path(name)) as part, part.open("wb") as stream:
        yield stream


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path that takes the place of `path` if all goes well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def lines(rows: Iterable[bytes], out: BinaryIO) -> int:
    n = 0
    for n, row in enumerate(rows, 1):  # noqa: B007  (counted)
        out.write(row)
    return n


def focus_csv(charges: Iterable[Charge], of: tuple[Column, ...], out: BinaryIO) -> int:
    """Write one line a charge; null is nothing between two commas."""
    head = [column.name for column in of]
    return _csv(head, (cells(charge, of) for charge in charges), out)


def entries_csv(entries: Iterable[Entry], out: BinaryIO) -> int:
    """Write the rows as they are: money in nano-USD, tags as JSON."""
    names = [field.name for field in fields(Entry)]
    return _csv(names, ([_cell(getattr(entry, n)) for n in names] for entry in entries), out)


def _csv(head: list[str], rows: Iterable[list[str | None]], out: BinaryIO) -> int:
    writer = csv.writer(codecs.getwriter("utf-8")(out), lineterminator="\n")
    writer.writerow(head)
    n = 0
    for n, row in enumerate(rows, 1):  # noqa: B007  (counted)
        writer.writerow(row)
    return n


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return orjson.dumps(dict(value)).decode()
    return None if value is None else str(value)

"""Rows of the ledger as columns of SQLite, which anybody can add up."""

from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

import orjson

from router.ledger.entry import Entry

_TYPES: dict[Any, str] = {
    str: "TEXT NOT NULL",
    str | None: "TEXT",
    int: "INTEGER NOT NULL",
    int | None: "INTEGER",
    bool: "INTEGER NOT NULL",
    float: "REAL NOT NULL",
}
_FIELDS = fields(Entry)
_NAMES = [field.name for field in _FIELDS]
_TAGS = _NAMES.index("tags")  # JSON
_FLAGS = [number for number, field in enumerate(_FIELDS) if field.type is bool]
_values = attrgetter(*_NAMES)

# The entry's own fields, in its order.
COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)
DECLARED = ",\n    ".join(
    f'"{field.name}" {_TYPES.get(field.type, "TEXT NOT NULL")}' for field in _FIELDS
)
MARKS = ", ".join("?" * len(_NAMES))


def row_of(entry: Entry) -> list[Any]:
    """Return the entry's values in the order of COLUMNS."""
    row = list(_values(entry))
    row[_TAGS] = _tags_text(entry.tags)
    return row


def entry_of_row(row: tuple[Any, ...]) -> Entry:
    values = list(row)
    values[_TAGS] = tuple((name, value) for name, value in orjson.loads(row[_TAGS]))
    for flag in _FLAGS:
        values[flag] = bool(row[flag])
    return Entry(*values)


def short(entry: Entry) -> bytes:
    """Return the entry as a JSON list of its values."""
    return orjson.dumps(_values(entry))


def entry_of_short(line: bytes) -> Entry:
    values = orjson.loads(line)
    values[_TAGS] = tuple((name, value) for name, value in values[_TAGS])
    return Entry(*values)


@lru_cache(1024)
def _tags_text(tags: tuple[tuple[str, str], ...]) -> str:
    return orjson.dumps(tags).decode()

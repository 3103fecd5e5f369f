"""The store of labels: what was said of answers, beside what the receipt knew of the request.

No prompt and no answer is in it. In ``<state>/sluice.db``, one row a request in each of two tables:
`labels` are what callers said, `shadow_labels` what the operator's judge did.
"""

import sqlite3
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from router import wal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    request_id TEXT PRIMARY KEY, at TEXT NOT NULL, key TEXT NOT NULL,
    acceptable INTEGER NOT NULL, score REAL, label TEXT,
    task TEXT NOT NULL, complexity REAL NOT NULL, tier TEXT NOT NULL, language TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, p_small REAL NOT NULL,
    model TEXT NOT NULL, fleet TEXT NOT NULL, by_p_small INTEGER NOT NULL
) STRICT
"""
_SHADOW_SCHEMA = """
CREATE TABLE IF NOT EXISTS shadow_labels (
    request_id TEXT PRIMARY KEY, at TEXT NOT NULL,
    acceptable INTEGER NOT NULL, score REAL NOT NULL,
    strong_acceptable INTEGER NOT NULL, strong_score REAL NOT NULL,
    task TEXT NOT NULL, complexity REAL NOT NULL, tier TEXT NOT NULL, language TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, p_small REAL NOT NULL,
    model TEXT NOT NULL, fleet TEXT NOT NULL, strong TEXT NOT NULL, judge TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Given:
    """One label. `at` is when it was given, RFC 3339; `by_p_small`: p_small was taken for the
    quality of the model that answered, so the label says whether p_small is right.
    """

    request_id: str
    at: str
    key: str
    acceptable: bool
    score: float | None
    label: str | None
    task: str
    complexity: float
    tier: str
    language: str
    tokens_in: int
    p_small: float
    model: str
    fleet: str
    by_p_small: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """One label of shadow judging: of the answer of `model` and of the one of `strong`, 0 to 1,
    by `judge`. All three are models.
    """

    request_id: str
    at: str
    acceptable: bool
    score: float
    strong_acceptable: bool
    strong_score: float
    task: str
    complexity: float
    tier: str
    language: str
    tokens_in: int
    p_small: float
    model: str
    fleet: str
    strong: str
    judge: str


Row = TypeVar("Row", Given, Judged)


class Labels:
    """Labels in ``<state>/sluice.db``. One thread at a time, whichever it is."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = state / "sluice.db"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        wal.keep_log(self._db)
        self._db.execute(_SCHEMA)
        self._db.execute(_SHADOW_SCHEMA)

    def first(self, request_id: str) -> tuple[str, str] | None:
        """Return key and time of this request's label, or None if it has none."""
        asked = "SELECT key, at FROM labels WHERE request_id = ?"
        found: tuple[str, str] | None = self._db.execute(asked, (request_id,)).fetchone()
        return found

    def add(self, given: Given) -> bool:
        """Keep the label; False, and no effect, if the request has one."""
        return self._add("labels", given)

    def add_judged(self, judged: Judged) -> bool:
        """Keep the label of shadow judging; False, and no effect, if the request has one."""
        return self._add("shadow_labels", judged)

    def all(self) -> list[Given]:
        """Return what callers said, by the time they did."""
        return [
            replace(g, acceptable=bool(g.acceptable), by_p_small=bool(g.by_p_small))
            for g in self._all("labels", Given)
        ]

    def all_judged(self) -> list[Judged]:
        """Return what shadow judging found, by the time it did."""
        return [
            replace(j, acceptable=bool(j.acceptable), strong_acceptable=bool(j.strong_acceptable))
            for j in self._all("shadow_labels", Judged)
        ]

    def _add(self, table: str, row: Given | Judged) -> bool:
        places = ", ".join("?" * len(fields(row)))
        added = self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", astuple(row))  # noqa: S608  (question marks)
        return added.rowcount == 1

    def _all(self, table: str, kind: type[Row]) -> list[Row]:
        """Return the rows as SQLite keeps them: true and false are 1 and 0."""
        names = ", ".join(field.name for field in fields(kind))
        rows = self._db.execute(f"SELECT {names} FROM {table} ORDER BY at, request_id")  # noqa: S608  (our own names)
        return [kind(*row) for row in rows]

    def close(self) -> None:
        self._db.close()

"""The store of labels: what callers said of answers, beside what the receipt knew of the request.

No prompt and no answer is in it. One row a request, in ``<state>/sluice.db``.
"""

import sqlite3
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS labels (
    request_id TEXT PRIMARY KEY, at TEXT NOT NULL, key TEXT NOT NULL,
    acceptable INTEGER NOT NULL, score REAL, label TEXT,
    task TEXT NOT NULL, complexity REAL NOT NULL, tier TEXT NOT NULL, language TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, p_small REAL NOT NULL,
    model TEXT NOT NULL, fleet TEXT NOT NULL, by_p_small INTEGER NOT NULL
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


class Labels:
    """Labels in ``<state>/sluice.db``. One thread at a time, whichever it is."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = state / "sluice.db"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(_SCHEMA)

    def first(self, request_id: str) -> tuple[str, str] | None:
        """Return key and time of this request's label, or None if it has none."""
        asked = "SELECT key, at FROM labels WHERE request_id = ?"
        found: tuple[str, str] | None = self._db.execute(asked, (request_id,)).fetchone()
        return found

    def add(self, given: Given) -> bool:
        """Keep the label; False, and no effect, if the request has one."""
        places = ", ".join("?" * len(fields(Given)))
        added = self._db.execute(f"INSERT OR IGNORE INTO labels VALUES ({places})", astuple(given))  # noqa: S608  (question marks)
        return added.rowcount == 1

    def all(self) -> list[Given]:
        """Return all labels by the time they were given."""
        names = ", ".join(field.name for field in fields(Given))
        rows = self._db.execute(f"SELECT {names} FROM labels ORDER BY at, request_id")  # noqa: S608  (our own names)
        whole = (Given(*row) for row in rows)
        return [  # SQLite keeps true and false as 1 and 0
            replace(g, acceptable=bool(g.acceptable), by_p_small=bool(g.by_p_small)) for g in whole
        ]

    def close(self) -> None:
        self._db.close()

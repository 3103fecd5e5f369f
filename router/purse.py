"""The purse: how much of a budget is taken in the running period, in ``<state>/sluice.db``.

One row a budget and period. What is reserved counts as taken from that moment on, so that a
process that is killed leaves its open reservations spent. Integer nano-USD; every change is one
statement, so that any number of processes together never take more than the budget has.

* sqlite3.Error   the store could not be read or written: nothing was reserved or settled
"""

import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from policies.model import Budget

_SCHEMA = """
CREATE TABLE IF NOT EXISTS purse (
    budget TEXT NOT NULL, period TEXT NOT NULL, nano INTEGER NOT NULL,
    PRIMARY KEY (budget, period)
) STRICT
"""
_TAKE = """
INSERT INTO purse VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET nano = nano + ?3 WHERE nano + ?3 <= ?4
"""
# What was used beyond the reservation is taken from what is left, as far as that goes.
_SETTLE = """
UPDATE purse SET nano = MIN(nano + ?3, MAX(nano, ?4)) WHERE budget = ?1 AND period = ?2
"""


@dataclass(frozen=True, slots=True)
class Reservation:
    """`nano` set aside in a period of a budget, which holds `limit` in all."""

    budget: str
    period: str
    nano: int
    limit: int


class Purse:
    """Any thread may use it."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = state / "sluice.db"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(_SCHEMA)
        self._one = threading.Lock()

    def reserve(self, budget: Budget, now_s: float, nano: int) -> Reservation | None:
        """Set so much aside in the period of `now_s` (UTC, since 1970); None: it isn't there."""
        period = period_of(budget, now_s)
        if nano > budget.nano:
            return None
        with self._one:
            taken = self._db.execute(_TAKE, (budget.id, period, nano, budget.nano))
        return Reservation(budget.id, period, nano, budget.nano) if taken.rowcount == 1 else None

    def settle(self, reservation: Reservation, nano: int) -> None:
        """Put `nano` in the place of what was set aside: once a reservation."""
        more = nano - reservation.nano
        key = (reservation.budget, reservation.period)
        with self._one:
            self._db.execute(_SETTLE, (*key, more, reservation.limit))

    def taken(self, budget: Budget, now_s: float) -> int:
        """Return what is spent or set aside in the period of `now_s`."""
        asked = "SELECT nano FROM purse WHERE budget = ? AND period = ?"
        with self._one:
            found = self._db.execute(asked, (budget.id, period_of(budget, now_s))).fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        with self._one:
            self._db.close()


def period_of(budget: Budget, now_s: float) -> str:
    """Return the name of the budget's period at this moment: its day, ISO week or month there."""
    day = datetime.fromtimestamp(now_s, UTC).astimezone(ZoneInfo(budget.tz)).date()
    if budget.per == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat() if budget.per == "day" else f"{day:%Y-%m}"

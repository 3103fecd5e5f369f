"""Budgets' rows in SQLite: their limits, overrides and alerts. Called inside a transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.ledger.entry import stamp
from router.ledger.port import Adopted, Alert, Balance, Limit, Override, Scope, Standing
from router.ledger.sqlite_db import Database
from router.ledger.sqlite_schema import FOREVER_S
from router.ledger.standing import alerts_due, next_alert

_ROW = "SELECT id, soft, hard, alert_at, until_s, fired, lim, avail, reserved, spent, floor"
_BY_NAME = f"{_ROW} FROM ledger_scopes WHERE budget = ? AND value = ? AND period = ?"
_NEW = """
INSERT INTO ledger_scopes
  (budget, value, period, ends, soft, hard, alert_at, lim, floor, avail, until_s, next_alert)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_LIMITED = """
UPDATE ledger_scopes SET soft = ?, hard = ?, alert_at = ?, avail = avail + ? - lim, lim = ?,
  floor = ?, until_s = ?, next_alert = ? WHERE id = ?
"""
_LIVE = "SELECT id, budget, value, fired FROM ledger_scopes WHERE ends > ?"
_ALERT = "SELECT budget, value, period, ends, soft, hard, alert_at, fired, spent"
_STANDINGS = """
SELECT s.budget, s.value, s.period, s.ends, s.soft, s.hard, s.alert_at, s.until_s, s.spent,
  s.reserved
FROM ledger_scopes s JOIN ledger_limits USING (budget) WHERE s.ends > ?
ORDER BY s.budget, s.value, s.period
"""
_OVERRIDES = """
SELECT o.budget, o.value, o.soft, o.until_s FROM ledger_overrides o
JOIN ledger_limits USING (budget) WHERE o.until_s > ? ORDER BY o.budget, o.value
"""


class Scopes:
    """The table `ledger_scopes` and what decides its limits."""

    def __init__(self, db: Database) -> None:
        self._run = db.run

    def prepared(self, scopes: Sequence[Scope], now_s: float) -> list[tuple[int, int, int]]:
        """Return (id, avail, floor) of each, made if it wasn't there; ended overrides end."""
        return [self._prepared(scope, now_s) for scope in scopes]

    def _prepared(self, scope: Scope, now_s: float) -> tuple[int, int, int]:
        name = (scope.budget, scope.value, scope.period)
        row = self._run(_BY_NAME, name).fetchone()
        if row is None:
            limit, until_s = self._in_force(scope.budget, scope.value, now_s, scope.limit)
            values = (*_limit_row(limit), limit.nano, limit.floor, limit.nano, until_s)
            made = self._run(_NEW, (*name, scope.ends, *values, next_alert(limit, ())))
            return int(made.fetchall()[0][0]), limit.nano, limit.floor
        id_, until_s, fired, avail, floor = row[0], row[4], row[5], row[7], row[10]
        if until_s <= now_s:
            limit, until_s = self._in_force(scope.budget, scope.value, now_s, scope.limit)
            self._put(id_, limit, until_s, json.loads(fired))
            avail, floor = avail + limit.nano - row[6], limit.floor
        return id_, avail, floor

    def balance(self, scope: Scope, now_s: float) -> Balance:
        row = self._run(_BY_NAME, (scope.budget, scope.value, scope.period)).fetchone()
        limit, _ = self._in_force(scope.budget, scope.value, now_s, scope.limit)
        if row is None:
            return Balance(limit.nano, 0, 0, limit.nano)
        until_s, lim, avail, reserved, spent = row[4], row[6], row[7], row[8], row[9]
        if until_s <= now_s:  # the next reservation will write it so
            lim, avail = limit.nano, avail + limit.nano - lim
        return Balance(lim, spent, reserved, avail)

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool:
        adopted = self._run("SELECT policy_hash FROM ledger_adopted").fetchone()
        if adopted == (policy_hash,):
            return False
        self._run("INSERT OR REPLACE INTO ledger_adopted VALUES (1, ?)", (policy_hash,))
        self._run("DELETE FROM ledger_limits")
        for budget, limit in limits.items():
            row = (budget, *_limit_row(limit))
            self._run("INSERT INTO ledger_limits VALUES (?, ?, ?, ?)", row)
        for id_, budget, value, fired in self._run(_LIVE, (stamp(now_s),)).fetchall():
            if budget in limits:
                limit, until_s = self._in_force(budget, value, now_s, limits[budget])
                self._put(id_, limit, until_s, json.loads(fired))
        return True

    def override(
        self, budget: str, value: str, soft_nano: int, until_s: float, now_s: float
    ) -> None:
        base = self._adopted(budget)
        if base is None:
            raise KeyError(budget)
        limit = base.overridden(soft_nano)
        self._run("DELETE FROM ledger_overrides WHERE until_s <= ?", (now_s,))
        row = (budget, value, soft_nano, until_s)
        self._run("INSERT OR REPLACE INTO ledger_overrides VALUES (?, ?, ?, ?)", row)
        live = f"{_LIVE} AND budget = ? AND value = ?"
        for id_, _, _, fired in self._run(live, (stamp(now_s), budget, value)).fetchall():
            self._put(id_, limit, until_s, json.loads(fired))

    def end_override(self, budget: str, value: str, now_s: float) -> bool:
        ended = "DELETE FROM ledger_overrides WHERE budget = ? AND value = ? RETURNING until_s"
        before = self._run(ended, (budget, value)).fetchone()
        base = self._adopted(budget)
        live = f"{_LIVE} AND budget = ? AND value = ?"
        for id_, _, _, fired in self._run(live, (stamp(now_s), budget, value)).fetchall():
            if base is not None:
                self._put(id_, base, FOREVER_S, json.loads(fired))
        return before is not None and before[0] > now_s

    def adopted(self) -> Adopted | None:
        found = self._run("SELECT policy_hash FROM ledger_adopted").fetchone()
        if found is None:
            return None
        rows = self._run("SELECT budget, soft, hard, alert_at FROM ledger_limits ORDER BY budget")
        return Adopted(found[0], {budget: _limit(*row) for budget, *row in rows})

    def overrides(self, now_s: float) -> list[Override]:
        return [Override(*row) for row in self._run(_OVERRIDES, (now_s,))]

    def standings(self, now_s: float, *, closed: bool) -> list[Standing]:
        now = stamp(now_s)
        rows = self._run(_STANDINGS, ("" if closed else now,)).fetchall()
        return [self._standing(row, now_s, now) for row in rows]

    def _standing(self, row: tuple[Any, ...], now_s: float, now: str) -> Standing:
        budget, value, period, ends, soft, hard, alert_at, until_s, spent, reserved = row
        limit = _limit(soft, hard, alert_at)
        if ends > now and until_s <= now_s:  # the next reservation will write it so
            limit, until_s = self._in_force(budget, value, now_s, limit)
        shown = until_s if ends > now and until_s != FOREVER_S else None
        return Standing(budget, value, period, ends, limit, spent, reserved, shown)

    def alerts(self, ids: Iterable[int]) -> list[Alert]:
        """Return what these scopes have to tell now, and note that it was told."""
        return [alert for id_ in ids for alert in self._alerts(id_)]

    def _alerts(self, id_: int) -> list[Alert]:
        row = self._run(f"{_ALERT} FROM ledger_scopes WHERE id = ?", (id_,)).fetchone()
        budget, value, period, ends, soft, hard, alert_at, fired, spent = row
        limit, told = _limit(soft, hard, alert_at), json.loads(fired)
        due = alerts_due(limit, told, spent)
        now_told = sorted({*told, *due})
        noted = "UPDATE ledger_scopes SET fired = ?, next_alert = ? WHERE id = ?"
        self._run(noted, (json.dumps(now_told), next_alert(limit, now_told), id_))
        return [Alert(budget, value, period, ends, share, spent, soft) for share in due]

    def _put(self, id_: int, limit: Limit, until_s: float, fired: list[float]) -> None:
        numbers = (limit.nano, limit.nano, limit.floor, until_s, next_alert(limit, fired), id_)
        self._run(_LIMITED, (*_limit_row(limit), *numbers))

    def _in_force(
        self, budget: str, value: str, now_s: float, otherwise: Limit
    ) -> tuple[Limit, float]:
        """Return the limit that counts now, and until when it is overridden."""
        base = self._adopted(budget) or otherwise
        asked = "SELECT soft, until_s FROM ledger_overrides WHERE budget = ? AND value = ?"
        over = self._run(asked, (budget, value)).fetchone()
        if over is None or over[1] <= now_s:
            return base, FOREVER_S
        return base.overridden(over[0]), over[1]

    def _adopted(self, budget: str) -> Limit | None:
        asked = "SELECT soft, hard, alert_at FROM ledger_limits WHERE budget = ?"
        row = self._run(asked, (budget,)).fetchone()
        return None if row is None else _limit(*row)


def _limit_row(limit: Limit) -> tuple[Any, ...]:
    return limit.soft_nano, limit.hard_nano, json.dumps(limit.alert_at)


def _limit(soft: int, hard: int | None, alert_at: str) -> Limit:
    return Limit(soft, hard, tuple(json.loads(alert_at)))

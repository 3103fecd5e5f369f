"""The ledger in ``<state>/sluice.db``: one transaction to reserve, one to settle.

Durable at the death of the process, at any point. At power loss the commits of the last moments
may be lost (see docs/ledger.md); the file stays whole. Errors: as the port has them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from functools import lru_cache
from pathlib import Path

from router.ledger.audit import Books, ScopeRow
from router.ledger.entry import Entry, clamped, corrections, stamp
from router.ledger.fleet_time import FleetTime
from router.ledger.port import (
    MOST_NANO,
    NEVER,
    ONCE_S,
    Adopted,
    Alert,
    Balance,
    Before,
    Downgrade,
    Expired,
    Limit,
    NotReserved,
    Once,
    Override,
    Refused,
    Reserved,
    Scope,
    Standing,
    State,
)
from router.ledger.sqlite_db import Database
from router.ledger.sqlite_rows import (
    COLUMNS,
    MARKS,
    entry_of_row,
    entry_of_short,
    row_of,
    short,
)
from router.ledger.sqlite_scopes import Scopes
from router.ledger.standing import checked, judged

_RUN_OUT = "SELECT id, nano, scopes, worst FROM ledger_held WHERE lease_ends_s < ? LIMIT 100"
_CHARGED_BEFORE = "SELECT 1 FROM ledger_entries WHERE request_id = ? LIMIT 1"
# What a lease that ran out was charged, and the row that takes it back; a settlement has more.
_GIVEN_BACK = (
    "SELECT 1 FROM ledger_entries WHERE request_id = ? "
    "GROUP BY request_id HAVING count(*) = 2 AND sum(kind = 'expired') = 1"
)
_DAY = "INSERT OR IGNORE INTO ledger_days SELECT ?, COALESCE(MAX(seq), 0) + 1 FROM ledger_entries"
_ENTRIES = f"SELECT {COLUMNS} FROM ledger_entries"  # noqa: S608 (our own names)
_BETWEEN = """
WHERE seq >= (SELECT MIN(first_seq) FROM ledger_days WHERE day >= ?) AND at >= ? AND at < ?
ORDER BY seq
"""
_ONCE = """
SELECT request_id, body_hash, at_s FROM ledger_once WHERE key_id = ? AND idempotency_key = ?
"""
_FLEET_TIMES = """
SELECT fleet, minute, seconds, replicas, nano_hour, source, emulated FROM ledger_fleet_time
"""
_FLEET_TIME = """
INSERT INTO ledger_fleet_time VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  seconds = excluded.seconds, replicas = excluded.replicas, nano_hour = excluded.nano_hour,
  emulated = excluded.emulated WHERE excluded.seconds > seconds
"""


class SqliteLedger:
    """The port `Ledger`. Any thread may use it; every process opens its own."""

    # One row a statement: a statement over three takes longer than three (IN and OR build a table
    # of rows for every call, RETURNING one more).
    TAKE = """
    UPDATE ledger_scopes SET avail = avail - ?1, reserved = reserved + ?1
    WHERE id = ?2 AND avail - ?1 >= MIN(floor, ?3) AND until_s > ?4
    """
    HOLD = """
    INSERT OR IGNORE INTO ledger_held SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (SELECT 1 FROM ledger_entries WHERE request_id = ?1)
    """
    LET_GO = "DELETE FROM ledger_held WHERE id = ? AND nano = ? AND scopes = ?"
    CHARGE = """
    UPDATE ledger_scopes SET reserved = reserved - ?1, spent = spent + ?2, avail = avail + ?1 - ?2
    WHERE id = ?3 AND spent + ?2 < next_alert
    """
    CHARGE_AND_TELL = CHARGE.replace(" AND spent + ?2 < next_alert", "")
    APPEND = f"INSERT INTO ledger_entries (scopes, {COLUMNS}) VALUES (?, {MARKS})"  # noqa: S608 (our own names)
    ABANDON = "DELETE FROM ledger_held WHERE id = ? RETURNING nano, scopes"
    TAKE_BACK = "DELETE FROM ledger_lost WHERE id = ? RETURNING scopes, charged"

    remote = False

    def __init__(self, state: Path, wait_s: float = 5.0) -> None:
        self._db = Database(state / "sluice.db", wait_s)
        self._run = self._db.run
        self._scopes = Scopes(self._db)
        self._ids: dict[tuple[str, str, str], int] = {}  # rows are never deleted: ids stay
        self._days: set[str] = set()

    def reserve(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str] = frozenset(),
        once: Once | None = None,
    ) -> Reserved | Refused | Downgrade | Before:
        nano = worst.nano
        line = short(worst)

        def quickly() -> Reserved:
            ids = self._known(scopes)
            if (
                once is not None
                or ids is None
                or not 0 <= nano <= MOST_NANO
                or not self._take(scopes, ids, nano, now_s, downgraded)
            ):
                raise _NotQuickly
            return self._hold(worst.request_id, nano, lease_ends_s, scopes, ids, line)

        def thoroughly() -> Reserved | Refused | Downgrade | Before:
            used = None if once is None else self._used(once, worst.request_id, now_s)
            if used is not None:
                return used
            found = self._reserve(worst, scopes, now_s, lease_ends_s, downgraded, line)
            if once is not None and isinstance(found, Reserved):
                row = (once.key_id, once.name, once.body_hash, worst.request_id, now_s)
                self._run("INSERT OR REPLACE INTO ledger_once VALUES (?, ?, ?, ?, ?)", row)
            return found

        try:
            return self._db.write(quickly)
        except _NotQuickly:
            checked(nano, scopes)
            done = self._db.write(thoroughly)
        if isinstance(done, Reserved):
            names = [(scope.budget, scope.value, scope.period) for scope in scopes]
            self._ids.update(zip(names, done.held, strict=True))
        return done

    def settle(self, reserved: Reserved, entries: Sequence[Entry], now_s: float) -> list[Alert]:
        if not entries:
            raise ValueError("nothing to settle: what was not sent is released")
        if any(entry.request_id != reserved.id or entry.nano < 0 for entry in entries):
            raise ValueError(f"a row that is not {reserved.id}'s, or a negative charge")
        if any(scope.hard_nano is not None for scope in reserved.scopes):
            entries = clamped(entries, reserved.nano)
        for entry in entries:
            self._begin_day(entry.at)

        scope_ids = _text(reserved.held)

        def work() -> list[Alert]:
            if self._run(self.LET_GO, (reserved.id, reserved.nano, scope_ids)).rowcount != 1:
                return self._settled_late(reserved.id, entries, now_s)
            return self._charge(reserved.nano, scope_ids, entries)

        return self._db.write(work)

    def release(self, reserved: Reserved, now_s: float) -> None:
        scope_ids = _text(reserved.held)

        def work() -> None:
            if self._run(self.LET_GO, (reserved.id, reserved.nano, scope_ids)).rowcount != 1:
                self._take_back(reserved.id, (), now_s)
            else:
                self._charge(reserved.nano, scope_ids, ())

        self._db.write(work)

    def abandon(self, request_id: str, now_s: float) -> State | None:
        def work() -> State | None:
            state = self._state(request_id)
            if state == "open":
                nano, scope_ids = self._run(self.ABANDON, (request_id,)).fetchone()
                self._charge(nano, scope_ids, ())
            elif state == "expired":
                self._take_back(request_id, (), now_s)
            elif state == "settled" and self._run(_GIVEN_BACK, (request_id,)).fetchone():
                return "expired"  # asked again: a charge that was given back whole is none
            return state

        return self._db.write(work)

    def expire(self, now_s: float) -> Expired:
        at, leases, alerts = stamp(now_s), 0, list[Alert]()
        self._begin_day(at)
        while True:
            some = self._db.write(lambda: self._expire_some(now_s, at))
            if not some.leases:
                return Expired(leases, tuple(alerts))
            leases += some.leases
            alerts += some.alerts

    def balance(self, scope: Scope, now_s: float) -> Balance:
        return self._db.read(lambda: self._scopes.balance(scope, now_s))

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool:
        return self._db.write(lambda: self._scopes.adopt(limits, policy_hash, now_s))

    def follow(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> None:
        if self.adopted() is None:
            self.adopt(limits, policy_hash, now_s)

    def override(
        self, budget: str, value: str, soft_nano: int, until_s: float, now_s: float
    ) -> None:
        if until_s <= now_s:
            raise ValueError("an override ends after it begins")
        self._db.write(lambda: self._scopes.override(budget, value, soft_nano, until_s, now_s))

    def end_override(self, budget: str, value: str, now_s: float) -> bool:
        return self._db.write(lambda: self._scopes.end_override(budget, value, now_s))

    def adopted(self) -> Adopted | None:
        return self._db.read(self._scopes.adopted)

    def overrides(self, now_s: float) -> list[Override]:
        return self._db.read(lambda: self._scopes.overrides(now_s))

    def standings(self, now_s: float, *, closed: bool = False) -> list[Standing]:
        return self._db.read(lambda: self._scopes.standings(now_s, closed=closed))

    def entries(self, start: str, end: str) -> Iterator[Entry]:
        rows = self._db.rows(_ENTRIES + _BETWEEN, _day(start), start, end)
        return map(entry_of_row, rows)

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]:
        asked = f"{_FLEET_TIMES} WHERE minute >= ? AND minute < ? "
        rows = self._db.rows(f"{asked} ORDER BY minute, fleet, source", start, end)
        # SQLite has no bool: the last column is 0 or 1
        return (replace(FleetTime(*row), emulated=bool(row[-1])) for row in rows)

    def add_fleet_time(self, rows: Iterable[FleetTime]) -> None:
        def work() -> None:
            for row in rows:
                self._run(_FLEET_TIME, astuple(row))

        self._db.write(work)

    def books(self) -> Books:
        """Return all of it as of one moment, to be audited."""

        def work() -> Books:
            scopes = {str(row[0]): ScopeRow(*row[1:]) for row in self._run(_BOOKS)}
            held = [(*row[:2], _names(row[2])) for row in self._run(_BOOKS_HELD)]
            rows = [(*row[:3], _names(row[3])) for row in self._run(_BOOKS_ROWS)]
            return Books(scopes, held, rows)

        return self._db.write(work)

    def close(self) -> None:
        self._db.close()

    def _reserve(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str],
        line: bytes,
    ) -> Reserved | Refused | Downgrade:
        """Reserve where a scope may be new, short or overridden, or the request known."""
        nano, rows = worst.nano, self._scopes.prepared(scopes, now_s)
        ids = tuple(row[0] for row in rows)
        before = self._held_before(worst.request_id, nano, scopes, ids)
        if before is not None:
            return before
        refused = judged(scopes, [row[1:] for row in rows], nano, downgraded)
        if refused is not None:
            return refused
        if not self._take(scopes, ids, nano, now_s, downgraded):
            raise AssertionError("what was judged is not what was taken")
        return self._hold(worst.request_id, nano, lease_ends_s, scopes, ids, line)

    def _known(self, scopes: Sequence[Scope]) -> tuple[int, ...] | None:
        ids = self._ids
        try:
            known = tuple([ids[scope.budget, scope.value, scope.period] for scope in scopes])
        except KeyError:
            return None
        return known if len(set(known)) == len(known) else None

    def _used(self, once: Once, request_id: str, now_s: float) -> Before | None:
        """Return which other request has the idempotency key; None: or it gave all back."""
        found = self._run(_ONCE, (once.key_id, once.name)).fetchone()
        if found is None or found[0] == request_id or found[2] <= now_s - ONCE_S:
            return None
        state = self._state(found[0])
        return None if state is None else Before(found[0], state, found[1] == once.body_hash)

    def _take(
        self,
        scopes: Sequence[Scope],
        ids: tuple[int, ...],
        nano: int,
        now_s: float,
        downgraded: frozenset[str],
    ) -> bool:
        """Set it aside wherever it is there: in all scopes, or the caller rolls back."""
        for id_, scope in zip(ids, scopes, strict=True):
            most_floor = 0 if scope.budget in downgraded else NEVER
            if self._run(self.TAKE, (nano, id_, most_floor, now_s)).rowcount != 1:
                return False
        return True

    def _hold(
        self,
        request_id: str,
        nano: int,
        lease_ends_s: float,
        scopes: Sequence[Scope],
        ids: tuple[int, ...],
        line: bytes,
    ) -> Reserved:
        row = (request_id, nano, lease_ends_s, _text(ids), line)
        if self._run(self.HOLD, row).rowcount != 1:
            raise _NotQuickly
        return Reserved(request_id, nano, tuple(scopes), lease_ends_s, ids)

    def _held_before(
        self, request_id: str, nano: int, scopes: Sequence[Scope], ids: tuple[int, ...]
    ) -> Reserved | None:
        """Return what this request holds already. ValueError: on other terms, or it is done."""
        asked = "SELECT nano, scopes, lease_ends_s FROM ledger_held WHERE id = ?"
        held = self._run(asked, (request_id,)).fetchone()
        if held is None:
            if self._run(_CHARGED_BEFORE, (request_id,)).fetchone():
                raise ValueError(f"{request_id} was reserved before, and is charged")
            return None
        if (held[0], _ids(held[1])) != (nano, ids):
            raise ValueError(f"{request_id} is reserved already, on other terms")
        return Reserved(request_id, nano, tuple(scopes), held[2], ids)

    def _charge(self, nano: int, scope_ids: str, entries: Sequence[Entry]) -> list[Alert]:
        """Put the rows in the place of `nano` that was reserved."""
        charge, due = sum([entry.nano for entry in entries]), []
        for id_ in _ids(scope_ids):
            values = (nano, charge, id_)
            if self._run(self.CHARGE, values).rowcount != 1:
                self._run(self.CHARGE_AND_TELL, values)
                due.append(id_)
        for entry in entries:
            self._run(self.APPEND, (scope_ids, *row_of(entry)))
        return self._scopes.alerts(due) if due else []

    def _begin_day(self, at: str) -> None:
        """Note where a day's rows begin: reports of days need no index over every row."""
        day = _day(at)
        if day not in self._days:
            self._db.write(lambda: self._run(_DAY, (day,)))
            self._days.add(day)

    def _settled_late(self, request_id: str, entries: Sequence[Entry], now_s: float) -> list[Alert]:
        alerts = self._take_back(request_id, entries, now_s)
        if alerts is not None:
            return alerts
        if not self._run(_CHARGED_BEFORE, (request_id,)).fetchone():
            raise NotReserved(request_id)
        return []

    def _take_back(
        self, request_id: str, entries: Sequence[Entry], now_s: float
    ) -> list[Alert] | None:
        """Correct what was charged when the lease ran out; None: it didn't, or it was corrected."""
        lost = self._run(self.TAKE_BACK, (request_id,)).fetchone()
        if lost is None:
            return None
        at = stamp(now_s)
        self._run(_DAY, (_day(at),))
        return self._charge(0, lost[0], corrections(entry_of_short(lost[1]), entries, at))

    def _expire_some(self, now_s: float, at: str) -> Expired:
        alerts: list[Alert] = []
        rows = self._run(_RUN_OUT, (now_s,)).fetchall()
        for id_, nano, scope_ids, worst in rows:
            self._run(self.LET_GO, (id_, nano, scope_ids))
            charged = replace(entry_of_short(worst), kind="expired", at=at, estimated=True)
            alerts += self._charge(nano, scope_ids, (charged,))
            lost = (id_, nano, scope_ids, short(charged))
            self._run("INSERT INTO ledger_lost VALUES (?, ?, ?, ?)", lost)
        return Expired(len(rows), tuple(alerts))

    def _state(self, request_id: str) -> State | None:
        for asked, state in _STATES:
            if self._run(asked, (request_id,)).fetchone():
                return state
        return None


_BOOKS = """
SELECT id, budget || ' ' || value || ' ' || period, lim, avail, reserved, spent,
  hard IS NOT NULL
FROM ledger_scopes
"""
_BOOKS_HELD = "SELECT id, nano, scopes FROM ledger_held"
_BOOKS_ROWS = "SELECT request_id, n, nano, scopes FROM ledger_entries"
_STATES: tuple[tuple[str, State], ...] = (
    ("SELECT 1 FROM ledger_held WHERE id = ?", "open"),
    ("SELECT 1 FROM ledger_lost WHERE id = ?", "expired"),
    (_CHARGED_BEFORE, "settled"),
)


class _NotQuickly(Exception):  # noqa: N818 (no error: it has to be done with care)
    """A scope is new, short or overridden until now, or the request id was seen before."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(map(str, _ids(text)))


def _day(at: str) -> str:
    return at[: len("2026-11-21")]


@lru_cache(4096)
def _text(ids: tuple[int, ...]) -> str:
    return json.dumps(ids)


@lru_cache(4096)
def _ids(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))

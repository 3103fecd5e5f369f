"""The ledger in one DynamoDB table: one TransactWriteItems to reserve, one to settle.

Two round trips a request; more where something is seen for the first time (an alert, an override
that ended, another policy's limits) and where a shard ran dry. After a LedgerUnavailable it is
open whether it was done: the same call again finds out, and without one the lease runs out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from zlib import crc32

import orjson

from router.ledger.audit import Books
from router.ledger.dynamo_books import books
from router.ledger.dynamo_charge import ROUNDS, Charges
from router.ledger.dynamo_rows import Rows
from router.ledger.dynamo_scopes import Scopes, standing
from router.ledger.dynamo_standings import Standings
from router.ledger.dynamo_table import LEASES, Client, Item, Key, Table, Unmet
from router.ledger.entry import Entry, clamped, corrections, entry_json, entry_of, stamp
from router.ledger.fleet_time import FleetTime
from router.ledger.port import (
    NEVER,
    ONCE_S,
    Adopted,
    Alert,
    Balance,
    Before,
    Downgrade,
    Expired,
    LedgerUnavailable,
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
from router.ledger.standing import checked, judged

SPREAD = 8  # partitions of the open leases
KEPT_S = 7 * 86400  # a reservation that is done, so that replays are known
_FREE = "attribute_not_exists(#pk) OR #at_s <= :before_s OR #request_id IN (:request_id, :freed)"


class DynamoLedger:
    """The port `Ledger`. `client`: DynamoDB's; any thread may use it.

    `shards`: into how many rows a budget's scopes are split, each with its part of the limit, for
    budgets with more than some 300 requests a second. It never overspends; it may refuse `nano`
    while less than shards x nano are left in all. Their number is fixed for a period.
    """

    STILL = "#state = :old"  # what settles a reservation once

    remote = True

    def __init__(
        self,
        client: Client,
        table: str,
        shards: Mapping[str, int] | None = None,
    ) -> None:
        self._table = self.table = Table(client, table)
        self._scopes = Scopes(self._table, shards or {})
        self._standings = Standings(self._table)
        self._rows = Rows(self._table)
        self._charges = Charges(self._table, self._rows)

    def reserve(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str] = frozenset(),
        once: Once | None = None,
    ) -> Reserved | Refused | Downgrade | Before:
        checked(worst.nano, scopes)
        held = [self._scopes.shard(scope, worst.request_id) for scope in scopes]
        freed = worst.request_id  # of the idempotency key: a request that gave all back, if any
        for _ in range(ROUNDS):
            done = self._reserve(worst, scopes, held, now_s, lease_ends_s, downgraded, once, freed)
            if isinstance(done, str):
                freed = done
            elif done is not None:
                return done
        raise LedgerUnavailable("the ledger could not be used: others keep changing the budgets")

    def _reserve(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        held: list[int],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str],
        once: Once | None,
        freed: str,
    ) -> Reserved | Refused | Downgrade | Before | str | None:
        """Try it. None: a row or a shard (in `held`) was changed: try again. A text: so it is if
        this request, which gave all back, has the idempotency key no more.
        """
        nano, keys = worst.nano, [self._scopes.key(*at) for at in zip(scopes, held, strict=True)]
        operations, places = [self._holding(worst, keys, lease_ends_s)], []
        if once is not None:
            operations.append(self._taking_key(once, worst.request_id, freed, now_s))
        for scope, shard in zip(scopes, held, strict=True):
            places.append(len(operations))
            lowered = scope.budget in downgraded
            taking = self._scopes.taking(scope, shard, nano, now_s, lowered=lowered)
            # Two values of one budget hold the same limit, which may be named once.
            operations += [operation for operation in taking if operation not in operations]
        reserved = Reserved(worst.request_id, nano, tuple(scopes), lease_ends_s, tuple(held))
        try:
            self._table.transact(operations)
        except Unmet as unmet:
            old = unmet.old
        else:
            for key in keys:
                self._scopes.saw(key)
            return reserved
        if once is not None and 1 in old:
            return self._before(old[1], once)
        if 0 in old:
            return _held_before(old[0], reserved, keys)
        ends = [*places[1:], len(operations)]
        rows: list[Item | None] = []
        for scope, shard, place, end in zip(scopes, held, places, ends, strict=True):
            row = old.get(place)
            rows.append(row)
            failed = any(number in old for number in range(place + 1, end))
            if failed or (row is not None and (not row or row["until_s"] <= now_s)):
                self._scopes.mend(scope, shard, now_s)
                return None
        return self._judged(scopes, held, rows, nano, downgraded)

    def _judged(
        self,
        scopes: Sequence[Scope],
        held: list[int],
        rows: Sequence[Item | None],
        nano: int,
        downgraded: frozenset[str],
    ) -> Refused | Downgrade | None:
        """Return why it is refused, over all shards; a shard that has more is put into `held`."""
        found: list[tuple[int, int]] = []
        for number, (scope, row) in enumerate(zip(scopes, rows, strict=True)):
            if row is not None and self._scopes.count(scope.budget) > 1:
                shard, row = self._fullest(scope, row)  # noqa: PLW2901 (the same, fuller)
                held[number] = shard
            # A row that didn't object is not told: it has enough.
            found.append((NEVER, -NEVER) if row is None else standing(row))
        return judged(scopes, found, nano, downgraded)

    def _fullest(self, scope: Scope, row: Item) -> tuple[int, Item]:
        rows = {int(other["sk"].rpartition("#")[2]): other for other in self._scopes.rows(scope)}
        for other in range(self._scopes.count(scope.budget)):
            if other not in rows:
                return other, {**row, "avail": row["lim"]}  # not made yet: whole
        best = max(rows, key=lambda number: rows[number]["softly"])
        return best, rows[best]

    def _holding(self, worst: Entry, keys: Sequence[Key], lease_ends_s: float) -> Item:
        request_id = worst.request_id
        item = {
            "pk": f"R#{request_id}",
            "sk": "R",
            "request_id": request_id,
            "state": "open",
            "nano": worst.nano,
            "scopes": json.dumps(keys),
            "worst": entry_json(worst).decode(),
            "lease": f"L{crc32(request_id.encode()) % SPREAD}",
            "due_ms": round(lease_ends_s * 1000),
        }
        return self._table.putting(item, "attribute_not_exists(#pk)", {})

    def _taking_key(self, once: Once, request_id: str, freed: str, now_s: float) -> Item:
        item = {
            "pk": f"ONCE#{once.key_id}",
            "sk": once.name,
            "body_hash": once.body_hash,
            "request_id": request_id,
            "at_s": now_s,
            "gone_s": int(now_s + 2 * ONCE_S),
        }
        values = {"before_s": now_s - ONCE_S, "request_id": request_id, "freed": freed}
        return self._table.putting(item, _FREE, values)

    def _before(self, first: Item, once: Once) -> Before | str:
        """Return which request has the key, or only its id: it gave all back."""
        request_id: str = first["request_id"]
        state = self._table.get(_request(request_id)).get("state")
        same = first["body_hash"] == once.body_hash
        return request_id if state is None else Before(request_id, state, same)

    def settle(self, reserved: Reserved, entries: Sequence[Entry], now_s: float) -> list[Alert]:
        if not entries:
            raise ValueError("nothing to settle: what was not sent is released")
        if any(entry.request_id != reserved.id or entry.nano < 0 for entry in entries):
            raise ValueError(f"a row that is not {reserved.id}'s, or a negative charge")
        if any(scope.hard_nano is not None for scope in reserved.scopes):
            entries = clamped(entries, reserved.nano)
        pairs = zip(reserved.scopes, reserved.held, strict=True)
        keys = [self._scopes.key(scope, shard) for scope, shard in pairs]
        change = self._closing(reserved.id, ("open", "settled"), now_s)
        before, alerts = self._charges.charge(change, keys, reserved.nano, entries)
        if before is None or before.get("state") == "settled":
            return alerts
        if not before:
            raise NotReserved(reserved.id)
        return self._take_back(before, entries, now_s)

    def release(self, reserved: Reserved, now_s: float) -> None:
        pairs = zip(reserved.scopes, reserved.held, strict=True)
        keys = [self._scopes.key(scope, shard) for scope, shard in pairs]
        gone = self._table.deleting(_request(reserved.id), "#state = :open", {"open": "open"})
        before, _ = self._charges.charge(gone, keys, reserved.nano, ())
        if before and before["state"] == "expired":
            self._take_back(before, (), now_s)

    def abandon(self, request_id: str, now_s: float) -> State | None:
        item = self._table.get(_request(request_id))
        if item.get("state") == "open":
            keys = [(pk, sk) for pk, sk in json.loads(item["scopes"])]
            gone = self._table.deleting(_request(request_id), "#state = :open", {"open": "open"})
            before, _ = self._charges.charge(gone, keys, item["nano"], ())
            if before is None:
                return "open"
            item = before  # its lease ran out, or it was settled, in this moment
        if item.get("state") == "expired":
            self._take_back(item, (), now_s)
        if item.get("back"):
            return "expired"  # asked again: a charge that was given back whole is none
        state: State | None = item.get("state")
        return state

    def expire(self, now_s: float, most: int | None = None) -> Expired:
        """`most`: how many are looked at; None: all. What is left is for the next time."""
        leases, alerts = 0, list[Alert]()
        for item in islice(self._leases("<", now_s), most):
            worst = entry_of(item["worst"])
            row = replace(worst, kind="expired", at=stamp(now_s), estimated=True)
            line = entry_json(row).decode()
            change = self._closing(item["request_id"], ("open", "expired"), now_s, line)
            keys = [(pk, sk) for pk, sk in json.loads(item["scopes"])]
            before, told = self._charges.charge(change, keys, item["nano"], (row,))
            leases += before is None
            alerts += told
        return Expired(leases, tuple(alerts))

    def open_requests(self, now_s: float) -> Counter[str]:
        """Return how many requests are reserved or running, by the fleet that each was meant for.

        As the index has it: a moment ago, and without those whose lease ran out.
        """
        found = (orjson.loads(item["worst"]) for item in self._leases(">=", now_s))
        return Counter(str(worst["fleet"]) for worst in found)

    def _leases(self, than: str, now_s: float) -> Iterator[Item]:
        """Yield what is open and due before (`<`) or after. What the index tells may be old: the
        condition on the item itself decides.
        """
        for number in range(SPREAD):
            values = {"lease": f"L{number}", "due_ms": round(now_s * 1000)}
            due = f"#lease = :lease AND #due_ms {than} :due_ms"
            yield from self._table.query(due, values, LEASES)

    def balance(self, scope: Scope, now_s: float) -> Balance:
        return self._scopes.balance(scope, now_s)

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool:
        return self._scopes.adopt(limits, policy_hash, now_s)

    def follow(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> None:
        self._scopes.follow(limits, policy_hash, now_s)

    def override(
        self, budget: str, value: str, soft_nano: int, until_s: float, now_s: float
    ) -> None:
        if until_s <= now_s:
            raise ValueError("an override ends after it begins")
        self._scopes.override(budget, value, soft_nano, until_s, now_s)

    def end_override(self, budget: str, value: str, now_s: float) -> bool:
        return self._scopes.end_override(budget, value, now_s)

    def adopted(self) -> Adopted | None:
        return self._standings.adopted()

    def overrides(self, now_s: float) -> list[Override]:
        return self._standings.overrides(now_s)

    def standings(self, now_s: float, *, closed: bool = False) -> list[Standing]:
        return self._standings.standings(now_s, closed=closed)

    def entries(self, start: str, end: str) -> Iterator[Entry]:
        return self._rows.entries(start, end)

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]:
        return self._rows.fleet_times(start, end)

    def add_fleet_time(self, rows: Iterable[FleetTime]) -> None:
        self._rows.add_fleet_time(rows)

    def books(self) -> Books:
        """Return all of it, to be audited: exact only while nobody writes."""
        return books(self._table)

    def close(self) -> None:
        """The client is the caller's."""

    def _closing(
        self,
        request_id: str,
        states: tuple[str, str],
        now_s: float,
        line: str | None = None,
        *,
        back: bool = False,
    ) -> Item:
        """Return the operation that changes a reservation's state; the TTL may have it then."""
        old, new = states
        change = "SET #state = :new, #gone_s = :gone_s" + (", #worst = :line" if line else "")
        change += ", #back = :back" if back else ""
        values = {"old": old, "new": new, "line": line, "gone_s": int(now_s) + KEPT_S}
        values |= {"back": 1} if back else {}
        return self._table.updating(
            _request(request_id), f"{change} REMOVE #lease, #due_ms", self.STILL, values
        )

    def _take_back(self, before: Item, entries: Sequence[Entry], now_s: float) -> list[Alert]:
        """Correct what was charged when the lease ran out, once."""
        rows = corrections(entry_of(before["worst"]), entries, stamp(now_s))
        states = ("expired", "settled")
        change = self._closing(before["request_id"], states, now_s, back=not entries)
        keys = [(pk, sk) for pk, sk in json.loads(before["scopes"])]
        return self._charges.charge(change, keys, 0, rows)[1]


def _held_before(item: Item, asked: Reserved, keys: Sequence[Key]) -> Reserved:
    """Return what this request holds already. ValueError: on other terms, or it is done."""
    if item["state"] != "open":
        raise ValueError(f"{asked.id} was reserved before, and is charged")
    before = [(pk, sk) for pk, sk in json.loads(item["scopes"])]
    names = [(pk, sk.rpartition("#")[0]) for pk, sk in before]
    if (item["nano"], names) != (asked.nano, [(pk, sk.rpartition("#")[0]) for pk, sk in keys]):
        raise ValueError(f"{asked.id} is reserved already, on other terms")
    held = tuple(int(sk.rpartition("#")[2]) for _, sk in before)
    return replace(asked, held=held, lease_ends_s=item["due_ms"] / 1000)


def _request(request_id: str) -> Key:
    return f"R#{request_id}", "R"

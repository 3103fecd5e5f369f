"""Budgets' rows in DynamoDB: their limits, overrides, shards and alerts.

A row keeps, beside `avail`, what conditions need, for they can't add: `softly` (avail less what
only downgraded requests may take) and `room` (what may be spent until the next alert is due).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from zlib import crc32

from router.ledger.dynamo_table import Item, Key, Table, Unmet
from router.ledger.entry import stamp
from router.ledger.port import Balance, Limit, Scope
from router.ledger.standing import next_alert

FOREVER_S = 1e15  # `until_s` of a row without an override
NO_HARD = -1  # a scope that never refuses
ADOPTED: Key = ("ADOPTED", "policy")
_LIMITED = (
    "SET #soft = :soft, #hard = :hard, #alert_at = :alert_at, #lim = :lim, #until_s = :until_s,"
    " #avail = #avail + :more, #softly = #softly + :more_softly, #room = #room + :more_room"
)
_AS_READ = (
    "#soft = :was_soft AND #hard = :was_hard AND #alert_at = :was_alert_at AND #fired = :fired"
    " AND #until_s = :was_until_s"
)
# What a row is made of, unless it is there.
_ONCE = ("soft", "hard", "alert_at", "lim", "room", "fired", "until_s", "ends")
_NAME = ("budget", "value", "period")
_FRESH = ", ".join(
    [
        "SET #avail = if_not_exists(#avail, :lim) - :nano",
        "#softly = if_not_exists(#softly, :softly) - :nano",
        "#reserved = if_not_exists(#reserved, :zero) + :nano",
        "#spent = if_not_exists(#spent, :zero)",
        *(f"#{name} = if_not_exists(#{name}, :{name})" for name in _ONCE),
        *(f"#{name} = :{name}" for name in _NAME),
    ]
)
TAKE = "SET #avail = #avail - :nano, #softly = #softly - :nano, #reserved = #reserved + :nano"
STRICTLY = "#softly >= :nano AND #until_s > :now_s"
LOWERED = "(#softly >= :nano OR #avail >= :nano) AND #until_s > :now_s"


class Scopes:
    """The rows of scopes, and what decides their limits. `shards`: rows a scope, by budget."""

    def __init__(self, table: Table, shards: Mapping[str, int]) -> None:
        self._table, self._shards = table, shards
        self._believed: dict[str, Limit] = {}  # as adopted, as far as this process knows
        self._seen: set[Key] = set()  # rows that are there: they stay

    def shard(self, scope: Scope, request_id: str) -> int:
        return crc32(request_id.encode()) % self.count(scope.budget)

    def count(self, budget: str) -> int:
        return self._shards.get(budget, 1)

    def key(self, scope: Scope, shard: int) -> Key:
        return f"S#{scope.budget}", f"{scope.value}#{scope.period}#{shard}"

    def saw(self, key: Key) -> None:
        self._seen.add(key)

    def taking(
        self, scope: Scope, shard: int, nano: int, now_s: float, *, lowered: bool
    ) -> list[Item]:
        """Return the operations that set it aside, the row's own first.

        A row that this process has not seen is made if it isn't there; the other operations see
        to it that the limits this process believes in are those in force.
        """
        key, there = self.key(scope, shard), LOWERED if lowered else STRICTLY
        values: Item = {"nano": nano, "now_s": now_s}
        if key in self._seen:
            return [self._table.updating(key, TAKE, there, values)]
        limit = self._believed.get(scope.budget)
        part = self._part(limit or scope.limit, scope.budget, shard)
        fits = part.nano - nano >= (min(part.floor, 0) if lowered else part.floor)
        condition = f"attribute_not_exists(#pk) OR ({there})" if fits else there
        fresh = _fresh(scope, part, FOREVER_S)
        make = self._table.updating(key, _FRESH, condition, {**fresh, **values, "zero": 0})
        none = "attribute_not_exists(#pk) OR #until_s <= :now_s"
        no_override = self._table.checking(_override(scope), none, {"now_s": now_s})
        return [make, self._as_adopted(scope.budget, limit), no_override, self._as_many(scope)]

    def mend(self, scope: Scope, shard: int, now_s: float) -> None:
        """Make the row as the limits in force want it; somebody else may come first."""
        limit, until_s = self._in_force(scope.budget, scope.value, now_s, scope.limit)
        key, part = self.key(scope, shard), self._part(limit, scope.budget, shard)
        row = self._table.get(key)
        if row:
            if row["until_s"] <= now_s:
                self._put(row, part, until_s)
            self.saw(key)
            return
        item = {"pk": key[0], "sk": key[1], **_fresh(scope, part, until_s)}
        money = {"avail": part.nano, "reserved": 0, "spent": 0}
        made = self._table.putting({**item, **money}, "attribute_not_exists(#pk)", {})
        held = self._as_adopted(scope.budget, self._believed.get(scope.budget))
        try:
            self._table.transact([made, held, self._as_many(scope)])
        except Unmet as unmet:
            if 2 in unmet.old:  # noqa: PLR2004 (the place of the last operation)
                count = unmet.old[2]["shards"]
                raise ValueError(
                    f"{scope.budget} is spread over {count} shards until its period ends"
                ) from unmet

    def balance(self, scope: Scope, now_s: float) -> Balance:
        limit, _ = self._in_force(scope.budget, scope.value, now_s, scope.limit)
        rows = {row["sk"]: row for row in self.rows(scope)}
        total = spent = reserved = 0
        for shard in range(self.count(scope.budget)):
            part = self._part(limit, scope.budget, shard)
            row = rows.get(self.key(scope, shard)[1])
            total += part.nano if row is None or row["until_s"] <= now_s else row["lim"]
            if row is not None:
                spent, reserved = spent + row["spent"], reserved + row["reserved"]
        return Balance(total, spent, reserved, total - spent - reserved)

    def rows(self, scope: Scope) -> Iterator[Item]:
        values = {"pk": f"S#{scope.budget}", "sk": f"{scope.value}#{scope.period}#"}
        return self._table.query("#pk = :pk AND begins_with(#sk, :sk)", values)

    def adopt(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> bool:
        """Claim the hash, write the limits, change the rows, say that it is done.

        Whoever dies in between leaves the claim open: the next to come does it all again.
        """
        table = self._table
        before = table.get(ADOPTED)
        if before.get("policy_hash") == policy_hash and before["done"]:
            self._believed = dict(limits)
            return False
        claim = {"pk": ADOPTED[0], "sk": ADOPTED[1], "policy_hash": policy_hash}
        as_before = "#policy_hash = :before" if before else "attribute_not_exists(#pk)"
        values = {"before": before.get("policy_hash"), "policy_hash": policy_hash}
        try:
            table.put({**claim, "done": False}, as_before, values)
        except Unmet:
            return self.adopt(limits, policy_hash, now_s)
        for item in list(table.query("#pk = :pk", {"pk": "LIMIT"})):
            if item["sk"] not in limits:
                table.delete(("LIMIT", item["sk"]), "attribute_exists(#pk)", {})
        for budget, limit in limits.items():
            item = {"pk": "LIMIT", "sk": budget, **_limit_row(limit)}
            table.put(item, "attribute_not_exists(#other)", {})
        self._believed = dict(limits)
        for budget in limits:
            for row in table.query("#pk = :pk", {"pk": f"S#{budget}"}):
                self._renew(row, now_s)
        with suppress(Unmet):  # somebody adopts another one meanwhile
            table.put({**claim, "done": True}, "#policy_hash = :policy_hash", values)
        return True

    def follow(self, limits: Mapping[str, Limit], policy_hash: str, now_s: float) -> None:
        """One that died at being the first has left its claim: it is taken up."""
        if self._table.get(ADOPTED).get("done"):
            found = self._table.query("#pk = :pk", {"pk": "LIMIT"})
            self._believed = {item["sk"]: _limit(item) for item in found}
        else:
            self.adopt(limits, policy_hash, now_s)

    def override(
        self, budget: str, value: str, soft_nano: int, until_s: float, now_s: float
    ) -> None:
        adopted = self._table.get(("LIMIT", budget))
        if not adopted:
            raise KeyError(budget)
        _limit(adopted).overridden(soft_nano)
        item = {"pk": f"OVERRIDE#{budget}", "sk": value, "soft": soft_nano, "until_s": until_s}
        self._table.put(item, "attribute_not_exists(#other)", {})
        self._renew_value(budget, value, now_s)

    def end_override(self, budget: str, value: str, now_s: float) -> bool:
        """Rows that whoever died at it left as they were are renewed by the next."""
        key = (f"OVERRIDE#{budget}", value)
        before = self._table.get(key)
        with suppress(Unmet):  # there is none
            self._table.delete(key, "attribute_exists(#pk)", {})
        self._renew_value(budget, value, now_s)
        return bool(before) and before["until_s"] > now_s

    def _renew_value(self, budget: str, value: str, now_s: float) -> None:
        values = {"pk": f"S#{budget}", "sk": f"{value}#"}
        for row in self._table.query("#pk = :pk AND begins_with(#sk, :sk)", values):
            if row["value"] == value:
                self._renew(row, now_s)

    def _renew(self, row: Item, now_s: float) -> None:
        """Give a row of a running period the limit in force, whoever else changes it too."""
        while row["ends"] > stamp(now_s):
            limit, until_s = self._in_force(row["budget"], row["value"], now_s, _limit(row))
            shard = int(row["sk"].rpartition("#")[2])
            if self._put(row, self._part(limit, row["budget"], shard), until_s):
                return
            row = self._table.get((row["pk"], row["sk"]))

    def _put(self, row: Item, limit: Limit, until_s: float) -> bool:
        """Change the limit of the row as it was read; False: it was changed meanwhile."""
        was, fired = _limit(row), json.loads(row["fired"])
        more = limit.nano - was.nano
        values = {
            **_limit_row(limit),
            "lim": limit.nano,
            "until_s": until_s,
            "more": more,
            "more_softly": more + was.floor - limit.floor,
            "more_room": next_alert(limit, fired) - next_alert(was, fired),
            "was_soft": row["soft"],
            "was_hard": row["hard"],
            "was_alert_at": row["alert_at"],
            "was_until_s": row["until_s"],
            "fired": row["fired"],
        }
        try:
            self._table.update((row["pk"], row["sk"]), _LIMITED, _AS_READ, values)
        except Unmet:
            return False
        return True

    def _in_force(
        self, budget: str, value: str, now_s: float, otherwise: Limit
    ) -> tuple[Limit, float]:
        adopted = self._table.get(("LIMIT", budget))
        if adopted:
            self._believed[budget] = _limit(adopted)
        else:
            self._believed.pop(budget, None)
        limit = self._believed.get(budget, otherwise)
        over = self._table.get((f"OVERRIDE#{budget}", value))
        if not over or over["until_s"] <= now_s:
            return limit, FOREVER_S
        return limit.overridden(over["soft"]), over["until_s"]

    def _as_adopted(self, budget: str, limit: Limit | None) -> Item:
        if limit is None:
            return self._table.checking(("LIMIT", budget), "attribute_not_exists(#pk)", {})
        same = "#soft = :soft AND #hard = :hard AND #alert_at = :alert_at"
        return self._table.checking(("LIMIT", budget), same, _limit_row(limit))

    def _as_many(self, scope: Scope) -> Item:
        """Return the operation that keeps a period's number of shards as it began."""
        count = self.count(scope.budget)
        name = f"{scope.value}#{scope.period}"
        item = {"pk": f"SHARDS#{scope.budget}", "sk": name, "shards": count}
        as_many = "attribute_not_exists(#pk) OR #shards = :shards"
        return self._table.putting(item, as_many, {"shards": count})

    def _part(self, limit: Limit, budget: str, shard: int) -> Limit:
        count = self.count(budget)

        def part(nano: int) -> int:
            return nano // count + (shard < nano % count)

        hard = None if limit.hard_nano is None else part(limit.hard_nano)
        return Limit(part(limit.soft_nano), hard, limit.alert_at)


def standing(row: Item) -> tuple[int, int]:
    """Return (avail, floor) of a row."""
    return row["avail"], _limit(row).floor


def row_limit(row: Item) -> Limit:
    return _limit(row)


def _override(scope: Scope) -> Key:
    return f"OVERRIDE#{scope.budget}", scope.value


def _fresh(scope: Scope, limit: Limit, until_s: float) -> Item:
    return {
        **_limit_row(limit),
        "budget": scope.budget,
        "value": scope.value,
        "period": scope.period,
        "ends": scope.ends,
        "lim": limit.nano,
        "softly": limit.nano - limit.floor,
        "room": next_alert(limit, ()),
        "fired": "[]",
        "until_s": until_s,
    }


def _limit_row(limit: Limit) -> Item:
    hard = NO_HARD if limit.hard_nano is None else limit.hard_nano
    return {"soft": limit.soft_nano, "hard": hard, "alert_at": json.dumps(limit.alert_at)}


def _limit(row: Item) -> Limit:
    hard = None if row["hard"] == NO_HARD else row["hard"]
    return Limit(row["soft"], hard, tuple(json.loads(row["alert_at"])))

"""What is left of the adopted budgets, read from DynamoDB: no row of a charge is looked at."""

from collections.abc import Iterator

from router.ledger.dynamo_scopes import ADOPTED, row_limit
from router.ledger.dynamo_table import Item, Table
from router.ledger.entry import stamp
from router.ledger.port import Adopted, Limit, Override, Standing


class Standings:
    """The port `Standings`. A period that is over has the limit of the shards that were used."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def adopted(self) -> Adopted | None:
        found = self._table.get(ADOPTED)
        if not found:
            return None
        rows = self._table.query("#pk = :pk", {"pk": "LIMIT"})
        return Adopted(found["policy_hash"], {row["sk"]: row_limit(row) for row in rows})

    def overrides(self, now_s: float) -> list[Override]:
        return [one for budget in self._limits() for one in self._overrides(budget, now_s)]

    def standings(self, now_s: float, *, closed: bool) -> list[Standing]:
        return [
            standing
            for budget, limit in self._limits().items()
            for standing in self._of(budget, limit, now_s, closed=closed)
        ]

    def _limits(self) -> dict[str, Limit]:
        adopted = self.adopted()
        return dict(sorted(adopted.limits.items())) if adopted else {}

    def _overrides(self, budget: str, now_s: float) -> Iterator[Override]:
        for item in self._table.query("#pk = :pk", {"pk": f"OVERRIDE#{budget}"}):
            if item["until_s"] > now_s:
                yield Override(budget, item["sk"], item["soft"], item["until_s"])

    def _of(self, budget: str, limit: Limit, now_s: float, *, closed: bool) -> Iterator[Standing]:
        now = stamp(now_s)
        overrides = {found.value: found for found in self._overrides(budget, now_s)}
        shards: dict[tuple[str, str], list[Item]] = {}
        for row in self._table.query("#pk = :pk", {"pk": f"S#{budget}"}):
            if closed or row["ends"] > now:
                shards.setdefault((row["value"], row["period"]), []).append(row)
        for (value, period), rows in sorted(shards.items()):
            over = overrides.get(value) if rows[0]["ends"] > now else None
            in_force = limit if over is None else limit.overridden(over.soft_nano)
            yield Standing(
                budget,
                value,
                period,
                rows[0]["ends"],
                in_force if rows[0]["ends"] > now else _sum(rows),
                sum(row["spent"] for row in rows),
                sum(row["reserved"] for row in rows),
                None if over is None else over.until_s,
            )


def _sum(rows: list[Item]) -> Limit:
    limits = [row_limit(row) for row in rows]
    hards = [limit.hard_nano for limit in limits if limit.hard_nano is not None]
    return Limit(sum(limit.soft_nano for limit in limits), sum(hards) or None, limits[0].alert_at)

"""The ledger's rows in DynamoDB: what was charged and what the fleets' time cost, by day.

A day's charges lie in SPREAD partitions, so that no partition takes all that is written.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from heapq import merge
from zlib import crc32

from router.ledger.dynamo_table import Item, Key, Table, Unmet
from router.ledger.entry import Entry, entry_json, entry_of
from router.ledger.fleet_time import FleetTime

SPREAD = 8  # partitions of a day's rows


class Rows:
    """The port `Rows`, and the operation that appends a row."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._days: set[Key] = set()

    def appending(self, entry: Entry, keys: Sequence[Key]) -> Item:
        """Return the operation; its day is noted at once."""
        self._begin_day("E", entry.at)
        part = crc32(entry.request_id.encode()) % SPREAD
        item = {
            "pk": f"E#{_day(entry.at)}#{part}",
            "sk": f"{entry.at}#{entry.request_id}#{entry.n:06d}",
            "entry": entry_json(entry).decode(),
            "scopes": json.dumps(keys),
        }
        return self._table.putting(item, "attribute_not_exists(#pk)", {})

    def entries(self, start: str, end: str) -> Iterator[Entry]:
        for day in self._days_between("E", start, end):
            parts = [self._rows(f"E#{day}#{number}", start, end) for number in range(SPREAD)]
            for item in merge(*parts, key=lambda item: str(item["sk"])):
                yield entry_of(item["entry"])

    def fleet_times(self, start: str, end: str) -> Iterator[FleetTime]:
        for day in self._days_between("F", start, end):
            for item in self._rows(f"F#{day}", start, end):
                yield fleet_time_of(item)

    def add_fleet_time(self, rows: Iterable[FleetTime]) -> None:
        for row in rows:
            self._begin_day("F", row.minute)
            sk = f"{row.minute}#{row.fleet}#{row.source}"
            item = {**asdict(row), "pk": f"F#{_day(row.minute)}", "sk": sk}
            longer = "attribute_not_exists(#pk) OR #seconds < :seconds"
            try:
                self._table.put(item, longer, {"seconds": row.seconds})
            except Unmet:
                continue  # what is there covers as much

    def _begin_day(self, kind: str, at: str) -> None:
        """Note that a day has rows: reports look at no others."""
        key = (f"DAYS#{kind}", _day(at))
        if key not in self._days:
            self._table.put({"pk": key[0], "sk": key[1]}, "attribute_not_exists(#other)", {})
            self._days.add(key)

    def _days_between(self, kind: str, start: str, end: str) -> list[str]:
        days = self._table.query("#pk = :pk", {"pk": f"DAYS#{kind}"})
        return [day["sk"] for day in days if _day(start) <= day["sk"] <= _day(end)]

    def _rows(self, pk: str, start: str, end: str) -> Iterator[Item]:
        if start >= end:
            return
        values = {"pk": pk, "start": start or " ", "end": end}
        for item in self._table.query("#pk = :pk AND #sk BETWEEN :start AND :end", values):
            if item["sk"] < end:
                yield item


def fleet_time_of(item: Item) -> FleetTime:
    """Return the row that an item holds."""
    minute, fleet, source = item["sk"].split("#", 2)
    seconds, replicas = float(item["seconds"]), item["replicas"]
    return FleetTime(fleet, minute, seconds, replicas, item["nano_hour"], source, item["emulated"])


def _day(at: str) -> str:
    return at[: len("2026-11-21")]

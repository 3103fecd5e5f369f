"""What an observer saw of the fleets, one item of the ledger's table a fleet.

The observer (router.workers.observer) writes them every few seconds while there is something to
watch; routers that can't probe by themselves read them all with one Query (router.load_reader).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from backends.base import Seen
from router.ledger.dynamo_table import Item, Table, Unmet
from router.runtime import LOG
from router.tracker import Tracker

PK: Final = "LOAD"
_STATES: Final = frozenset({"up", "loading", "down", "unknown"})
_NEWER: Final = "attribute_not_exists(#pk) OR #at_ms < :at_ms"


@dataclass(frozen=True, slots=True)
class LoadItem:
    """`at_ms`: wall clock, since 1970. `seen`: of each url, in the catalogue's order; (): the
    engine can't be asked. `requests`: open reservations; `replicas`: as AWS says. None: unknown.
    """

    fleet: str
    at_ms: int
    seen: tuple[Seen, ...] = ()
    requests: int | None = None
    replicas: int | None = None


def write(table: Table, items: Sequence[LoadItem]) -> None:
    """Put them in the place of older ones. Raises LedgerUnavailable."""
    for item in items:
        written = {
            "pk": PK,
            "sk": item.fleet,
            "at_ms": item.at_ms,
            "seen": orjson.dumps([asdict(seen) for seen in item.seen]).decode(),
            "requests": item.requests,
            "replicas": item.replicas,
        }
        with suppress(Unmet):  # another observer's is newer
            table.put(written, _NEWER, {"at_ms": item.at_ms})


def read(table: Table) -> list[LoadItem]:
    """Return those of all fleets, with one Query. Raises LedgerUnavailable."""
    return list(_readable(table.query("#pk = :pk", {"pk": PK})))


def _readable(found: Iterator[Item]) -> Iterator[LoadItem]:
    for item in found:
        try:
            seen = tuple(map(_seen, orjson.loads(item["seen"])))
            requests, replicas = item.get("requests"), item.get("replicas")
            yield LoadItem(item["sk"], int(item["at_ms"]), seen, requests, replicas)
        except (KeyError, TypeError, ValueError) as exc:
            LOG.error("the load item of %s can't be read: %s", item["sk"], type(exc).__name__)


def _seen(value: dict[str, Any]) -> Seen:
    if value["state"] not in _STATES:
        raise ValueError(value["state"])
    return Seen(**value)


def tell(tracker: Tracker, item: LoadItem, now_s: float) -> None:
    """Tell a tracker; `now_s`: when it was seen, by the tracker's clock."""
    tracker.saw(item.fleet, item.seen, now_s)
    tracker.told(item.fleet, now_s, item.requests, item.replicas)

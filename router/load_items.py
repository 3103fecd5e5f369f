"""What an observer saw of the fleets, one item of the ledger's table a fleet.

The observer (router.workers.observer) writes them every few seconds while there is something to
watch; routers that can't probe by themselves read them all with one Query (router.load_reader).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import orjson

from backends.base import Seen
from router.ledger.dynamo_table import Item, Table, Unmet
from router.runtime import LOG
from router.tracker import Tracker

PK: Final = "LOAD"
# What is asleep stays so until somebody wakes it, so that it is known for longer than what runs: an
# observer of an idle system looks once a minute, and the next look takes a while.
ASLEEP_FOR_S: Final = 75.0
_STATES: Final = frozenset({"up", "loading", "down", "unknown"})
_NEWER: Final = "attribute_not_exists(#pk) OR #at_ms < :at_ms"


@dataclass(frozen=True, slots=True)
class LoadItem:
    """`at_ms`: wall clock, since 1970. `seen`: of each url, in the catalogue's order; (): the
    engine can't be asked. `requests`: open reservations; `replicas`: as AWS says. None: unknown.
    `loading_ms`: since when it is wanted and doesn't answer; None: it isn't so.
    """

    fleet: str
    at_ms: int
    seen: tuple[Seen, ...] = ()
    requests: int | None = None
    replicas: int | None = None
    loading_ms: int | None = None

    @property
    def asleep(self) -> bool:
        """Return whether none of its replicas is there, as far as AWS tells."""
        return self.replicas == 0


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
            "loading_ms": item.loading_ms,
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
            known = (item.get(name) for name in ("requests", "replicas", "loading_ms"))
            yield LoadItem(item["sk"], int(item["at_ms"]), seen, *known)
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


def tell_late(tracker: Tracker, item: LoadItem, now_s: float, age_s: float) -> None:
    """Tell it, that much later. Of a fleet that was asleep that it is so is taken for seen now:
    were it unknown, the catalogue would have requests sent there, and nobody would wake it.
    """
    if item.asleep and age_s < ASLEEP_FOR_S:
        tell(tracker, replace(item, requests=None), now_s)
    else:
        tell(tracker, item, now_s - age_s)

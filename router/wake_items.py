"""Fleets that are asked to wake, one item of the ledger's table a fleet.

A router that missed one writes it; whoever wakes fleets follows the table's stream
(router.workers.waker; on EKS, KEDA counts the item). It is there until the fleet need not be kept
awake for it any longer: the requests that come then keep it, or nothing does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from router.lane_names import WAKE_PK
from router.ledger.dynamo_table import Item, Table, Unmet
from router.runtime import LOG

KEPT_S: Final = 86_400  # after `until_s`: the waker deletes it, and TTL where there is none
_ONCE: Final = "attribute_not_exists(#pk) OR #at_s <= :due_s"
_UNCHANGED: Final = "#until_s = :until_s"


@dataclass(frozen=True, slots=True)
class WakeItem:
    """`at_s`: when it was asked for, since 1970; `until_s`: till when it is kept awake for that.
    `requests`: those that the router which asked had missed.
    """

    fleet: str
    at_s: int
    until_s: int
    requests: int


def ask(table: Table, item: WakeItem, wake_s: int) -> bool:
    """Write it, unless any router asked less than `wake_s` before; return whether it was written.

    Raises LedgerUnavailable.
    """
    written = {
        "pk": WAKE_PK,
        "sk": item.fleet,
        "at_s": item.at_s,
        "until_s": item.until_s,
        "requests": item.requests,
        "gone_s": item.until_s + KEPT_S,
    }
    try:
        table.put(written, _ONCE, {"due_s": item.at_s - wake_s})
    except Unmet:
        return False
    return True


def read(table: Table) -> list[WakeItem]:
    """Return those of all fleets, with one Query. Raises LedgerUnavailable."""
    return list(_readable(table.query("#pk = :pk", {"pk": WAKE_PK})))


def item_of(row: Item) -> WakeItem:
    """Return what a row says. Raises KeyError, TypeError or ValueError: it is no wake item."""
    if row["pk"] != WAKE_PK:
        raise ValueError(row["pk"])
    return WakeItem(row["sk"], int(row["at_s"]), int(row["until_s"]), int(row["requests"]))


def delete(table: Table, item: WakeItem) -> bool:
    """Delete it, unless it was asked for anew since; return whether it was deleted.

    Raises LedgerUnavailable.
    """
    try:
        table.delete((WAKE_PK, item.fleet), _UNCHANGED, {"until_s": item.until_s})
    except Unmet as exc:
        return not exc.old[0]  # gone already
    return True


def _readable(found: Iterator[Item]) -> Iterator[WakeItem]:
    for row in found:
        try:
            yield item_of(row)
        except (KeyError, TypeError, ValueError) as exc:
            LOG.error("the wake item of %s can't be read: %s", row["sk"], type(exc).__name__)

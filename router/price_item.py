"""The prices as the price worker read them last: one item of the ledger's table.

Its `text` is a price file (docs/fleets.md) and goes before the packaged prices, as the file
`prices.yaml` of a state folder does.
"""

from dataclasses import dataclass
from typing import Final

from router.ledger.dynamo_table import Table, Unmet

KEY: Final = ("CONFIG", "prices")


class Overtaken(Exception):  # noqa: N818 (it says what is the case)
    """Somebody else wrote the item since it was read; nothing was written."""


@dataclass(frozen=True, slots=True)
class PriceItem:
    """`version`: a hash of what it says; `at_s`: when it was written, since 1970."""

    text: str
    version: str
    at_s: int


def read(table: Table) -> PriceItem | None:
    """Return the item; None: there is none yet. Raises LedgerUnavailable."""
    found = table.get(KEY)
    return PriceItem(found["text"], found["version"], int(found["at_s"])) if found else None


def write(table: Table, item: PriceItem, before: PriceItem | None) -> None:
    """Put it in the place of `before`. Raises Overtaken, LedgerUnavailable."""
    written = {
        "pk": KEY[0],
        "sk": KEY[1],
        "text": item.text,
        "version": item.version,
        "at_s": item.at_s,
    }
    as_read = "attribute_not_exists(#pk)" if before is None else "#version = :before"
    try:
        table.put(written, as_read, {"before": None if before is None else before.version})
    except Unmet:
        raise Overtaken("the prices were written by somebody else meanwhile") from None

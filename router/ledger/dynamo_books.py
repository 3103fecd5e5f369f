"""All that a DynamoDB ledger holds, to be audited."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Final

from router.ledger.audit import Books, ScopeRow
from router.ledger.dynamo_table import Item, Key, Table
from router.ledger.entry import entry_of

FIRST: Final = " "  # before every `sk`, which may not be empty


def books(table: Table) -> Books:
    """Return all of it: exact only while nobody writes."""
    items = list(table.scan())
    scopes = [_scope(item) for item in items if item["pk"].startswith("S#")]
    rows = {scope.name: scope for scope in scopes}
    held = [
        (i["request_id"], i["nano"], _names(i["scopes"])) for i in items if i.get("state") == "open"
    ]
    charged = []
    for item in items:
        if item["pk"].startswith("E#"):
            row = entry_of(item["entry"])
            charged.append((row.request_id, row.n, row.nano, _names(item["scopes"])))
    return Books(rows, held, charged)


def scope_rows(table: Table, after: Key | None, most: int) -> tuple[list[ScopeRow], Key | None]:
    """Return the next `most` rows of the adopted budgets' scopes after that one, and the last of
    them; None: there are no more.
    """
    items = list(islice(_after(table, after), most))
    last = (items[-1]["pk"], items[-1]["sk"]) if len(items) == most else None
    return [_scope(item) for item in items], last


def _after(table: Table, after: Key | None) -> Iterator[Item]:
    pk, sk = after or ("", FIRST)
    for name in sorted(f"S#{limit['sk']}" for limit in table.query("#pk = :pk", {"pk": "LIMIT"})):
        if name >= pk:
            values = {"pk": name, "after": sk if name == pk else FIRST}
            yield from table.query("#pk = :pk AND #sk > :after", values)


def _scope(item: Item) -> ScopeRow:
    name = f"{item['pk']} {item['sk']}"
    money = (item["lim"], item["avail"], item["reserved"], item["spent"])
    return ScopeRow(name, *money, item["hard"] >= 0)


def _names(keys: str) -> tuple[str, ...]:
    return tuple(f"{pk} {sk}" for pk, sk in json.loads(keys))

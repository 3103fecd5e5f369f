"""All that a DynamoDB ledger holds, to be audited."""

import json

from router.ledger.audit import Books, ScopeRow
from router.ledger.dynamo_table import Table
from router.ledger.entry import entry_of


def books(table: Table) -> Books:
    """Return all of it: exact only while nobody writes."""
    items = list(table.scan())
    rows = {
        f"{i['pk']} {i['sk']}": ScopeRow(
            f"{i['pk']} {i['sk']}", i["lim"], i["avail"], i["reserved"], i["spent"], i["hard"] >= 0
        )
        for i in items
        if i["pk"].startswith("S#")
    }
    held = [
        (i["request_id"], i["nano"], _names(i["scopes"])) for i in items if i.get("state") == "open"
    ]
    charged = []
    for item in items:
        if item["pk"].startswith("E#"):
            row = entry_of(item["entry"])
            charged.append((row.request_id, row.n, row.nano, _names(item["scopes"])))
    return Books(rows, held, charged)


def _names(keys: str) -> tuple[str, ...]:
    return tuple(f"{pk} {sk}" for pk, sk in json.loads(keys))

"""A charge in DynamoDB: rows in the place of a reservation, in every scope, and what that tells."""

import json
from collections.abc import Sequence

from router.ledger.dynamo_rows import Rows
from router.ledger.dynamo_scopes import row_limit
from router.ledger.dynamo_table import Item, Key, Table, Unmet
from router.ledger.entry import Entry
from router.ledger.port import Alert, LedgerUnavailable
from router.ledger.standing import alerts_due, next_alert

ROUNDS = 8  # of one call, when others keep changing what was read
_CHARGE = (
    "SET #reserved = #reserved - :nano, #spent = #spent + :charge, #avail = #avail + :back,"
    " #softly = #softly + :back, #room = #room - :charge"
)
_TELL = f"{_CHARGE} + :more_room, #fired = :now_fired"
_STILL_DUE = "#fired = :fired AND #soft = :soft AND #alert_at = :alert_at AND #room > :least_room"


class Charges:
    """What settling, releasing and expiring have in common."""

    def __init__(self, table: Table, rows: Rows) -> None:
        self._table, self._rows = table, rows

    def charge(
        self, change: Item, keys: Sequence[Key], nano: int, entries: Sequence[Entry]
    ) -> tuple[Item | None, list[Alert]]:
        """Put the rows in the place of `nano` that was reserved.

        Returned: None, or the reservation as it is, if it is in another state: nothing was done.
        """
        charge = sum(entry.nano for entry in entries)
        values = {"nano": nano, "charge": charge, "back": nano - charge}
        puts = [self._rows.appending(entry, keys) for entry in entries]
        plain = [self._table.updating(key, _CHARGE, "#room > :charge", values) for key in keys]
        due: set[int] = set()  # scopes that have an alert to tell, by their place
        for _ in range(ROUNDS):
            told = {place: self._telling(keys[place], values) for place in sorted(due)}
            updates = [told[n][0] if n in told else update for n, update in enumerate(plain)]
            notes = [note for _, notes, _ in told.values() for note in notes]
            try:
                self._table.transact([change, *updates, *puts, *notes])
            except Unmet as unmet:
                if 0 in unmet.old:
                    return unmet.old[0], []
                due |= {number - 1 for number in unmet.old if number <= len(keys)}
            else:
                return None, [alert for _, _, alerts in told.values() for alert in alerts]
        raise LedgerUnavailable("the ledger could not be used: others keep changing the budgets")

    def _telling(self, key: Key, values: Item) -> tuple[Item, list[Item], list[Alert]]:
        """Return the row's update that tells its alerts, notes that they are told, and them."""
        row = self._table.get(key)
        limit, fired = row_limit(row), json.loads(row["fired"])
        spent = row["spent"] + values["charge"]
        shares = alerts_due(limit, fired, spent)
        if not shares:
            return self._table.updating(key, _CHARGE, "#room > :charge", values), [], []
        now_fired = sorted({*fired, *shares})
        more_room = next_alert(limit, now_fired) - next_alert(limit, fired)
        values = {
            **values,
            "fired": row["fired"],
            "now_fired": json.dumps(now_fired),
            "soft": row["soft"],
            "alert_at": row["alert_at"],
            "more_room": more_room,
            "least_room": values["charge"] - more_room,
        }
        update = self._table.updating(key, _TELL, _STILL_DUE, values)
        name = (row["budget"], row["value"], row["period"])
        notes, alerts = [], []
        for share in shares:
            # Another shard of the scope may have told it.
            note = ("TOLD#" + "#".join(name), repr(share))
            if not self._table.get(note):
                item = {"pk": note[0], "sk": note[1]}
                notes.append(self._table.putting(item, "attribute_not_exists(#pk)", {}))
                alerts.append(Alert(*name, row["ends"], share, spent, row["soft"]))
        return update, notes, alerts

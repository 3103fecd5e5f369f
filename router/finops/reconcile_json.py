"""A reconciliation as the JSON of ``sluice ledger reconcile --json``. Pure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import orjson

from router.finops.money import usd_text
from router.finops.reconcile import Apart, Row, total


def reconcile_json(rows: Sequence[Row], apart: Apart, emulated: list[str]) -> dict[str, Any]:
    """`usd...` are numbers with 9 decimals; null: that side has nothing of the fleet that day."""
    bill, expected = total(rows)
    return {
        "ok": all(row.ok for row in rows),
        "rows": [_row(row) for row in rows],
        "unallocated": {
            "lines": apart.unallocated_lines,
            "usd": _usd(sum(apart.unallocated.values())),
            "services": _listed("service", apart.unallocated),
        },
        "credits": _listed("fleet", apart.credits),
        "taxes": _listed("fleet", apart.taxes),
        "purchases": _listed("fleet", apart.purchases),
        "emulated": emulated,
        "totals": {
            "usd_bill": _usd(bill),
            "usd_expected": _usd(expected),
            "usd_difference": _usd(bill - expected),
        },
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "fleet": row.fleet,
        "day": row.day.isoformat(),
        "usd_bill": _usd(row.bill),
        "usd_expected": _usd(row.expected),
        "usd_difference": _usd(row.difference),
        "hours_bill": _hours(row.hours) if row.by_hours is not None else None,
        "hours_expected": _hours(row.replica_hours) if row.expected is not None else None,
        "usd_by_price": _usd(row.by_price),
        "usd_by_hours": _usd(row.by_hours),
        "usd_by_other_lines": _usd(row.by_other),
        "cause": row.cause or None,
        "ok": row.ok,
    }


def _listed(name: str, sums: Mapping[Any, int]) -> list[dict[str, Any]]:
    return [{name: key, "usd": _usd(nano)} for key, nano in sums.items()]


def _hours(hours: Fraction) -> float:
    return round(float(hours), 6)


def _usd(nano: int | None) -> orjson.Fragment | None:
    return None if nano is None else orjson.Fragment(usd_text(nano))

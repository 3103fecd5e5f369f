"""What AWS's services cost, as ``data/aws.yaml`` says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yamlfile
from backends.points import Mark

_TEXT = {"type": "string", "minLength": 1}
_ROW: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "unit", "usd", "as_of", "source", "mark"],
    "properties": {
        "id": _TEXT,
        "unit": _TEXT,
        "usd": {"type": "number", "exclusiveMinimum": 0},
        "as_of": {"type": "string", "format": "date", "description": "a date (YYYY-MM-DD)"},
        "source": _TEXT,
        "mark": {"enum": ["measured", "stated", "estimated", "assumed"]},
    },
}
_FORM: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "region", "currency", "prices"],
    "properties": {
        "version": {"const": 1, "description": "1, the only version of this form"},
        "region": _TEXT,
        "currency": {"const": "USD", "description": "USD"},
        "prices": {"type": "array", "items": _ROW, "minItems": 1},
    },
}


@dataclass(frozen=True, slots=True)
class AwsPrice:
    """USD of one unit in `region`; `usd` None: unknown there, `as_of` None: so is its day.

    A price in another currency keeps it (`currency`, `per_unit`).
    """

    id: str
    unit: str
    usd: float | None
    region: str
    as_of: str | None
    source: str
    mark: Mark
    currency: str = "USD"
    per_unit: float | None = None


def read(text: str, name: str) -> dict[str, AwsPrice]:
    """Return the prices by id; raise yamlfile.Invalid."""
    document = yamlfile.read(text, name, _FORM)
    rows, region = document.value["prices"], document.value["region"]
    twice = [
        (("prices", i, "id"), f"price `{row['id']}` stands here twice")
        for i, row in enumerate(rows)
        if any(other["id"] == row["id"] for other in rows[:i])
    ]
    if twice:
        raise document.invalid(twice)
    return {row["id"]: AwsPrice(region=region, **row) for row in rows}

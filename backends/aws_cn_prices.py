"""What AWS's services cost in China, as ``data/aws-cn.yaml`` says: in CNY, by region. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import yamlfile
from backends.aws_prices import AwsPrice
from backends.prices import PriceBook

CURRENCY: Final = "CNY"
_TEXT = {"type": "string", "minLength": 1}
_SAID: Mapping[str, Any] = {
    "as_of": {"type": "string", "format": "date", "description": "a date (YYYY-MM-DD)"},
    "source": _TEXT,
    "mark": {"enum": ["measured", "stated", "estimated", "assumed"]},
}
_CUT = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _form(**properties: Any) -> Mapping[str, Any]:  # noqa: ANN401 (a schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


_ROW = _form(
    id=_TEXT,
    regions={"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True},
    amount={"type": "number", "exclusiveMinimum": 0},
    **_SAID,
)
_FORM = _form(
    version={"const": 1, "description": "1, the only version of this form"},
    partition={"const": "aws-cn", "description": "aws-cn"},
    currency={"const": CURRENCY, "description": CURRENCY},
    prices={"type": "array", "items": _ROW, "minItems": 1},
    static_bgp=_form(least=_CUT, most=_CUT, **_SAID),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """`usd`: of one unit of the currency, on the day `as_of`."""

    currency: str
    usd: float
    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Cut:
    """By which share Static BGP costs less than BGP, at `least` and at `most`."""

    least: float
    most: float
    as_of: str
    source: str
    mark: str


@dataclass(frozen=True, slots=True)
class ChinaPrices:
    """`rows`: by id and region."""

    rows: Mapping[tuple[str, str], Mapping[str, Any]]
    static_bgp: Cut


def read(text: str, name: str, known: Mapping[str, AwsPrice]) -> ChinaPrices:
    """Return the file's prices, whose ids are among the known; raise yamlfile.Invalid."""
    document = yamlfile.read(text, name, _FORM)
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    wrong: list[yamlfile.Fault] = []
    for i, row in enumerate(document.value["prices"]):
        at = ("prices", i, "id")
        if row["id"] not in known:
            wrong.append((at, f"no price `{row['id']}` {yamlfile.suggest(row['id'], known)}"))
        for region in row["regions"]:
            if (row["id"], region) in rows:
                wrong.append((at, f"price `{row['id']}` of {region} stands here twice"))
            rows[row["id"], region] = row
    if wrong:
        raise document.invalid(wrong)
    return ChinaPrices(rows, Cut(**document.value["static_bgp"]))


def rate(book: PriceBook) -> Rate | None:
    """Return the price book's rate of CNY; None: it has none."""
    rows = book.compiled.get("exchange", ())
    assert isinstance(rows, list | tuple)
    found = [row for row in rows if row["currency"] == CURRENCY]
    return Rate(**found[0]) if found else None


def of_region(
    china: ChinaPrices, region: str, known: Mapping[str, AwsPrice], at: Rate | None
) -> dict[str, AwsPrice]:
    """Return every known id with its price in this region; what nobody says is unknown, and never
    the price of another region.
    """
    return {id_: _price(china.rows.get((id_, region)), known[id_], region, at) for id_ in known}


def _price(
    row: Mapping[str, Any] | None, known: AwsPrice, region: str, at: Rate | None
) -> AwsPrice:
    here = replace(known, region=region, currency=CURRENCY, usd=None)
    if row is None:
        said = f"no price of {region} with a date and a source is known"
        return replace(here, as_of=None, source=said)
    said = row["source"] if at is None else f"{row['source']}; {CURRENCY} of {at.as_of}"
    return replace(
        here,
        per_unit=row["amount"],
        usd=None if at is None else row["amount"] * at.usd,
        as_of=row["as_of"],
        source=said,
        mark=row["mark"],
    )

"""Lines of a cloud's bill, as AWS Data Exports writes them: FOCUS 1.0 and 1.2, and CUR 2.0. Pure.

`FORMS` is the one list of formats. A form names its columns and turns a row's cells into a line.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import orjson

from router.finops.money import nano_of

Kind = Literal["usage", "credit", "tax", "purchase"]
Cells = Mapping[str, Any]
TAG = "sluice:fleet"
_HOURS = {"hrs", "hours", "hour", "hr"}
_NO_MACHINES = (
    "NatGateway",
    "LoadBalancer",
    "VpcEndpoint",
    "TransitGateway",
)  # sold by the hour too


@dataclass(frozen=True, slots=True)
class Line:
    """`nano` is of the line's currency; `hours` are those of machines, None: it has none."""

    fleet: str | None
    start: datetime
    end: datetime
    nano: int
    currency: str
    kind: Kind
    hours: Decimal | None
    service: str


@dataclass(frozen=True, slots=True)
class Form:
    """`costs`: the column of each way to count; `tags`: where the tags may stand, the first that
    is there counts; `more`: what is read where it is there.
    """

    name: str
    needs: tuple[str, ...]
    costs: Mapping[str, str]
    tags: tuple[str, ...]
    more: tuple[str, ...]
    line: Callable[[Cells, str, str | None], Line | None]

    def missing(self, header: Sequence[str], cost: str) -> list[str]:
        lacks = [name for name in (*self.needs, self.costs[cost]) if name not in header]
        return lacks if self.tag_column(header) else [*lacks, self.tags[0]]

    def tag_column(self, header: Sequence[str]) -> str | None:
        """Return the column of all tags, or the one of our tag alone."""
        known = (name for name in self.tags if name in header)
        ours = (name for name in header if is_tag(name, TAG))
        return next(known, None) or next(ours, None)

    def wanted(self, header: Sequence[str], cost: str) -> tuple[str, ...]:
        tag = self.tag_column(header)
        assert tag is not None
        names = (*self.needs, self.costs[cost], tag, *(n for n in self.more if n in header))
        return tuple(dict.fromkeys(names))


def form_of(header: Sequence[str], cost: str) -> Form:
    """Return the form that these columns are of; raise ValueError, which names what lacks."""
    nearest = min(FORMS, key=lambda form: len(form.missing(header, cost)))
    missing = nearest.missing(header, cost)
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        raise ValueError(f"no bill that can be read: as {nearest.name} it lacks {named} "
                         f"(known: {', '.join(form.name for form in FORMS)})")  # fmt: skip
    return nearest


def is_tag(name: str, tag: str) -> bool:
    """Tell whether a bill's key is this tag: bills put `user:` or `resourceTags/` before it, and
    some write `_` for `:`.
    """
    bare = name.rpartition("/")[2].removeprefix("resource_tags_")
    bare = bare.removeprefix("user:").removeprefix("user_")
    return bare.replace(":", "_") == tag.replace(":", "_")


def fleet_of(tags: object) -> str | None:
    """Return the fleet that a cell of tags names: JSON, pairs, or the tag's value alone."""
    if isinstance(tags, str):
        if not tags.lstrip().startswith("{"):
            return tags.strip() or None
        if "fleet" not in tags:  # most lines: nothing to parse
            return None
        try:
            tags = orjson.loads(tags)
        except orjson.JSONDecodeError:
            raise ValueError("the tags are no JSON object") from None
    pairs: Iterable[tuple[str, object]] = ()
    if isinstance(tags, Mapping):
        pairs = tags.items()
    elif isinstance(tags, list):  # Parquet's maps
        pairs = tags
    return next((str(value) for key, value in pairs if is_tag(key, TAG) and value), None)


def _instant(value: object, column: str) -> datetime:
    """A time without a zone is UTC, which is what bills are in."""
    if isinstance(value, str):
        text = value.strip().removesuffix(" UTC")
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"`{column}` is no time: `{text[:40]}`") from None
    if not isinstance(value, datetime):
        raise ValueError(f"`{column}` is no time")  # noqa: TRY004  (whoever reads catches one error)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _amount(value: object, column: str) -> int:
    try:
        return nano_of(str(value if value is not None else "").strip())
    except ValueError as exc:
        raise ValueError(f"`{column}`: {exc}") from None


def _hours(quantity: object, unit: object, usage: object) -> Decimal | None:
    """Return the hours of machines; what else is sold by the hour is none."""
    if str(unit or "").strip().lower() not in _HOURS or quantity in (None, ""):
        return None
    if any(word in str(usage or "") for word in _NO_MACHINES):
        return None
    try:
        return Decimal(str(quantity).strip())
    except InvalidOperation:
        raise ValueError(f"the quantity is no number: `{str(quantity)[:40]}`") from None


def _kind(kind: Kind, nano: int) -> Kind:
    """What is given back is no use of anything, whatever the line calls itself."""
    return "credit" if nano < 0 and kind == "usage" else kind


_FOCUS_KINDS: Mapping[str, Kind] = {
    "Usage": "usage",
    "Purchase": "purchase",
    "Tax": "tax",
    "Credit": "credit",
    "Adjustment": "credit",
}


def _focus(cells: Cells, cost: str, fleet: str | None) -> Line:
    category = str(cells["ChargeCategory"] or "")
    if category not in _FOCUS_KINDS:
        raise ValueError(
            f"`ChargeCategory` is `{category[:40]}` (known: {', '.join(_FOCUS_KINDS)})"
        )
    nano = _amount(cells[cost], cost)
    unit, quantity = cells.get("PricingUnit"), cells.get("PricingQuantity")
    if str(unit or "").lower() not in _HOURS:
        unit, quantity = cells.get("ConsumedUnit"), cells.get("ConsumedQuantity")
    return Line(
        fleet,
        _instant(cells["ChargePeriodStart"], "ChargePeriodStart"),
        _instant(cells["ChargePeriodEnd"], "ChargePeriodEnd"),
        nano,
        str(cells["BillingCurrency"] or ""),
        _kind(_FOCUS_KINDS[category], nano),
        _hours(quantity, unit, cells.get("x_UsageType")),
        str(cells.get("ServiceName") or ""),
    )


_EFFECTIVE: Mapping[str, str] = {
    "SavingsPlanCoveredUsage": "savings_plan_savings_plan_effective_cost",
    "DiscountedUsage": "reservation_effective_cost",
}
_CUR_KINDS: Mapping[str, Kind] = {
    "Tax": "tax",
    "Credit": "credit",
    "Refund": "credit",
    "Fee": "purchase",
    "RIFee": "purchase",
    "SavingsPlanUpfrontFee": "purchase",
    "SavingsPlanRecurringFee": "purchase",
}
_UNBLENDED = "line_item_unblended_cost"


def _cur(cells: Cells, cost: str, fleet: str | None) -> Line | None:
    kind = str(cells["line_item_line_item_type"] or "")
    if kind == "SavingsPlanNegation":  # what it takes back is not counted: covered use is at its
        return None  # effective cost
    column = _EFFECTIVE.get(kind, cost) if cost == _UNBLENDED else cost
    if column not in cells:
        raise ValueError(f"a line of type {kind} needs the column `{column}`")
    nano = _amount(cells[column], column)
    found = _CUR_KINDS.get(kind, "credit" if kind.endswith("Discount") else "usage")
    return Line(
        fleet,
        _instant(cells["line_item_usage_start_date"], "line_item_usage_start_date"),
        _instant(cells["line_item_usage_end_date"], "line_item_usage_end_date"),
        nano,
        str(cells["line_item_currency_code"] or ""),
        _kind(found, nano),
        _hours(
            cells.get("line_item_usage_amount"),
            cells.get("pricing_unit"),
            cells.get("line_item_usage_type"),
        ),
        str(cells.get("line_item_product_code") or ""),
    )


FORMS = (
    Form(
        "FOCUS",
        ("ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "BillingCurrency"),
        {"effective": "EffectiveCost", "list": "ListCost"},
        ("Tags",),
        (
            "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit", "ServiceName",
            "x_UsageType",
        ),
        _focus,
    ),
    Form(
        "CUR 2.0",
        (
            "line_item_usage_start_date", "line_item_usage_end_date", "line_item_line_item_type",
            "line_item_currency_code",
        ),
        {"effective": _UNBLENDED, "list": "pricing_public_on_demand_cost"},
        ("resource_tags", "tags"),
        (
            "line_item_usage_amount", "pricing_unit", "line_item_usage_type",
            "line_item_product_code", *_EFFECTIVE.values(),
        ),
        _cur,
    ),
)  # fmt: skip

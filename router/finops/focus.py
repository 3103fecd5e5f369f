"""The ledger's rows as FOCUS 1.2, one row an entry. Pure.

Sluice stands as the provider that charges tenants (sub accounts) for inference by its rate cards.
What each cost column means here, and why: docs/ledger-reports.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import orjson

from router.finops.fleet_bill import busy_cost
from router.finops.money import usd_text
from router.finops.period import moment, month_of, rfc3339
from router.ledger.entry import Entry

NAME = "Sluice"
SERVICE = "Sluice Inference"
CATEGORY, SUBCATEGORY = "AI and Machine Learning", "Generative AI"
HOURS, REQUESTS, TOKENS = "Hours", "Requests", "Tokens"

Cell = str | None
Type = Literal["string", "decimal", "datetime", "json"]


@dataclass(frozen=True, slots=True)
class Charge:
    """An entry with what the rows before it say: the month in which it was first billed."""

    entry: Entry
    account: str
    at: datetime
    reserved: datetime
    correction: bool  # of a billing period that is over

    @property
    def list_nano(self) -> int:
        """The rate card's price of all that was used: what a hard cap let go is in it."""
        return self.entry.nano + self.entry.overrun_nano

    @property
    def hourly(self) -> int | None:
        """The price of one hour of the machine, which the rate card is made of."""
        return self.entry.nano_hour or None

    @property
    def quantity(self) -> Decimal:
        """Hours of a full machine: quantity x unit price is the list cost. Else requests."""
        if self.hourly is None:
            return Decimal(1 if self.list_nano >= 0 else -1)
        return (Decimal(self.list_nano) / self.hourly).quantize(Decimal("1e-18"))

    @property
    def unit_price(self) -> int:
        return abs(self.list_nano) if self.hourly is None else self.hourly

    @property
    def charge_start(self) -> datetime:
        """The hour of what is charged: a correction's is that of the charge it mends."""
        at = self.reserved if self.entry.kind == "correction" else self.at
        return at.replace(minute=0, second=0, microsecond=0)

    @property
    def tokens(self) -> int | None:
        known = (self.entry.tokens_in, self.entry.tokens_out)
        return None if None in known else sum(n for n in known if n is not None)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type, whether it may be null, and how a charge fills it."""

    name: str
    type: Type
    nullable: bool
    cell: Callable[[Charge], Cell]
    allowed: tuple[str, ...] = ()


def charges(entries: Iterable[Entry], account: str) -> Iterator[Charge]:
    """Return what was charged for a real model's work, in order."""
    billed: dict[str, datetime] = {}  # the month of leases that ran out, which may be corrected
    for entry in entries:
        if entry.emulated:
            continue
        at, reserved = moment(entry.at), moment(entry.period_at)
        month = month_of(at)[0]
        if entry.kind == "expired":
            billed[entry.request_id] = month
        before = billed.get(entry.request_id, month_of(reserved)[0])
        yield Charge(entry, account, at, reserved, entry.kind == "correction" and before < month)


def _always(text: Cell) -> Callable[[Charge], Cell]:
    return lambda _: text


def _tags(charge: Charge) -> str:
    """The caller's tags as they are, those of ours with a prefix, which no caller's can replace."""
    entry = charge.entry
    ours = {"sluice:fleet": entry.fleet, "sluice:model": entry.model, "sluice:rule": entry.rule}
    team = {} if entry.team is None else {"team": entry.team}
    return orjson.dumps({**dict(entry.tags), **team, **ours}).decode()


def _details(charge: Charge) -> str:
    entry = charge.entry
    return orjson.dumps({"InstanceType": entry.instance, "x_Model": entry.model}).decode()


def _said(charge: Charge) -> str:
    entry = charge.entry
    kind = {"charge": "", "expired": ", lease ran out", "correction": ", correction"}[entry.kind]
    return f"{entry.model} on {entry.fleet} by rule {entry.rule}{kind}"


def _usd(nano: int | None) -> Cell:
    return None if nano is None else usd_text(nano)


def _number(n: float | None) -> Cell:
    """Decimals always have a point: readers that guess types then guess one."""
    if n is None:
        return None
    return f"{n}.0" if isinstance(n, int) else f"{n:.3f}"


def _string(name: str, cell: Callable[[Charge], Cell], *, nullable: bool = False) -> Column:
    return Column(name, "string", nullable, cell)


def _money(name: str, cell: Callable[[Charge], int | None], *, nullable: bool = False) -> Column:
    return Column(name, "decimal", nullable, lambda charge: _usd(cell(charge)))


def _count(name: str, cell: Callable[[Charge], int | None]) -> Column:
    return Column(name, "decimal", nullable=True, cell=lambda charge: _number(cell(charge)))


def _time(name: str, cell: Callable[[Charge], datetime]) -> Column:
    return Column(name, "datetime", nullable=False, cell=lambda c: f"{cell(c):%Y-%m-%dT%H:%M:%SZ}")


def _null(name: str, form: Type = "string", allowed: tuple[str, ...] = ()) -> Column:
    """A column of things that don't exist here: commitments, invoices, zones."""
    return Column(name, form, nullable=True, cell=_always(None), allowed=allowed)


def _one_of(name: str, cell: Callable[[Charge], Cell], *allowed: str, null: bool = False) -> Column:
    return Column(name, "string", null, cell, allowed)


def _is_correction(charge: Charge) -> Cell:
    return "Correction" if charge.correction else None


def _consumed(charge: Charge) -> Cell:
    return _number(1 if charge.tokens is None else charge.tokens)


def _busy(charge: Charge) -> int | None:
    busy = busy_cost(charge.entry)
    return None if busy is None else round(busy)


def _sku(charge: Charge) -> str:
    return f"{charge.entry.model}/{charge.entry.instance}"


def _unit(charge: Charge) -> str:
    return REQUESTS if charge.hourly is None else HOURS


# In the order of the specification, 1.2: https://focus.finops.org/focus-specification/v1-2
COLUMNS: tuple[Column, ...] = (
    _null("AvailabilityZone"),
    _money("BilledCost", lambda c: c.entry.nano),
    _string("BillingAccountId", lambda c: c.account),
    _string("BillingAccountName", lambda c: c.account),
    _string("BillingAccountType", _always("Deployment")),
    _one_of("BillingCurrency", _always("USD"), "USD"),
    _time("BillingPeriodEnd", lambda c: month_of(c.at)[1]),
    _time("BillingPeriodStart", lambda c: month_of(c.at)[0]),
    _null("CapacityReservationId"),
    _null("CapacityReservationStatus", allowed=("Used", "Unused")),
    _one_of("ChargeCategory", _always("Usage"), "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    _one_of("ChargeClass", _is_correction, "Correction", null=True),
    _string("ChargeDescription", _said),
    _one_of("ChargeFrequency", _always("Usage-Based"), "One-Time", "Recurring", "Usage-Based"),
    _time("ChargePeriodEnd", lambda c: c.charge_start + timedelta(hours=1)),
    _time("ChargePeriodStart", lambda c: c.charge_start),
    _null("CommitmentDiscountCategory", allowed=("Spend", "Usage")),
    _null("CommitmentDiscountId"),
    _null("CommitmentDiscountName"),
    _null("CommitmentDiscountQuantity", "decimal"),
    _null("CommitmentDiscountStatus", allowed=("Used", "Unused")),
    _null("CommitmentDiscountType"),
    _null("CommitmentDiscountUnit"),
    Column("ConsumedQuantity", "decimal", nullable=True, cell=_consumed),
    _one_of("ConsumedUnit", lambda c: REQUESTS if c.tokens is None else TOKENS, REQUESTS, TOKENS),
    _money("ContractedCost", lambda c: c.list_nano),
    _money("ContractedUnitPrice", lambda c: c.unit_price),
    _money("EffectiveCost", lambda c: c.entry.nano),
    _null("InvoiceId"),
    _string("InvoiceIssuerName", _always(NAME)),
    _money("ListCost", lambda c: c.list_nano),
    _money("ListUnitPrice", lambda c: c.unit_price),
    _one_of("PricingCategory", _always("Standard"), "Standard", "Dynamic", "Committed", "Other"),
    _one_of("PricingCurrency", _always("USD"), "USD"),
    _money("PricingCurrencyContractedUnitPrice", lambda c: c.unit_price),
    _money("PricingCurrencyEffectiveCost", lambda c: c.entry.nano),
    _money("PricingCurrencyListUnitPrice", lambda c: c.unit_price),
    Column("PricingQuantity", "decimal", nullable=False, cell=lambda c: f"{c.quantity:.18f}"),
    _one_of("PricingUnit", _unit, HOURS, REQUESTS),
    _string("ProviderName", _always(NAME)),
    _string("PublisherName", _always(NAME)),
    _string("RegionId", lambda c: c.entry.region),
    _string("RegionName", lambda c: c.entry.region),
    _string("ResourceId", lambda c: f"sluice/{c.entry.region}/{c.entry.fleet}"),
    _string("ResourceName", lambda c: c.entry.fleet),
    _string("ResourceType", _always("Model Fleet")),
    _one_of("ServiceCategory", _always(CATEGORY), CATEGORY),
    _string("ServiceName", _always(SERVICE)),
    _one_of("ServiceSubcategory", _always(SUBCATEGORY), SUBCATEGORY),
    _string("SkuId", _sku),
    _string("SkuMeter", _always("Inference")),
    Column("SkuPriceDetails", "json", nullable=False, cell=_details),
    _string("SkuPriceId", lambda c: f"{_sku(c)}/{c.entry.region}/{_unit(c)}"),
    _string("SubAccountId", lambda c: f"tenant/{c.entry.tenant}"),
    _string("SubAccountName", lambda c: c.entry.tenant),
    _string("SubAccountType", _always("Tenant")),
    Column("Tags", "json", nullable=False, cell=_tags),
)

EXTRA: tuple[Column, ...] = (
    _string("x_RequestId", lambda c: c.entry.request_id),
    Column("x_Attempt", "decimal", nullable=False, cell=lambda c: _number(c.entry.n)),
    _one_of("x_Kind", lambda c: c.entry.kind, "charge", "expired", "correction"),
    _string("x_SettledAt", lambda c: rfc3339(c.at)),
    _string("x_ReservedAt", lambda c: rfc3339(c.reserved)),
    _string("x_KeyId", lambda c: c.entry.key),
    _string("x_Team", lambda c: c.entry.team, nullable=True),
    _string("x_Task", lambda c: c.entry.task),
    _string("x_Tier", lambda c: c.entry.tier),
    _string("x_Language", lambda c: c.entry.language),
    _string("x_ServiceClass", lambda c: c.entry.service_class),
    _string("x_Policy", lambda c: c.entry.policy),
    _string("x_Rule", lambda c: c.entry.rule),
    _string("x_Model", lambda c: c.entry.model),
    _string("x_InstanceType", lambda c: c.entry.instance),
    _string("x_Outcome", lambda c: c.entry.outcome),
    _count("x_TokensInput", lambda c: c.entry.tokens_in),
    _count("x_TokensCached", lambda c: c.entry.tokens_cached),
    _count("x_TokensOutput", lambda c: c.entry.tokens_out),
    _count("x_TokensReasoning", lambda c: c.entry.tokens_reasoning),
    _money("x_MarginalCost", lambda c: c.entry.nano_marginal, nullable=True),
    _money("x_AverageCost", lambda c: c.entry.nano_average, nullable=True),
    _money("x_BaselineCost", lambda c: c.entry.nano_baseline, nullable=True),
    _money("x_RouterCost", lambda c: c.entry.nano_router),
    _money("x_BusyCost", _busy, nullable=True),
    _money("x_OverrunCost", lambda c: c.entry.overrun_nano),
    Column("x_ServiceMs", "decimal", nullable=False, cell=lambda c: f"{c.entry.service_ms:.3f}"),
    _one_of("x_Estimated", lambda c: str(c.entry.estimated).lower(), "true", "false"),
    _string("x_Receipt", lambda c: c.entry.receipt, nullable=True),
)

# focus-validator 1.0.0 asks for five columns by names that the specification gave up before 1.0.
VALIDATOR_NAMES: Mapping[str, str] = {
    "ChargeType": "ChargeCategory",
    "InvoiceIssuer": "InvoiceIssuerName",
    "Provider": "ProviderName",
    "Publisher": "PublisherName",
    "ResourceID": "ResourceId",
}


def columns(*, validator_names: bool) -> tuple[Column, ...]:
    """Return the columns; `validator_names` adds the five by the names that the validator knows."""
    by_name = {column.name: column for column in COLUMNS}
    added = (
        tuple(_string(name, by_name[meant].cell) for name, meant in VALIDATOR_NAMES.items())
        if validator_names
        else ()
    )
    return (*COLUMNS, *added, *EXTRA)


def cells(charge: Charge, of: Iterable[Column]) -> list[Cell]:
    return [column.cell(charge) for column in of]

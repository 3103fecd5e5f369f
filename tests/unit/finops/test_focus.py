"""FOCUS rows, held against the specification's words without the public validator."""

import csv
import io
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from router.cli.ledger import writers
from router.finops.focus import COLUMNS, EXTRA, VALIDATOR_NAMES, cells, charges, columns
from router.ledger.entry import corrections
from tools.ledger_rows import DEMO, entries

# The specification's columns, by version. https://focus.finops.org
REQUIRED_1_0 = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
]
ADDED_1_2 = [
    "BillingAccountType",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountUnit",
    "InvoiceId",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "ServiceSubcategory",
    "SkuMeter",
    "SkuPriceDetails",
    "SubAccountType",
]
ROWS = entries(400, seed=5)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def exported(rows):
    of = columns(validator_names=False)
    return [dict(zip((c.name for c in of), cells(charge, of), strict=True))
            for charge in charges(rows, "sluice")]  # fmt: skip


FOCUS = exported(ROWS)


def one(**more):
    row = next(row for row in ROWS if not row.emulated and row.nano_hour and row.tokens_in)
    return exported([replace(row, **more)])[0]


def test_the_columns_are_those_of_1_2_in_its_order_and_then_ours():
    assert [column.name for column in COLUMNS] == sorted(REQUIRED_1_0 + ADDED_1_2)
    assert all(column.name.startswith("x_") for column in EXTRA)


def test_what_only_the_validator_asks_for_is_a_copy_that_can_be_left_out():
    names = [column.name for column in columns(validator_names=True)]
    assert set(names) - {c.name for c in columns(validator_names=False)} == set(VALIDATOR_NAMES)
    of = {column.name: column for column in columns(validator_names=True)}
    charge = next(charges(ROWS, "sluice"))
    for name, meant in VALIDATOR_NAMES.items():
        assert of[name].cell(charge) == of[meant].cell(charge)


@pytest.mark.parametrize("column", [*COLUMNS, *EXTRA], ids=lambda column: column.name)
def test_every_cell_has_its_columns_type_values_and_nullability(column):
    found = [row[column.name] for row in FOCUS]
    assert column.nullable or None not in found
    for text in {text for text in found if text is not None}:
        assert text
        assert not column.allowed or text in column.allowed
        if column.type == "decimal":
            assert "." in text
            assert "e" not in text.lower()
            Decimal(text)
        elif column.type == "datetime":
            assert TIME.fullmatch(text)
        elif column.type == "json":
            assert all(isinstance(value, str) for value in json.loads(text).values())


def test_no_emulated_row_is_exported_and_no_other_is_lost():
    wanted = [row.request_id for row in ROWS if row.fleet != DEMO[0]]
    assert [row["x_RequestId"] for row in FOCUS] == wanted
    assert len(wanted) < len(ROWS)


def test_quantity_times_unit_price_is_the_cost_to_the_nano_dollar():
    nano = Decimal("1e-9")
    for row in FOCUS:
        quantity = Decimal(row["PricingQuantity"])
        product = (quantity * Decimal(row["ListUnitPrice"])).quantize(nano)
        assert product == Decimal(row["ListCost"]) == Decimal(row["ContractedCost"])
        assert Decimal(row["ListUnitPrice"]) >= 0


def test_what_a_hard_cap_let_go_is_in_the_list_cost_alone():
    row = one(nano=1_000, overrun_nano=500)
    costs = [row[f"{name}Cost"] for name in ("Billed", "Effective", "Contracted", "List")]
    assert costs == ["0.000001000"] * 2 + ["0.000001500"] * 2


def test_periods_are_half_open_in_utc_and_the_charge_is_in_the_hour_it_was_settled():
    row = one(at="2026-12-31T23:59:59.999Z", period_at="2026-12-31T23:59:50.000Z")
    assert [row[f"BillingPeriod{end}"] for end in ("Start", "End")] == [
        "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z",
    ]  # fmt: skip
    assert [row[f"ChargePeriod{end}"] for end in ("Start", "End")] == [
        "2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expired_at", "mended_at", "klass"),
    [
        ("2026-11-05T00:00:00.000Z", "2026-11-06T00:00:00.000Z", None),  # the same bill
        ("2026-11-05T00:00:00.000Z", "2026-12-01T00:00:00.000Z", "Correction"),
        ("2026-12-01T00:00:30.000Z", "2026-12-01T00:01:00.000Z", None),  # billed in December
    ],
)
def test_a_correction_is_one_only_of_a_bill_that_is_over(expired_at, mended_at, klass):
    base = next(row for row in ROWS if not row.emulated and row.nano_hour and row.last)
    expired = replace(
        base, kind="expired", at=expired_at, period_at="2026-11-30T23:59:00.000Z" if
        expired_at.startswith("2026-12") else expired_at,
    )  # fmt: skip
    mended = corrections(expired, [base], mended_at)
    first, back, true = exported([expired, *(replace(row, at=mended_at) for row in mended)])
    assert first["ChargeClass"] is None
    assert [row["ChargeClass"] for row in (back, true)] == [klass, klass]
    assert Decimal(back["BilledCost"]) == -Decimal(first["BilledCost"])
    assert Decimal(back["PricingQuantity"]) == -Decimal(first["PricingQuantity"])
    assert {row["ChargeCategory"] for row in (first, back, true)} == {"Usage"}


def test_tags_are_the_callers_with_the_team_and_ours_which_none_replaces():
    row = one(team="search", tags=(("project", "x"), ("sluice:fleet", "lie"), ("team", "other")))
    tags = json.loads(row["Tags"])
    assert (tags["project"], tags["team"]) == ("x", "search")
    assert tags["sluice:fleet"] == row["ResourceName"]
    assert "team" not in json.loads(one(team=None, tags=())["Tags"])


def test_what_nobody_knows_is_null_or_counted_as_a_request():
    row = one(
        tokens_in=None, tokens_out=None, nano_marginal=None, nano_baseline=None, nano_hour=None
    )
    assert (row["ConsumedUnit"], row["ConsumedQuantity"]) == ("Requests", "1.0")
    assert (row["PricingUnit"], row["PricingQuantity"]) == ("Requests", f"1.{'0' * 18}")
    for name in ("x_TokensInput", "x_MarginalCost", "x_BaselineCost", "x_BusyCost"):
        assert row[name] is None


def test_csv_quotes_what_it_must():
    row = next(row for row in ROWS if not row.emulated)
    odd = replace(row, tenant='a "b", c\nd', rule="\u641c\u7d22")
    out = io.BytesIO()
    of = columns(validator_names=True)
    assert writers.focus_csv(charges([odd], "x"), of, out) == 1
    (read,) = csv.DictReader(io.StringIO(out.getvalue().decode()))
    assert (read["SubAccountName"], read["x_Rule"]) == (odd.tenant, odd.rule)

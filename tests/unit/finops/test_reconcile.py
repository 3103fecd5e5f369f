"""What differs between a bill and the fleets' time, by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from router.finops.bill_lines import FORMS, Line, fleet_of, form_of
from router.finops.fleet_bill import Costed
from router.finops.reconcile import Reconciliation, total

DOLLAR = 10**9
DAY = datetime(2026, 11, 1, tzinfo=UTC)


def line(usd, hours=None, fleet="cpu", *, start=DAY, lasts=timedelta(hours=1), kind="usage"):
    amount = None if hours is None else Decimal(hours)
    return Line(fleet, start, start + lasts, round(usd * DOLLAR), "USD", kind, amount, "EC2")


def time(hours, price=1, fleet="cpu", day=DAY, *, emulated=False):
    cost = Fraction(hours) * price * DOLLAR
    return Costed(fleet, f"{day:%Y-%m-%dT%H:%M:%SZ}", hours * 3600, cost, False, emulated)


def made(lines=(), times=(), tolerance=0.05, within=(None, None)):
    found = Reconciliation(lambda nano, _: nano, within)
    for row in lines:
        found.line(row)
    for row in times:
        found.time(row)
    return found.rows(tolerance), found


def only(lines, times, **more):
    (row,), _ = made(lines, times, **more)
    return row


def parts(row):
    return tuple(n / DOLLAR for n in (row.by_price, row.by_hours, row.by_other))


def test_a_bill_within_the_tolerance_agrees():
    row = only([line(24.5, 24)], [time(24)])
    assert (row.ok, row.cause) == (True, "")
    assert row.difference == DOLLAR // 2


def test_the_tolerance_is_a_share_of_what_was_expected():
    assert only([line(25.2, 24)], [time(24)]).ok
    assert not only([line(25.25, 24)], [time(24)]).ok
    assert only([line(22.8, 24)], [time(24)]).ok
    assert not only([line(22.75, 24)], [time(24)]).ok


def test_the_cause_is_what_makes_up_most_of_the_difference():
    assert parts(only([line(48, 24)], [time(24)])) == (24, 0, 0)
    assert only([line(48, 24)], [time(24)]).cause == "price"
    longer = only([line(30, 30)], [time(24)])
    assert (parts(longer), longer.cause) == ((0, 6, 0), "hours")
    disk = only([line(24, 24), line(9)], [time(24)])
    assert (parts(disk), disk.cause) == ((0, 0, 9), "other lines")
    mixed = only([line(60, 30), line(5)], [time(24)])
    assert parts(mixed) == (30, 6, 5)
    assert sum(parts(mixed)) == mixed.difference / DOLLAR


def test_a_side_that_has_nothing_is_said_not_shown_as_nothing():
    missing = only([], [time(24)])
    assert (missing.bill, missing.cause, missing.ok) == (None, "no lines", False)
    unknown = only([line(5, 5)], [])
    assert (unknown.expected, unknown.cause) == (None, "not in the ledger")
    assert only([line(48)], [time(24)]).cause == "unknown hours"
    asleep = only([line(5, 5)], [time(0)])
    assert (asleep.cause, parts(asleep)) == ("hours", (0, 5, 0))


def test_lines_without_a_tag_and_what_is_no_use_of_anything_stand_apart():
    lines = [
        line(24, 24),
        line(7, 7, fleet=None),
        line(-3, kind="credit"),
        line(2, fleet=None, kind="tax"),
        line(100, kind="purchase"),
    ]
    rows, found = made(lines, [time(24)])
    assert rows[0].ok
    apart = found.apart()
    assert (apart.unallocated, apart.unallocated_lines) == ({"EC2": 7 * DOLLAR}, 1)
    assert apart.credits == {"cpu": -3 * DOLLAR}
    assert apart.taxes == {None: 2 * DOLLAR}
    assert apart.purchases == {"cpu": 100 * DOLLAR}


@pytest.mark.parametrize(("since", "lines"), [(None, 1), (2, 1), (5, 0)])
def test_a_line_without_a_tag_counts_once_however_many_days_it_lasts(since, lines):
    first = None if since is None else DAY.date().replace(day=since)
    long = line(9, fleet=None, lasts=timedelta(days=3))
    _, found = made([long], [], within=(first, None))
    assert found.apart().unallocated_lines == lines


def test_a_line_over_several_days_is_spread_to_the_last_nano():
    month = line(1.000000001, 720, lasts=timedelta(days=3), start=DAY + timedelta(hours=12))
    rows, _ = made([month], [])
    assert [row.day.day for row in rows] == [1, 2, 3, 4]
    assert total(rows)[0] == month.nano
    assert rows[1].bill == pytest.approx(month.nano / 3, abs=1)
    assert sum(row.hours for row in rows) == pytest.approx(720)


def test_an_hour_that_ends_at_midnight_is_of_the_day_before():
    rows, _ = made([line(1, 1, start=DAY + timedelta(hours=23))], [])
    assert [row.day for row in rows] == [date(2026, 11, 1)]


def test_only_the_days_of_the_period_count():
    lines = [line(1, 1), line(2, 2, start=DAY + timedelta(days=1))]
    rows, found = made(lines, [time(9, day=DAY)], within=(date(2026, 11, 2), None))
    assert [(row.day.day, row.bill) for row in rows] == [(2, 2 * DOLLAR)]
    assert found.days() == (date(2026, 11, 2), date(2026, 11, 3))
    assert made()[1].days() is None


def test_emulated_fleets_are_named_and_left_out():
    rows, found = made([], [time(24, emulated=True)])
    assert (rows, found.emulated) == ((), {"cpu"})


@pytest.mark.parametrize(
    "tags",
    [
        '{"sluice:fleet": "cpu"}',
        '{"user:sluice:fleet": "cpu", "other": ""}',
        '{"resourceTags/sluice:fleet": "cpu"}',
        '{"user_sluice_fleet": "cpu"}',
        {"sluice:fleet": "cpu"},
        [("aws:fleet", "x"), ("user:sluice:fleet", "cpu")],
        " cpu ",
    ],
)
def test_the_tag_is_found_however_bills_write_it(tags):
    assert fleet_of(tags) == "cpu"


@pytest.mark.parametrize("tags", [None, "", "{}", '{"sluice:fleet": ""}', '{"fleet": "x"}', []])
def test_a_line_without_the_tag_has_no_fleet(tags):
    assert fleet_of(tags) is None


def test_tags_that_are_no_json_are_told():
    with pytest.raises(ValueError, match="no JSON object"):
        fleet_of('{"sluice:fleet": ')


FOCUS = {
    "ChargePeriodStart": "2026-11-01T00:00:00Z", "ChargePeriodEnd": "2026-11-01T01:00:00Z",
    "ChargeCategory": "Usage", "BillingCurrency": "USD", "EffectiveCost": "1.5", "ListCost": "2",
    "Tags": "{}", "PricingUnit": "Hrs", "PricingQuantity": "1", "ServiceName": "EC2",
}  # fmt: skip
CUR = {
    "line_item_usage_start_date": "2026-11-01 00:00:00", "pricing_unit": "Hrs",
    "line_item_usage_end_date": "2026-11-01 01:00:00", "line_item_line_item_type": "Usage",
    "line_item_currency_code": "USD", "line_item_unblended_cost": "1.5", "resource_tags": "{}",
    "line_item_usage_amount": "1", "line_item_product_code": "EC2",
    "savings_plan_savings_plan_effective_cost": "0.9", "reservation_effective_cost": "0.8",
    "pricing_public_on_demand_cost": "2", "line_item_usage_type": "BoxUsage:c8g",
}  # fmt: skip


def read(cells, cost="effective", **more):
    form = form_of(list(cells), cost)
    return form.line({**cells, **more}, form.costs[cost], "cpu")


def test_both_forms_say_the_same_of_the_same_line():
    focus, cur = read(FOCUS), read(CUR)
    assert focus == cur == line(1.5, 1)
    assert read(FOCUS, "list").nano == read(CUR, "list").nano == 2 * DOLLAR


def test_a_cur_line_under_a_plan_counts_at_its_effective_cost():
    kinds = {"SavingsPlanCoveredUsage": 0.9, "DiscountedUsage": 0.8, "Usage": 1.5}
    for kind, usd in kinds.items():
        assert read(CUR, line_item_line_item_type=kind).nano == round(usd * DOLLAR)
    assert read(CUR, line_item_line_item_type="SavingsPlanNegation") is None
    bare = {k: v for k, v in CUR.items() if "savings" not in k}
    with pytest.raises(ValueError, match="needs the column `savings_plan"):
        read(bare, line_item_line_item_type="SavingsPlanCoveredUsage")


@pytest.mark.parametrize(
    ("cells", "more", "kind"),
    [
        (FOCUS, {"EffectiveCost": "-1"}, "credit"),
        (FOCUS, {"ChargeCategory": "Adjustment"}, "credit"),
        (FOCUS, {"ChargeCategory": "Purchase"}, "purchase"),
        (CUR, {"line_item_line_item_type": "EdpDiscount"}, "credit"),
        (CUR, {"line_item_line_item_type": "Refund"}, "credit"),
        (CUR, {"line_item_line_item_type": "Tax"}, "tax"),
        (CUR, {"line_item_line_item_type": "RIFee"}, "purchase"),
    ],
)
def test_credits_taxes_and_purchases_are_told_apart(cells, more, kind):
    assert read(cells, **more).kind == kind


def test_hours_that_are_no_machines_are_not_counted():
    assert read(FOCUS, PricingUnit="GB-Mo").hours is None
    assert read(CUR, line_item_usage_type="NatGateway-Hours").hours is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"EffectiveCost": "1,5"}, "`EffectiveCost`: not an amount: `1,5`"),
        ({"EffectiveCost": None}, "`EffectiveCost`: not an amount"),
        ({"ChargePeriodStart": "yesterday"}, "`ChargePeriodStart` is no time: `yesterday`"),
        ({"ChargePeriodEnd": None}, "`ChargePeriodEnd` is no time"),
        ({"ChargeCategory": "Use"}, "`ChargeCategory` is `Use` (known: Usage, "),
        ({"PricingQuantity": "many"}, "the quantity is no number: `many`"),
    ],
)
def test_a_wrong_cell_is_told(more, said):
    with pytest.raises(ValueError) as told:  # noqa: PT011  (said below)
        read(FOCUS, **more)
    assert said in str(told.value)


def test_a_bill_without_its_columns_names_them():
    for cells in (FOCUS, CUR):
        for name in FORMS[cells is CUR].needs:
            with pytest.raises(ValueError, match=f"lacks `{name}`"):
                form_of([key for key in cells if key != name], "effective")
    with pytest.raises(ValueError, match="as FOCUS it lacks `Tags`"):
        form_of([key for key in FOCUS if key != "Tags"], "effective")


def test_a_bill_whose_tags_are_columns_is_read():
    header = [*(key for key in CUR if key != "resource_tags"), "resource_tags_user_sluice_fleet"]
    form = form_of(header, "effective")
    assert form.tag_column(header) == "resource_tags_user_sluice_fleet"

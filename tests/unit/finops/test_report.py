"""What a report adds up, by hand."""

import json
from dataclasses import replace
from zoneinfo import ZoneInfo

import orjson
import pytest
from ledger_samples import ENTRY, MINUTE

from router.finops.dimensions import dimension
from router.finops.fleet_bill import FleetBills, costed
from router.finops.money import dollars, nano_of, usd_cents, usd_text
from router.finops.period import Period, day_start, hour_start
from router.finops.report import report, slots
from router.finops.report_json import report_json
from router.ledger.entry import corrections


def made(*entries, times=(), by="team"):
    return report(by, dimension(by), entries, times)


def rows(found):
    return dict(found.rows)


def test_charged_idle_and_variance_make_up_the_bill():
    found = made(ENTRY, times=[MINUTE])
    (fleet,) = found.fleets
    busy = 1_000_000  # four seconds of one of four places, at a micro-dollar a second
    assert (fleet.bill, fleet.busy) == (60_000_000, busy)
    assert (fleet.idle, fleet.variance) == (60_000_000 - busy, busy - 1000)
    assert found.totals.sums.saved == 5000 - 1000 - 7
    assert found.totals.saved_net == 5000 - 1000 - 7 - fleet.idle - fleet.variance


def test_an_hour_is_no_busier_than_what_was_paid_for_it():
    waited = replace(ENTRY, service_ms=4_000_000.0)  # most of it in a queue
    later = replace(MINUTE, minute="2026-11-01T13:00:00Z")
    found = made(waited, times=[MINUTE, later])
    (fleet,) = found.fleets
    assert (fleet.bill, fleet.busy, fleet.idle) == (120_000_000, 60_000_000, 60_000_000)
    assert fleet.idle + fleet.variance + 1000 == fleet.bill


def test_a_cascade_counts_as_one_request_and_each_fleet_bears_its_own_charge():
    tried = replace(ENTRY, last=False, nano=300, nano_baseline=None, nano_router=0)
    kept = replace(ENTRY, n=1, fleet="p5", nano=700)
    found = rows(made(tried, kept, by="fleet"))
    assert (found["cpu"].requests, found["p5"].requests) == (0, 1)
    assert (found["cpu"].saved, found["p5"].saved) == (None, 5000 - 700 - 7)
    assert found["cpu"].unmatched == 0  # its request has a baseline: the try lowers the saving
    assert made(tried, kept, by="fleet").totals.sums.saved == 5000 - 300 - 700 - 7


def test_what_a_request_without_a_baseline_cost_is_compared_with_nothing():
    unknown = replace(ENTRY, request_id="b", nano=99, nano_baseline=None)
    sums = rows(made(ENTRY, unknown))["search"]
    assert (sums.baseline_unknown, sums.unmatched) == (1, 99 + 7)
    assert sums.saved == 5000 - 1000 - 7
    assert rows(made(unknown))["search"].saved is None


def test_a_correction_makes_an_expired_request_comparable_after_all():
    expired = replace(ENTRY, kind="expired", nano=9000, nano_baseline=None, nano_router=0)
    assert rows(made(expired))["search"].saved is None
    mended = corrections(expired, [ENTRY], "2026-11-01T00:05:00.000Z")
    sums = rows(made(expired, *mended))["search"]
    assert (sums.requests, sums.nano, sums.baseline_unknown, sums.unmatched) == (1, 1000, 0, 0)
    assert sums.saved == 5000 - 1000 - 7
    nothing_sent = rows(made(expired, *corrections(expired, [], ENTRY.at)))["search"]
    assert (nothing_sent.nano, nothing_sent.saved) == (0, None)


def test_a_correction_replaces_the_baseline_that_an_expired_row_had():
    expired = replace(ENTRY, kind="expired", nano=9000, nano_baseline=7000, nano_router=0)
    sums = rows(made(expired, *corrections(expired, [ENTRY], ENTRY.at)))["search"]
    assert (sums.baseline, sums.baseline_known, sums.saved) == (5000, 1, 5000 - 1000 - 7)


def test_a_fleet_is_emulated_if_its_charges_are_or_its_time_is():
    charges = made(replace(ENTRY, emulated=True))
    assert charges.fleets[0].emulated
    assert charges.totals.sums.emulated == 1000
    assert made(times=[replace(MINUTE, emulated=True)]).fleets[0].emulated


def test_a_correction_of_a_charge_before_the_period_is_compared_with_nothing():
    late = replace(ENTRY, request_id="z", n=1, kind="correction", nano=-500, last=False)
    sums = rows(made(ENTRY, late))
    assert (sums["search"].nano, sums["search"].requests) == (500, 1)
    assert sums["search"].saved == 5000 - 1000 - 7


def test_a_fleet_whose_time_nobody_recorded_has_no_bill():
    other = replace(ENTRY, request_id="b", fleet="api", capacity=None, nano_hour=None)
    found = made(ENTRY, other, times=[MINUTE])
    api = next(fleet for fleet in found.fleets if fleet.fleet == "api")
    assert (api.bill, api.idle, api.variance, api.busy_unknown) == (None, None, None, 1000)
    totals = found.totals
    assert totals.without_bill == 1000
    assert totals.sums.nano + totals.idle + totals.variance == totals.bill + totals.without_bill
    alone = made(other).totals
    assert (alone.idle, alone.saved_net) == (None, None)


def test_observed_time_goes_before_the_assumed_one_of_its_minute():
    seen = replace(MINUTE, seconds=45.0)
    guess = replace(MINUTE, seconds=60.0, source="assumed")
    next_one = replace(guess, minute="2026-11-01T00:01:00Z")
    for both in ([seen, guess, next_one], [guess, seen, next_one]):
        bills = FleetBills()
        for row in costed(both):
            bills.time(row)
        (fleet,) = bills.done()
        assert (fleet.bill, fleet.assumed) == (120_000_000, 75_000_000)


def test_rows_are_grouped_by_every_dimension():
    for by, value in {
        "team": "search", "tenant": "acme", "key": "k", "rule": "r", "fleet": "cpu",
        "model": "m", "task": "chat", "tag:project": "x", "tag:other": None,
    }.items():  # fmt: skip
        assert list(rows(made(ENTRY, by=by))) == [value]
    for wrong in ("teams", "tag:", ""):
        with pytest.raises(ValueError, match="unknown dimension"):
            dimension(wrong)


def test_the_json_has_the_contracts_fields_and_exact_decimals():
    huge = 98_765_432_109_876_543_210  # more than a float can hold
    found = made(replace(ENTRY, nano=huge, nano_marginal=None), times=[MINUTE])
    text = orjson.dumps(report_json(found, Period(None, None), ("m@p5",)))
    assert b'"usd":98765432109.876543210' in text
    value = json.loads(text)
    assert value["baseline"] == "m@p5"
    assert value["rows"][0].keys() >= {
        "team", "requests", "usd", "usd_marginal", "usd_router", "usd_baseline", "usd_saved",
    }  # fmt: skip
    assert value["rows"][0]["usd_marginal"] is None
    assert [row["fleet"] for row in value["idle"] + value["variance"]] == ["cpu", "cpu"]
    both = report_json(found, Period(None, None), ("a", "b"))
    assert both["baseline"] is None


def test_a_chart_has_a_day_where_its_zone_has_one():
    late = replace(ENTRY, request_id="b", at="2026-11-01T16:00:00.000Z")
    zone = ZoneInfo("Asia/Shanghai")
    found = slots([ENTRY, late], [MINUTE], lambda at: day_start(at, zone))
    assert [(str(day.start), day.totals.sums.nano, day.totals.bill) for day in found] == [
        ("2026-11-01 00:00:00+08:00", 1000, 60_000_000),
        ("2026-11-02 00:00:00+08:00", 1000, 0),
    ]


def test_a_chart_of_hours_tells_the_hour_that_comes_twice():
    zone = ZoneInfo("Europe/Berlin")
    rows = [
        replace(ENTRY, request_id=at, at=at)
        for at in ("2026-10-25T01:30:00.000Z", "2026-10-25T00:30:00.000Z")
    ]
    found = slots(rows, [], lambda at: hour_start(at, zone))
    assert [slot.start.isoformat() for slot in found] == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
    ]


def test_money_is_exact_and_keeps_its_sign():
    assert [usd_text(n) for n in (-1, 0, 1_000_000_001)] == [
        "-0.000000001", "0.000000000", "1.000000001",
    ]  # fmt: skip
    assert [usd_cents(n) for n in (0, 12, 1_234_567, 12_345_678_900_000)] == [
        "0.00", "0.000000012", "0.001235", "12,345.68",
    ]  # fmt: skip
    assert [dollars(n) for n in (-1_800_000_000, 5 * 10**9)] == ["-$1.80", "$5.00"]
    assert (nano_of("-1.5e-9"), nano_of("2.5e-9"), nano_of("1e3")) == (-2, 2, 10**12)
    for wrong in ("", "x", "NaN", "Infinity", "1,5"):
        with pytest.raises(ValueError, match="not an amount"):
            nano_of(wrong)

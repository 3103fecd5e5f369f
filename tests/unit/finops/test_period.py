"""Periods as people write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from router.finops.period import Period, WrongPeriod, day_of, moment, period

SHANGHAI, BERLIN, CAIRO = (ZoneInfo(n) for n in ("Asia/Shanghai", "Europe/Berlin", "Africa/Cairo"))


def of(start, end, zone=UTC):
    found = period(start, end, zone)
    return found.start, found.end


def test_a_month_is_as_long_as_its_clock_says():
    assert of("2026-03", "2026-04", BERLIN) == (
        "2026-02-28T23:00:00.000Z",  # an hour shorter: summer time begins
        "2026-03-31T22:00:00.000Z",
    )
    assert of("2026-11", "2026-12", SHANGHAI)[0] == "2026-10-31T16:00:00.000Z"


def test_a_year_is_its_first_moment():
    assert of("2026", "2027", SHANGHAI) == ("2025-12-31T16:00:00.000Z", "2026-12-31T16:00:00.000Z")
    assert of(None, "2030") == of(None, "2030-01-01")


@pytest.mark.parametrize("year", ["0001", "0999", "1000", "9999"])
def test_every_year_is_written_so_that_it_can_be_read(year):
    found = period(year, None, UTC).start
    assert found == f"{year}-01-01T00:00:00.000Z"
    assert moment(found) == datetime(int(year), 1, 1, tzinfo=UTC)


def test_a_time_that_the_zone_has_no_date_for_is_told():
    with pytest.raises(WrongPeriod, match="is no time"):
        period("0001-01-01T00:00Z", None, ZoneInfo("America/New_York"))


def test_a_day_starts_at_its_first_moment_where_the_clock_leaps_over_midnight():
    assert of("2026-04-24", "2026-04-25", CAIRO)[0] == "2026-04-23T22:00:00.000Z"
    assert day_of("2026-04-23T22:00:00.000Z", CAIRO).isoformat() == "2026-04-24"
    assert day_of("2026-04-23T21:59:59.999Z", CAIRO).isoformat() == "2026-04-23"


def test_an_offset_goes_before_the_zone():
    assert of("2026-11-21T08:00+08:00", None, BERLIN) == ("2026-11-21T00:00:00.000Z", None)


def test_without_times_all_is_meant():
    assert of(None, None) == (None, None)
    start, end = Period(None, None).bounds
    assert start < "2026-11-21T00:00:00.000Z" < end


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-12-01", "2026-11-01", "is not before"),
        ("2026-11-01", "2026-11-01", "is the same instant as"),
        ("2026-13", None, "`--from 2026-13` is no time (valid: 2026, 2026-11"),
        ("2026-11-22T06：00", None, "(`：` is a full-width colon: write `:`; valid: 2026,"),
        ("2026年11月2日", None, "(write 2026-11-02; valid: 2026,"),
        ("2026年", None, "(write 2026; valid: 2026,"),
        ("yesterday", None, "is no time"),
        (None, "2026-02-30", "`--to 2026-02-30` is no time"),
        ("2026-10-25T02:30", None, "stands for two instants"),
        ("2026-03-29T02:30", None, "does not exist"),
        ("2026-11-21T00:00:30", None, "is no whole minute"),
    ],
)
def test_a_wrong_period_is_told(start, end, said):
    with pytest.raises(WrongPeriod) as told:
        period(start, end, BERLIN)
    assert said in str(told.value)

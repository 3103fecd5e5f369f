"""Cells of a replay's tables, and of a plan's."""

from router.cli.plan.text import more_classes, spaced, these_hours
from router.cli.replay.columns import Usd, written
from router.cli.table import counted


def test_a_column_of_money_has_the_decimals_that_its_smallest_amount_needs():
    rows = [("a", Usd(31.2977), Usd(1.0)), ("b", Usd(0.000212), Usd(None)), ("c", "-", Usd(0.0))]
    assert written(rows) == [
        ("a", "31.297700", "1.0000"),
        ("b", "0.000212", "unknown"),
        ("c", "-", "0.0000"),
    ]
    assert written([]) == []


def test_one_is_told_as_one():
    assert counted(1, "request") == "1 request"
    assert counted(0, "request") == "0 requests"
    assert counted(1500, "request") == "1,500 requests"
    assert (these_hours(1), these_hours(168)) == ("this hour", "these 168 hours")
    assert more_classes(1) == "1 more class of requests"


def test_a_limit_is_written_as_times_are():
    assert spaced("ttft_p95=3000ms") == "ttft_p95=3,000 ms"
    assert spaced("12500.5ms") == "12,500.5 ms"
    assert spaced("quality") == "quality"

"""The worked month of docs/ledger-reports.md, computed again."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from ledger_samples import ENTRY

from router.cli.ledger.reconcile_text import reconcile_text
from router.cli.ledger.report_text import report_text
from router.finops.bill_lines import Line
from router.finops.dimensions import dimension
from router.finops.fleet_bill import costed
from router.finops.focus import COLUMNS, EXTRA, VALIDATOR_NAMES
from router.finops.period import period, rfc3339
from router.finops.reconcile import Reconciliation
from router.finops.report import report
from router.ledger.fleet_time import FleetTime

PAGE = (Path(__file__).parents[3] / "docs" / "ledger-reports.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
CPU, TRN = 159_520_000, 45_000_000_000  # nano-USD an hour


def hours(fleet, n, price):
    """Return a fleet's time: one replica for the first `n` hours of the month."""
    for minute in range(60 * n):
        at = NOVEMBER + timedelta(minutes=minute)
        yield FleetTime(fleet, f"{at:%Y-%m-%dT%H:%M:%SZ}", 60.0, 1, price, "observed", False)


def month():
    """Return 20,000 small requests of search on the CPU, 10,000 larger ones of crm on trn2."""
    small = replace(
        ENTRY, team="search", fleet="c8g-qwen3", nano=330_719, nano_marginal=0, nano_router=0,
        nano_baseline=143_059, service_ms=29_744.0, capacity=4, nano_hour=CPU,
    )  # fmt: skip
    large = replace(
        ENTRY, team="crm", fleet="trn2-scout", nano=194_806, nano_marginal=0, nano_router=0,
        nano_baseline=390_159, service_ms=20_000.0, capacity=1120, nano_hour=TRN,
    )  # fmt: skip
    for n in range(20_000):
        yield replace(small, request_id=f"s{n}", at=_after_h(720 * n / 20_000))
    for n in range(10_000):
        yield replace(large, request_id=f"l{n}", at=_after_h(10 * n / 10_000))


def _after_h(hours: float) -> str:
    return rfc3339(NOVEMBER + timedelta(hours=hours))


def times():
    yield from hours("c8g-qwen3", 720, CPU)
    yield from hours("trn2-scout", 10, TRN)


def test_the_worked_month_is_what_the_report_prints():
    found = report("team", dimension("team"), month(), times())
    over = period("2026-11", "2026-12", UTC)
    assert BLOCKS[0] == report_text(found, over, UTC, ("llama-4-scout@p5-scout",)) + "\n"


def test_the_worked_reconciliation_is_what_the_command_prints():
    found = Reconciliation(lambda nano, _: nano)
    of = (("c8g-qwen3", 24, 3_828_480_000), ("trn2-scout", 11, 495_000_000_000))
    for fleet, n, nano in of:
        day = (NOVEMBER, NOVEMBER + timedelta(days=1))
        found.line(Line(fleet, *day, nano, "USD", "usage", n, "EC2"))
    hour = (NOVEMBER, NOVEMBER + timedelta(hours=1))
    disk = Line("trn2-scout", *hour, 2_000_000_000, "USD", "usage", None, "EBS")
    found.line(disk)
    found.line(replace(disk, fleet=None, nano=30_000_000_000, service="Amazon S3"))
    found.line(replace(disk, fleet=None, nano=-5_000_000_000, kind="credit"))
    for row in costed(row for row in times() if row.minute < "2026-11-02"):
        found.time(row)
    text = reconcile_text(found.rows(0.05), found.apart(), [], 0.05)
    assert BLOCKS[1] == text + "\n"


@pytest.mark.parametrize("said", re.findall(r"^    (.+?) = ([\d.,-]+)$", PAGE, re.MULTILINE))
def test_a_worked_sum_is_right(said):
    calculation, result = said
    assert re.fullmatch(r"[\d.,+\-*/() ]+", calculation)
    value = eval(calculation.replace(",", ""))  # plain arithmetic, as checked
    decimals = len(result.partition(".")[2])
    assert round(value, decimals) == float(result.replace(",", ""))


def test_every_column_that_the_page_explains_exists():
    names = {column.name for column in (*COLUMNS, *EXTRA)} | set(VALIDATOR_NAMES)
    section = PAGE.partition("## FOCUS")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert explained <= names
    assert {"BilledCost", "EffectiveCost", "ListCost", "ChargeClass", "Tags"} <= explained
    assert {column.name for column in EXTRA} <= explained


def test_the_json_of_the_page_is_json():
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        orjson.loads(block)

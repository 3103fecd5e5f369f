"""The saved queries are Athena's SQL over the tables' columns, and say what the reports say.

They are parsed as Athena's, and run on rows by DuckDB, into whose words they are put.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
import sqlglot
from ledger_support import charge, worst
from sqlglot.optimizer.qualify import qualify

from router.finops.report import report
from router.ledger.entry import corrections, stamp
from router.ledger.fleet_time import FleetTime
from router.workers.columns import PARTITION, TABLES, entry_line, fleet_time_line
from router.workers.queries import DAYS, QUERIES

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
NOW = (MIDNIGHT - timedelta(hours=12)).timestamp()
TODAY = stamp(NOW)[:10]
TYPES = {"string": "VARCHAR", "int": "INTEGER"}


def lake(*lines, day=TODAY):
    """Return a database with these lines, as Firehose writes them."""
    found = duckdb.connect()
    for name, columns in TABLES.items():
        declared = ", ".join(
            f'"{column}" {TYPES.get(kind, kind)}'
            for column, kind in [*columns.items(), (PARTITION, "string")]
        )
        found.execute(f"CREATE TABLE {name} ({declared})")
        for line in lines:  # both tables read the same files
            row = json.loads(line)
            values = [row.get(column) for column in columns]
            marks = ", ".join("?" * (len(values) + 1))
            found.execute(f"INSERT INTO {name} VALUES ({marks})", [*values, day])
    return found


def asked(name, *lines, day=TODAY):
    """Return the query's rows, each by column."""
    text = sqlglot.transpile(QUERIES[name], read="athena", write="duckdb")[0]
    answer = lake(*lines, day=day).execute(text)
    columns = [column[0] for column in answer.description]
    return [dict(zip(columns, row, strict=True)) for row in answer.fetchall()]


def entry(request_id, nano, **more):
    return charge(request_id, nano, at_s=NOW, **more)


@pytest.mark.parametrize("name", QUERIES)
def test_a_saved_query_is_athenas_sql_and_names_only_columns_there_are(name):
    (tree,) = sqlglot.parse(QUERIES[name], read="athena")
    schema = {table: dict(columns, day="string") for table, columns in TABLES.items()}
    qualify(tree, schema=schema, dialect="athena", validate_qualify_columns=True)
    assert QUERIES[name].startswith("-- ")


@pytest.mark.parametrize("name", QUERIES)
def test_without_rows_a_query_finds_nothing(name):
    assert asked(name) == []


def test_spend_is_by_team_and_day_and_a_row_that_came_twice_counts_once():
    first = entry("r1", 300, last=False, nano_router=0)
    second = entry("r1", 200, n=1, nano_router=7)
    other = replace(entry("r2", 1000), team=None)
    lines = [entry_line(row) for row in (first, second, first, other, second)]
    rows = asked("spend-by-team-and-day", *lines)
    assert [(row["team"], row["requests"], row["usd"]) for row in rows] == [
        (None, 1, 1e-6),
        ("search", 1, 5e-7),
    ]
    assert rows[1] | {"charged_on": TODAY, "tokens_in": 400, "usd_router": 7e-9} == rows[1]


def test_what_was_emulated_or_is_older_counts_nowhere():
    old = entry_line(replace(entry("r1", 300), at="2020-01-01T00:00:00.000Z"))
    emulated = entry_line(replace(entry("r2", 300), emulated=True))
    assert asked("spend-by-team-and-day", old, emulated) == []
    before = (MIDNIGHT - timedelta(days=DAYS + 1)).isoformat()[:10]
    assert asked("spend-by-team-and-day", entry_line(entry("r3", 300)), day=before) == []


def test_an_expired_request_and_its_correction_are_one_request_at_what_it_cost():
    expired = replace(worst("r1", 900, NOW), nano_baseline=None)
    rows = [expired, *corrections(expired, [entry("r1", 400, nano_baseline=1000)], stamp(NOW))]
    (row,) = asked("spend-by-team-and-day", *map(entry_line, rows))
    assert (row["requests"], row["usd"]) == (1, 4e-7)
    (outcome,) = asked("outcomes-by-fleet", *map(entry_line, rows))
    assert (outcome["attempts"], outcome["failed"]) == (1, 1)


def test_savings_are_of_the_requests_whose_baseline_is_known():
    rows = [entry("r1", 300, nano_baseline=1000, nano_router=50), entry("r2", 500, nano_router=9)]
    (row,) = asked("savings-against-the-baseline", *map(entry_line, rows))
    assert (row["requests"], row["without_baseline"]) == (2, 1)
    sums = report("fleet", lambda row: row.fleet, rows, ()).totals.sums
    assert row["usd_saved"] * 1e9 == pytest.approx(sums.saved)
    assert row["usd"] * 1e9 == pytest.approx(sums.nano)


def test_savings_are_unknown_where_no_baseline_is():
    (row,) = asked("savings-against-the-baseline", entry_line(entry("r1", 300)))
    assert (row["usd_baseline"], row["usd_saved"]) == (None, None)


def test_outcomes_are_counted_by_fleet_with_the_time_of_those_that_went_well():
    rows = [entry(f"r{n}", 1, service_ms=float(n)) for n in range(1, 100)]
    rows += [entry("r100", 1, outcome="timeout", service_ms=9000.0, last=False)]
    (row,) = asked("outcomes-by-fleet", *map(entry_line, rows))
    assert (row["attempts"], row["ok"], row["failed"], row["ok_percent"]) == (100, 99, 1, 99)
    assert row["service_p50_ms"] == pytest.approx(50, abs=2)
    assert row["service_p95_ms"] == pytest.approx(95, abs=2)


def test_the_bill_is_that_of_the_reports():
    minute, price = f"{TODAY}T12:00:00Z", 159_520_000
    times = [
        FleetTime("c8g-qwen3", minute, 40.0, 2, price, "observed", False),
        FleetTime("c8g-qwen3", minute, 60.0, 1, price, "assumed", False),
        FleetTime("c8g-qwen3", f"{TODAY}T12:01:00Z", 60.0, 1, price, "assumed", False),
        FleetTime("idle", minute, 60.0, 1, 10**9, "observed", False),
    ]
    rows = [entry("r1", 3000), entry("r2", 2000), replace(entry("r3", 70), capacity=None)]
    lines = [*map(entry_line, rows), *map(fleet_time_line, times)]
    shorter = replace(times[0], seconds=20.0, replicas=9)  # of the same minute, written before
    found = asked("bill-and-idle-by-fleet", *lines, lines[-1], fleet_time_line(shorter))
    told = report("fleet", lambda row: row.fleet, rows, times)
    expected = {bill.fleet: bill for bill in told.fleets}
    assert {row["fleet"] for row in found} == set(expected) == {"c8g-qwen3", "idle"}
    for row in found:
        bill = expected[row["fleet"]]
        assert row["usd_bill"] * 1e9 == pytest.approx(bill.bill, abs=1)
        assert row["usd_idle"] * 1e9 == pytest.approx(bill.idle, abs=1)
        assert row["usd_variance"] * 1e9 == pytest.approx(bill.variance, abs=1)
        assert (row["usd_bill"] - row["usd_observed"]) * 1e9 == pytest.approx(bill.assumed, abs=1)

"""The lake's columns are those of the ledger's rows."""

import json
from dataclasses import fields

import pytest
from ledger_support import charge

from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime
from router.workers.columns import (
    FIRST,
    ROWS,
    TABLES,
    UNIQUE,
    entry_line,
    fleet_time_line,
)

TYPES = {"str": {"string"}, "int": {"int", "bigint"}, "float": {"double"}, "bool": {"boolean"}}
HOUR = FleetTime("c8g-qwen3", "2026-11-21T10:00:00Z", 60.0, 2, 159_520_000, "observed", False)


@pytest.mark.parametrize(("table", "row"), [("entries", Entry), ("fleet_time", FleetTime)])
def test_a_table_has_a_column_for_each_field_of_its_rows_and_of_its_type(table, row):
    columns = dict(TABLES[table])
    assert columns.pop("row_of") == "string"
    assert list(columns) == [field.name for field in fields(row)]
    for field in fields(row):
        if field.name == "tags":
            assert columns["tags"] == "string"
        elif field.name == "source":
            assert columns["source"] == "string"
        else:
            kind = field.type if isinstance(field.type, type) else field.type.__args__[0]
            assert columns[field.name] in TYPES[kind.__name__], field.name


def test_the_stream_has_the_columns_of_both_tables_and_they_agree_on_what_both_have():
    for columns in TABLES.values():
        assert columns.items() <= ROWS.items()
    assert set(ROWS) == set().union(*TABLES.values())


def test_what_makes_a_row_the_same_are_columns_of_its_table():
    for table, columns in TABLES.items():
        assert set(UNIQUE[table]) <= set(columns)
        assert FIRST[table].split()[0] in columns


def test_a_charge_is_one_flat_line_with_its_tags_as_text():
    line = entry_line(charge("r1", 250))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    row = json.loads(line)
    assert list(row) == list(TABLES["entries"])
    assert row["row_of"] == "entries"
    assert (row["request_id"], row["nano"], row["tags"]) == ("r1", 250, '{"app":"mail"}')
    assert not any(isinstance(value, dict | list) for value in row.values())


def test_a_minute_of_a_fleet_is_one_flat_line():
    row = json.loads(fleet_time_line(HOUR))
    assert list(row) == list(TABLES["fleet_time"])
    assert (row["row_of"], row["replicas"], row["source"]) == ("fleet_time", 2, "observed")

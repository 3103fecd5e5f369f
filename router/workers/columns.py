"""The lake's tables: their columns as Glue names them, and a row's line for Firehose.

Firehose turns JSON into the columns of one table, so that rows of both tables go through one
stream with the columns ROWS; `row_of` says whose a row is. Both tables read the same files, which
lie by the day they came (PARTITION, 2026-11-21, UTC: a row's own day or a later one). Of a column
that a row doesn't have the files hold null. The same row may come twice: a query takes one of
those that agree in the table's UNIQUE columns, the one that FIRST sorts first.
"""

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

import orjson

from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime

Columns = Mapping[str, str]

PARTITION: Final = "day"
TABLE: Final = "row_of"
ENTRIES: Final[Columns] = MappingProxyType(
    {
        "row_of": "string",
        "request_id": "string",
        "n": "int",
        "kind": "string",
        "at": "string",  # times are RFC 3339 in UTC: from_iso8601_timestamp reads them
        "period_at": "string",
        "key": "string",
        "tenant": "string",
        "team": "string",
        "tags": "string",  # a JSON object: json_extract_scalar(tags, '$["app"]')
        "task": "string",
        "tier": "string",
        "language": "string",
        "service_class": "string",
        "policy": "string",
        "rule": "string",
        "model": "string",
        "fleet": "string",
        "instance": "string",
        "region": "string",
        "outcome": "string",
        "last": "boolean",
        "tokens_in": "bigint",
        "tokens_cached": "bigint",
        "tokens_out": "bigint",
        "tokens_reasoning": "bigint",
        "nano": "bigint",
        "nano_marginal": "bigint",
        "nano_average": "bigint",
        "nano_baseline": "bigint",
        "nano_router": "bigint",
        "service_ms": "double",
        "capacity": "int",
        "nano_hour": "bigint",
        "estimated": "boolean",
        "emulated": "boolean",
        "reserved_nano": "bigint",
        "overrun_nano": "bigint",
        "receipt": "string",
    }
)
FLEET_TIME: Final[Columns] = MappingProxyType(
    {
        "row_of": "string",
        "fleet": "string",
        "minute": "string",
        "seconds": "double",
        "replicas": "int",
        "nano_hour": "bigint",
        "source": "string",
        "emulated": "boolean",
    }
)
TABLES: Final[Mapping[str, Columns]] = MappingProxyType(
    {"entries": ENTRIES, "fleet_time": FLEET_TIME}
)
UNIQUE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"entries": ("request_id", "n"), "fleet_time": ("fleet", "minute", "source")}
)
FIRST: Final[Mapping[str, str]] = MappingProxyType({"entries": "at", "fleet_time": "seconds desc"})
ROWS: Final[Columns] = MappingProxyType({**ENTRIES, **FLEET_TIME})


def entry_line(entry: Entry) -> bytes:
    """Return the row of `entries` as a line of JSON."""
    return orjson.dumps(
        {
            TABLE: "entries",
            **asdict(entry),
            "tags": orjson.dumps(dict(entry.tags)).decode(),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def fleet_time_line(row: FleetTime) -> bytes:
    """Return the row of `fleet_time` as a line of JSON."""
    return orjson.dumps({TABLE: "fleet_time", **asdict(row)}, option=orjson.OPT_APPEND_NEWLINE)

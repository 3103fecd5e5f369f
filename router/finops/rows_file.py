"""The ledger's rows as lines of JSON: what ``ledger export --format jsonl`` writes and reports read
back. Pure.

A line is ``{"row": "entry", ...}`` or ``{"row": "fleet_time", ...}`` with the row's own fields.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Literal, get_args, get_origin

import orjson

from router.finops.period import moment
from router.ledger.entry import Entry
from router.ledger.fleet_time import FleetTime

KINDS = ("charge", "expired", "correction")
_TIMES = ("at", "period_at", "minute")


def entry_line(entry: Entry) -> bytes:
    return orjson.dumps({"row": "entry", **asdict(entry), "tags": dict(entry.tags)}) + b"\n"


def time_line(row: FleetTime) -> bytes:
    return (
        orjson.dumps({"row": "fleet_time", **asdict(row), "emulated": bool(row.emulated)}) + b"\n"
    )


def row_of(line: bytes) -> Entry | FleetTime:
    """Return the row of a line; raise ValueError, which says what is wrong with it."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"not JSON: {exc.msg}") from None
    if not isinstance(found, dict):
        raise ValueError("an object is expected")  # noqa: TRY004  (whoever reads catches one error)
    kind = found.pop("row", None)
    if kind == "fleet_time":
        return FleetTime(**_checked(found, FleetTime))
    if kind != "entry":
        raise ValueError("`row` is neither `entry` nor `fleet_time`")
    found["tags"] = _tags(found.get("tags"))
    checked = _checked(found, Entry)
    if checked["kind"] not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}")
    return Entry(**checked)


def _tags(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("`tags` must be an object of texts")
    return tuple(sorted(value.items()))


def _checked(found: Mapping[str, Any], form: type[Entry | FleetTime]) -> Mapping[str, Any]:
    """Return the fields with the types that the row declares; raise ValueError."""
    expected = {field.name: field.type for field in fields(form)}
    if lacking := expected.keys() - found.keys():
        raise ValueError(f"lacks {', '.join(f'`{name}`' for name in sorted(lacking))}")
    if unknown := found.keys() - expected.keys():
        raise ValueError(f"unknown {', '.join(f'`{name[:40]}`' for name in sorted(unknown))}")
    for name, value in found.items():
        wanted: Any = expected[name]
        if name == "tags":
            continue
        if isinstance(value, bool) != (wanted is bool) or not _is(value, wanted):
            raise ValueError(f"`{name}` must be {getattr(wanted, '__name__', wanted)}")
        if name in _TIMES:
            moment(value)
    return found


def _is(value: object, wanted: Any) -> bool:  # noqa: ANN401  (a type or a union of types)
    if get_origin(wanted) is Literal:
        return value in get_args(wanted)
    return isinstance(value, int | float) if wanted is float else isinstance(value, wanted)

"""Mooncake's traces: JSON lines of timestamp (ms), input_length, output_length, hash_ids."""

import math
from collections.abc import Iterator
from typing import Any, Final

import orjson

from router.traces.arrivals import (
    MOST_REQUESTS,
    MOST_S,
    MOST_TOKENS,
    UNDATED,
    UNDATED_S,
    Columns,
    columns,
)
from router.traces.files import invalid

FIELDS: Final = ("timestamp", "input_length", "output_length")
KNOWN: Final = {*FIELDS, "hash_ids"}
MOST_MS: Final = MOST_S * 1000
ASSUMED: Final = (
    UNDATED,
    "prefixes that requests share (`hash_ids`) are not simulated: every prompt is read anew",
)


def is_first(value: dict[str, Any]) -> bool:
    return not KNOWN.isdisjoint(value)


def read(name: str, lines: Iterator[tuple[int, bytes]]) -> Columns:
    """Return the requests of the lines; raise Invalid."""
    found = columns()
    for number, line in lines:
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
            at_ms, given, made = (value[field] for field in FIELDS)
        except (ValueError, KeyError, TypeError):
            raise invalid(f"{name}:{number}", _wrong(line)) from None
        if not (_is_number(at_ms, MOST_MS) and _is_tokens(given) and _is_tokens(made)):
            raise invalid(f"{name}:{number}", _beyond(value))
        if len(value) > len(KNOWN) or not value.keys() <= KNOWN:
            raise invalid(f"{name}:{number}", _unknown(value))
        if len(found.at_s) >= MOST_REQUESTS:
            told = f"more than {MOST_REQUESTS:,} requests: give a part of the trace"
            raise invalid(f"{name}:{number}", told)
        found.at_s.append(UNDATED_S + at_ms / 1000)
        found.tokens_in.append(given)
        found.tokens_out.append(made)
    return found


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most  # type: ignore[operator]  # checked


def _is_tokens(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_TOKENS


def _wrong(line: bytes) -> str:
    try:
        value = orjson.loads(line)
    except ValueError:
        return "no JSON: each line is an object with timestamp, input_length, output_length"
    if not isinstance(value, dict):
        return "an object with timestamp, input_length, output_length is due"
    missing = ", ".join(f"`{field}`" for field in FIELDS if field not in value)
    mixed = ": a receipt among lines of Mooncake's? One trace has one format"
    return f"the line lacks {missing}{mixed if 'facts' in value else ''}"


def _unknown(value: dict[str, Any]) -> str:
    found = min(value.keys() - KNOWN)
    return f"unknown field `{found[:40]}` (known: {', '.join((*FIELDS, 'hash_ids'))})"


def _beyond(value: dict[str, Any]) -> str:
    at_ms = value["timestamp"]
    if not _is_number(at_ms, math.inf):
        return "`timestamp` must be a number of milliseconds, 0 or more, since the trace began"
    if at_ms > MOST_MS:
        return "`timestamp` is more than 366 days after the trace began: give a part of the trace"
    for field in FIELDS[1:]:
        if not _is_tokens(value[field]):
            break
    return f"`{field}` must be a whole number of tokens from 0 to {MOST_TOKENS:,}"

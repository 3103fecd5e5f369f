"""Azure's traces: CSV of TIMESTAMP,ContextTokens,GeneratedTokens (Azure/AzurePublicDataset).

That of 2023 has times without a zone and with seven digits, that of 2024 times with `+00:00`.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from router.traces.arrivals import LATEST_S, MOST_REQUESTS, MOST_TOKENS, Columns, Span, columns
from router.traces.files import invalid

HEADER: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_LINE: Final = re.compile(
    rb"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d):([0-5]\d(?:\.\d{1,9})?)(Z|[+-]\d\d:\d\d)?"
    rb",(\d{1,9}),(\d{1,9})\s*"
)
DUE: Final = "a TIMESTAMP like `2023-11-16 18:17:03.97` is due"
SHOWN: Final = 40  # characters of a wrong line that a message repeats


def is_header(line: bytes) -> bool:
    return line.strip().decode("ascii", "replace").split(",") == list(HEADER)


def read(name: str, lines: Iterator[tuple[int, bytes]]) -> Columns:
    """Return the requests of the lines after the header; raise Invalid."""
    found = columns()
    at_s, tokens_in, tokens_out = found.at_s, found.tokens_in, found.tokens_out
    match, minute, minute_s = _LINE.fullmatch, (b"", b""), 0.0
    span = Span()  # of the minutes: lines of one minute are many
    for number, line in lines:
        parts = match(line)
        if parts is None:
            if line.strip():
                raise invalid(f"{name}:{number}", _wrong(line))
            continue
        day, second, zone, given, made = parts.groups()
        if (day, zone) != minute:
            minute, minute_s = (day, zone), _minute_s(f"{name}:{number}", day, zone, span)
        at_s.append(minute_s + float(second))
        tokens = int(given), int(made)
        if max(tokens) > MOST_TOKENS or len(at_s) > MOST_REQUESTS:
            raise invalid(f"{name}:{number}", _beyond(max(tokens)))
        tokens_in.append(tokens[0])
        tokens_out.append(tokens[1])
    return found


def _beyond(most: int) -> str:
    if most > MOST_TOKENS:
        return f"{most:,} tokens in one request are no figure: at most {MOST_TOKENS:,}"
    return f"more than {MOST_REQUESTS:,} requests: give a part of the trace"


def _minute_s(where: str, minute: bytes, zone: bytes | None, span: Span) -> float:
    text = minute.decode()
    try:
        at_s = datetime.fromisoformat(text).replace(tzinfo=_zone(zone)).timestamp()
    except ValueError:
        raise invalid(where, f"`{text}` is no time: {DUE}") from None
    if not 0 <= at_s < LATEST_S:
        raise invalid(where, f"`{text}` is no time of a trace: from 1970 to 2199 is valid")
    try:
        span.take(at_s)
    except ValueError as exc:
        raise invalid(where, str(exc)) from None
    return at_s


def _zone(zone: bytes | None) -> timezone:
    if zone is None or zone == b"Z":
        return UTC
    text = zone.decode()
    away = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-away if text[0] == "-" else away)


def _wrong(line: bytes) -> str:
    """Return what is wrong with a line that isn't as it should be."""
    text = line.strip().decode("utf-8", "replace")
    if text.startswith("{"):
        return "JSON among lines of CSV: one trace has one format"
    cells = text.split(",")
    if cells == list(HEADER):
        return "the header again: a trace has it once, on its first line"
    if len(cells) != len(HEADER):
        return f"{len(cells)} values instead of 3: {','.join(HEADER)} are due"
    for column, cell in zip(HEADER[1:], cells[1:], strict=True):
        if not re.fullmatch(r"\d{1,9}", cell.strip(), re.ASCII):
            told = f"{column} is {_shown(cell)}: a whole number of tokens is due"
            return f"{told}, from 0 to {MOST_TOKENS:,}"
    return f"{_shown(cells[0])} is no time: {DUE}"


def _shown(text: str) -> str:
    printable = "".join(one if one.isprintable() else "?" for one in text[:SHOWN])
    return f"`{printable}{'...' if len(text) > SHOWN else ''}`"

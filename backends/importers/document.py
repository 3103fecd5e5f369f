"""A report's file -> its JSON values: one object, a list of them, or one a line.

Reports hold every single request and token time; what no importer reads is dropped while reading,
so that a file of many MB takes the memory of its figures.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ijson

from backends.importers.fields import Fields, NotReadable

SMALL = 4_000_000  # bytes that are read at once, by a parser that takes NaN and tells the line
# What Python's own JSON writes, as sglang does for a rate without limit, and no parser of streams
# takes. In a text, which nobody reads, the exchange does no harm.
NO_JSON = re.compile(rb"(?<=[:,\[\s])(NaN|-?Infinity)(?=[,\]}\s])")
HELD = 16  # bytes: more than the longest of them and its neighbours
DROPPED = frozenset(
    {
        "requests",  # guidellm: each request with its prompt and every token
        "generated_texts",
        "input_lens",
        "output_lens",
        "ttfts",
        "itls",
        "latencies",
        "queue_times",
        "start_times",
        "errors",
        "samples_ns",
        "samples_ts",
        "inputs",
    }
)


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The objects of a report, each with where it stands; `name` is what messages call it."""

    name: str
    objects: tuple[Fields, ...]


def load(path: Path) -> ReportFile:
    """Read a report; raise NotReadable if it isn't JSON, or OSError."""
    size = path.stat().st_size
    if size == 0:
        raise NotReadable(
            f"{path}: the file is empty: a benchmark's JSON or JSON lines is expected"
        )
    with path.open("rb") as stream:
        read = _streamed if size > SMALL else _whole
        values = list(read(stream, str(path)))
    objects: list[Fields] = []
    for where, value in values:
        if isinstance(value, list) and len(values) == 1:
            for i, item in enumerate(value):
                objects.append(_object(f"{path}: [{i}]", item))
        else:
            objects.append(_object(where, value))
    if not objects:
        raise NotReadable(f"{path}: holds no results")
    return ReportFile(str(path), tuple(objects))


def _object(where: str, value: Any) -> Fields:  # noqa: ANN401  (whatever JSON holds)
    if not isinstance(value, dict):
        raise NotReadable(f"{where}: {_kind(value)} where a benchmark's object is expected")
    return Fields(where, value)


def _whole(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    try:
        text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        said = f"{name}: not UTF-8 text (byte {exc.start}): a benchmark's JSON is expected"
        raise NotReadable(said) from None
    decoder = json.JSONDecoder()
    at = _after_blanks(text, 0)
    if text[at : at + 1] not in ("{", "["):
        raise NotReadable(f"{name}: {_told(text)}")
    several, line, counted = False, 1, 0
    while at < len(text):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as exc:
            cut = not text[exc.pos :].strip() or exc.pos >= len(text.rstrip()) - 1
            said = "ends in the middle (truncated?)" if cut else "is not JSON"
            where = f"{name}:{exc.lineno}"
            raise NotReadable(f"{where}: {said}, column {exc.colno}") from None
        after = _after_blanks(text, end)
        several = several or after < len(text)
        yield (f"{name}:{line}" if several else name), _pruned(value)
        at = after


def _streamed(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    """Build the values event by event, without what is dropped."""
    builder = ijson.ObjectBuilder()
    depth = skipping = count = 0
    key = ""
    try:
        for _, event, value in ijson.parse(_Plain(stream), multiple_values=True, use_float=True):
            opens, closes = event in ("start_map", "start_array"), event in ("end_map", "end_array")
            if skipping:
                skipping += opens - closes
                continue
            if event == "map_key":
                key = value
                if key in DROPPED:
                    continue
            elif key in DROPPED:
                key = ""
                skipping = 1 if opens else 0
                continue
            key = key if event == "map_key" else ""
            builder.event(event, value)
            depth += opens - closes
            if depth == 0 and (closes or not opens) and event != "map_key":
                count += 1
                yield f"{name}: result {count}", builder.value
                builder = ijson.ObjectBuilder()
    except ijson.JSONError as exc:  # its message repeats the text around
        cut = any(sign in str(exc) for sign in ("premature EOF", "ncomplete"))
        said = "ends in the middle (truncated?)" if cut else "is not JSON"
        where = f"before byte {stream.tell()}, after {count} whole results"
        raise NotReadable(f"{name}: {said}, {where}") from None


class _Plain:
    """A stream of JSON without a byte order mark: null for NaN, a number too large for infinity."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._held = stream.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)

    def read(self, size: int) -> bytes:
        """Return about `size` bytes, none at the end only; what may go on is held back."""
        if size == 0:  # asks whether these are bytes
            return b""
        found = self._stream.read(max(size, 2 * HELD))
        known = NO_JSON.sub(_number, self._held + found)
        cut = len(known) - HELD if found else len(known)
        self._held = known[cut:]
        return known[:cut]


def _number(match: re.Match[bytes]) -> bytes:
    """Return what stands for a number that JSON doesn't have; `Fields` refuses the large one."""
    return b"null" if match[1] == b"NaN" else match[1].replace(b"Infinity", b"1e300")


def _pruned(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    if isinstance(value, dict):
        return {key: _pruned(inside) for key, inside in value.items() if key not in DROPPED}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _after_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _told(text: str) -> str:
    """Say what a text that isn't JSON looks like."""
    if "MLPerf Results Summary" in text:
        return "MLPerf's summary is not read by this version"
    if text.lstrip().startswith("|"):
        return "a markdown table: run llama-bench with `-o json`"
    if text.count(",") > text.count("\n") > 0:
        return "looks like CSV: JSON or JSON lines are expected"
    return "is not JSON: a benchmark's JSON or JSON lines are expected"


def _kind(value: object) -> str:
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a number")

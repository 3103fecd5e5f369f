"""Files of requests: JSON lines of {"id", "prompt"} or {"id", "messages"}, and more."""

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import orjson

from router import wire
from router.errors import Refusal

FIELDS = ("prompt", "messages")


def lines(file: str) -> Iterator[tuple[str, bytes]]:
    """Return the lines that aren't blank, each with its place; `-` is standard input."""
    if file == "-":
        yield from _numbered(sys.stdin.buffer, name_of(file))
        return
    with Path(file).open("rb") as stream:
        yield from _numbered(stream, file)


def name_of(file: str) -> str:
    return "standard input" if file == "-" else file


def _numbered(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    for n, line in enumerate(stream, 1):
        if n == 1:
            line = line.removeprefix(BOM_UTF8)  # noqa: PLW2901  (what some editors begin with)
        if line.strip():
            yield f"{name}:{n}", line


class Ids:
    """Which ids were there. `again` counts those that came before; null and none are no id."""

    def __init__(self) -> None:
        self.again = 0
        self._seen: set[bytes] = set()

    def add(self, found: object) -> None:
        if found is None:
            return
        key = orjson.dumps(found)  # an id may be any JSON: 1 and "1" are two
        self.again += key in self._seen
        self._seen.add(key)


def row(line: bytes, fields: tuple[str, ...] = FIELDS) -> dict[str, Any]:
    """Return the object of a line, which has one of the fields; raise ValueError, which never
    repeats the line.
    """
    try:
        value = wire.json_value(line)
    except Refusal as refusal:
        raise ValueError(refusal.message.replace("the body", "the line")) from None
    if not isinstance(value, dict) or sum(field in value for field in fields) != 1:
        known = " or ".join(f'"{field}"' for field in fields)
        raise ValueError(f'an object with "id" and either {known} is expected')
    try:
        orjson.dumps(value.get("id"))
    except orjson.JSONEncodeError:  # half a surrogate pair, or beyond 64 bits
        raise ValueError("`id` can't be written: a text or a number is expected") from None
    return value


def request(value: Mapping[str, Any]) -> wire.ChatRequest:
    """Return the chat request of a row, checked as the API checks it; raise ValueError."""
    messages = value.get("messages")
    if "prompt" in value:
        if not isinstance(value["prompt"], str):
            raise ValueError("`prompt` must be a text")
        messages = [{"role": "user", "content": value["prompt"]}]
    try:
        body = _json({"model": "auto", "messages": messages})
        return wire.parse_chat(body, to_send=False)
    except Refusal as refusal:
        raise ValueError(refusal.message) from None


def _json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can escape and UTF-8 can't hold
        return json.dumps(value).encode()

"""The events of a streamed answer: found without changing a byte, and read as little as possible.

Lines end with LF, CRLF or CR, an event with an empty line, as the HTML standard says (9.2.6).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from backends.base import BackendError, Garbled
from backends.dialects import QUEUE_MS, WORK_MS
from backends.upstream_errors import error_in_answer

EVENT_BYTES = 1024 * 1024  # the longest event; a token's is 300 bytes, a whole tool call's some kB
LONGEST_MS = 1e9  # a time above 11 days is none
TOKENS_MAX = 10**9  # of one request; a count above it is a mistake, and would overflow a ledger

_END = rb"(?:\r\n|\n|\r(?=[^\n]))"  # of a line; a CR at the end of what came may become CRLF
_EMPTY_LINE = re.compile(_END)
_LAST_LINE = re.compile(_END + _END)
_LONGEST_END = 4
_DATA_LINE = re.compile(rb"^data:[ ]?([^\r\n]*)", re.MULTILINE)
_USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"')
_SPEAKS = re.compile(
    rb'"(?:content|reasoning_content|reasoning|refusal|text|arguments)"\s*:\s*"(?!")'
    rb'|"tool_calls"\s*:\s*\[\s*\{'
)
_DELTA_CONTENT = (
    "content",
    "tool_calls",
    "reasoning_content",
    "reasoning",
    "refusal",
    "function_call",
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the upstream counted them. None: it didn't say; never 0 for unknown.

    `work_ms` is the time that the engine worked, `queue_ms` the time that the request waited in it.
    """

    tokens_in: int | None
    tokens_out: int | None
    cached: int | None = None  # of tokens_in
    reasoning: int | None = None  # of tokens_out
    work_ms: float | None = None
    queue_ms: float | None = None

    def service_ms(self, took_ms: float) -> float | None:
        """Return how much of an attempt's time it had a place in the engine, if that is told."""
        if self.work_ms is not None:
            return min(self.work_ms, took_ms)
        return None if self.queue_ms is None else max(0.0, took_ms - self.queue_ms)


class Events:
    """Cuts a stream into events. All events and then `rest()`, joined, are what was fed."""

    __slots__ = ("_end", "_held", "_seen")

    def __init__(self) -> None:
        self._end = _end_by_lf
        self._held = bytearray()
        self._seen = 0  # so far no event of _held ends: a long one isn't searched again

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that this chunk completes. Raises Garbled for one without end."""
        if not self._held and len(chunk) <= EVENT_BYTES and _is_one_event(chunk):
            return [chunk]
        if b"\r" in chunk:
            self._end = _end_by_any
        held = self._held
        held += chunk
        events, start = [], 0
        while (end := self._end(held, start, self._seen)) is not None:
            _check_length(end - start)
            events.append(bytes(held[start:end]))
            start = self._seen = end
        del held[:start]
        _check_length(len(held))
        self._seen = max(0, len(held) - _LONGEST_END)
        return events

    def rest(self) -> bytes:
        """Return, at the end of the stream, the bytes of the event that wasn't completed."""
        rest = bytes(self._held)
        self._held.clear()
        self._seen = 0
        return rest


def is_done(event: bytes) -> bool:
    """Return whether this is `data: [DONE]`."""
    return b"[DONE]" in event and _data(event).strip() == b"[DONE]"


def has_content(event: bytes) -> bool:
    """Return whether this event carries output of the model. Raises Garbled if it isn't JSON."""
    return any(_speaks(choice) for choice in _choices(object_of(event)))


def object_of(event: bytes) -> dict[str, Any]:
    """Return what this event says, {} if it is none of ours. Raises Garbled if it isn't JSON."""
    if b"data:" not in event:  # a comment, of which a server may send very many
        return {}
    data = _data(event).strip()
    if not data or data == b"[DONE]":
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise Garbled("an event of the stream is not JSON") from None
    return value if isinstance(value, dict) else {}


def is_whole(rest: bytes) -> bool:
    """Return whether the last bytes of a stream are an event, which lacks but its empty line."""
    try:
        return is_done(rest) or bool(object_of(rest))
    except Garbled:
        return False


def speaks(event: bytes) -> bool:
    """Return whether this event carries output, judged by its bytes: quicker than `has_content`."""
    return _SPEAKS.search(event) is not None


def has_finish_reason(event: bytes) -> bool:
    """Return whether a choice ends with this event."""
    return _FINISHED.search(event) is not None


def usage_of(event: bytes) -> Usage | None:
    """Return the usage that this event reports, if it does."""
    if b'"usage"' not in event or not _USAGE_OBJECT.search(event):
        return None
    return usage_in(_json(_data(event)))


def only_usage(event: bytes) -> bool:
    """Return whether this is what `stream_options.include_usage` adds: usage and no choice."""
    if b'"usage"' not in event or not _USAGE_OBJECT.search(event):
        return False
    value = _json(_data(event))
    return value.get("choices") == [] and isinstance(value.get("usage"), dict)


def error_of(event: bytes) -> BackendError | None:
    """Return the failure that this event reports: `data: {"error": ...}` or `error: {...}`."""
    if event.startswith(b"error:"):  # llama-server
        error: object = _json(event.partition(b":")[2])
        return error_in_answer(error)
    if b'"error"' not in event:
        return None
    error = _json(_data(event)).get("error")
    return None if error is None else error_in_answer(error)


def usage_of_body(body: bytes) -> Usage | None:
    """Return the usage of a plain answer, if it says."""
    return usage_in(_json(body)) if b'"usage"' in body else None


def usage_in(value: Mapping[str, Any]) -> Usage | None:
    """Return the usage of a parsed answer or event. A count that can't be is unknown."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    tokens_in = _count(usage.get("prompt_tokens"))
    tokens_out = _count(usage.get("completion_tokens"))
    if tokens_in is None and tokens_out is None:
        return None
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens", tokens_in)
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens", tokens_out)
    return Usage(tokens_in, tokens_out, cached, reasoning, _work_ms(value), _queue_ms(value))


def _work_ms(value: Mapping[str, Any]) -> float | None:
    """Return the sum of an engine's times, where it tells every one."""
    for places in WORK_MS:
        times = [_ms(value, place) for place in places]
        known = [time for time in times if time is not None]
        if len(known) == len(times):
            return sum(known)
    return None


def _queue_ms(value: Mapping[str, Any]) -> float | None:
    return next((ms for place in QUEUE_MS if (ms := _ms(value, place)) is not None), None)


def _ms(value: Mapping[str, Any], place: tuple[str, str]) -> float | None:
    group, name = place
    times = value.get(group)
    ms = times.get(name) if isinstance(times, dict) else None
    if not isinstance(ms, int | float) or isinstance(ms, bool):
        return None
    return float(ms) if 0 <= ms < LONGEST_MS else None


def _is_one_event(chunk: bytes) -> bool:
    """Return whether this is exactly one event with LF lines, as servers write them."""
    return (
        chunk.find(b"\n\n") == len(chunk) - 2 >= 0 and chunk[0] != ord("\n") and b"\r" not in chunk
    )


def _check_length(n_bytes: int) -> None:
    if n_bytes > EVENT_BYTES:
        raise Garbled(f"an event of the stream is longer than {EVENT_BYTES} bytes")


def _end_by_lf(held: bytearray, start: int, seen: int) -> int | None:
    """Return where the event that begins at `start` ends; no event ends before `seen`."""
    if held.startswith(b"\n", start):
        return start + 1
    at = held.find(b"\n\n", max(start, seen))
    return at + 2 if at >= 0 else None


def _end_by_any(held: bytearray, start: int, seen: int) -> int | None:
    if match := _EMPTY_LINE.match(held, start):
        return match.end()
    match = _LAST_LINE.search(held, max(start, seen))
    return match.end() if match else None


def _data(event: bytes) -> bytes:
    """Return the data of an event: its data lines, joined."""
    lines: list[bytes] = _DATA_LINE.findall(event.replace(b"\r", b"\n"))
    return lines[0] if len(lines) == 1 else b"\n".join(lines)


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _choices(value: object) -> list[Any]:
    choices = value.get("choices") if isinstance(value, dict) else None
    return choices if isinstance(choices, list) else []


def _speaks(choice: object) -> bool:
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(delta.get(name) for name in _DELTA_CONTENT):
        return True
    return bool(choice.get("text"))  # /completions


def _detail(usage: Mapping[str, Any], group: str, name: str, whole: int | None) -> int | None:
    details = usage.get(group)
    count = _count(details.get(name)) if isinstance(details, dict) else None
    return None if count is not None and whole is not None and count > whole else count


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= TOKENS_MAX else None

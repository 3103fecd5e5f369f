"""Finding one request's receipt in ``<state>/receipts/<day>.jsonl`` without an index.

A receipt is written at its request's end, so a file is ordered by ends, and its `at` is up to one
longest request earlier than the end. Bisection on byte offsets by `at`, that much to either side,
leaves the part of the file that can hold the receipt; only that part is read.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

BESIDES_S: Final = 120.0  # beyond the deadline: reading the body and the answer, clocks put right
FIRST_S: Final = 5.0  # most requests have ended by then: the part that is looked at first
BLOCK: Final = 1 << 18
_HEAD: Final = re.compile(rb'\{"id":"[^"\\]*","at":"([0-9T:.-]+Z)"')
_HEAD_BYTES: Final = 256


def find(state: Path, request_id: str, made_s: float, longest_s: float) -> dict[str, Any] | None:
    """Return the receipt of a request made at this time, or None if there is none.

    `longest_s`: the longest deadline of the policy. Raises OSError if the disk does.
    """
    days = dict.fromkeys(_at(second)[:10] for second in (made_s, made_s + BESIDES_S))
    for day in days:
        with suppress(FileNotFoundError):
            file = os.open(state / "receipts" / f"{day}.jsonl", os.O_RDONLY)
            try:
                for slack_s in (FIRST_S, longest_s + BESIDES_S):
                    found = _find(file, request_id, made_s, slack_s)
                    if found is not None:
                        return found
            finally:
                os.close(file)
    return None


def _find(file: int, request_id: str, made_s: float, slack_s: float) -> dict[str, Any] | None:
    size = os.fstat(file).st_size
    start = _first_from(file, size, _at(made_s - slack_s))
    end = _first_from(file, size, _at(made_s + slack_s))
    head = b'{"id":"%b",' % request_id.encode()
    for offset in _occurrences(file, start, end, head):
        with suppress(orjson.JSONDecodeError):
            found: dict[str, Any] = orjson.loads(_line(file, offset))
            return found
    return None


def _first_from(file: int, size: int, at: str) -> int:
    """Return an offset before which all lines but the last few began before `at`."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        line = _line_from(file, middle, high)
        if line is None or line[1] >= at:
            high = middle
        else:
            low = line[0] + 1
    return low


def _line_from(file: int, offset: int, end: int) -> tuple[int, str] | None:
    """Return offset and `at` of the first readable line that starts in offset..end."""
    while True:
        if offset:
            before = next(_occurrences(file, offset - 1, end, b"\n"), None)
            if before is None:
                return None
            offset = before + 1
        if offset >= end:
            return None
        found = _HEAD.match(os.pread(file, _HEAD_BYTES, offset))
        if found:
            return offset, found[1].decode()
        offset += 1


def _occurrences(file: int, start: int, end: int, wanted: bytes) -> Iterator[int]:
    """Yield where the bytes stand that begin in start..end, in order."""
    while start < end:
        block = os.pread(file, min(BLOCK, end - start) + len(wanted) - 1, start)
        found = block.find(wanted)
        while found >= 0:
            yield start + found
            found = block.find(wanted, found + 1)
        start += BLOCK


def _line(file: int, offset: int) -> bytes:
    """Return the line that starts here, without its end."""
    parts = []
    while block := os.pread(file, BLOCK, offset):
        line, end, _ = block.partition(b"\n")
        parts.append(line)
        if end:
            break
        offset += len(block)
    return b"".join(parts)


def _at(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

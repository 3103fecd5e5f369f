"""What a long job says: rewritten in place on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0  # of progress, where a line can't be rewritten


def teller(stream: TextIO, clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """Make a `say`; a text that ends in `%` is progress, and any other one stays."""
    return _in_place(stream) if stream.isatty() else _line_by_line(stream, clock)


def _in_place(stream: TextIO) -> Callable[[str], None]:
    unfinished = False

    def say(text: str) -> None:
        nonlocal unfinished
        is_progress = text.endswith("%")
        before = "" if not unfinished else "\r\x1b[K" if is_progress else "\n"
        stream.write(f"{before}{text}{'' if is_progress else chr(10)}")
        stream.flush()
        unfinished = is_progress

    return say


def _line_by_line(stream: TextIO, clock: Callable[[], float]) -> Callable[[str], None]:
    next_at = float("-inf")

    def say(text: str) -> None:
        nonlocal next_at
        if text.endswith("%"):
            now = clock()
            if now < next_at:
                return
            next_at = now + SECONDS_BETWEEN_LINES
        stream.write(f"{text}\n")
        stream.flush()

    return say

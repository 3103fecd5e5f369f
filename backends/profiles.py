"""A fleet's benchmark as a curve: throughput and latency of one replica over concurrency.

Points come from measurements (``backends/data/profiles`` and imports); between them throughput is
a straight line, below the first one it is proportional (fewer streams, each at the first point's
speed), above the last one requests queue. Two readings of a table exist: as it stands, and
``little_consistent`` for tables whose latency and throughput contradict each other by Little's
law (docs/decisions/0003): there the column is not a number of streams.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

Mark = Literal["measured", "stated", "estimated", "assumed"]

PREFILL_WEIGHT_UNKNOWN = 0.1  # an input token against an output token where nobody measured it
CACHED_INPUT_SHARE = 0.1  # a cached input token against an uncached one; assumed likewise


@dataclass(frozen=True, slots=True)
class Point:
    """One replica at `concurrency` streams: aggregate tokens/s and ms between tokens."""

    concurrency: float
    tok_s: float
    itl_ms: float


@dataclass(frozen=True, slots=True)
class Speed:
    """What one replica does at a concurrency: aggregate tokens/s, ITL, and slow-down of prefill."""

    tok_s: float
    itl_ms: float
    slowdown: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Points in rising concurrency. Prefill is known as a rate, or as one TTFT at `tokens_in`."""

    id: str
    model: str
    instance: str
    mark: Mark
    source: str
    date: str | None
    points: tuple[Point, ...]
    prefill_tok_s: float | None = None
    ttft_ms: float | None = None
    tokens_in: int = 0
    reading: Literal["as_stated", "little_consistent"] = "as_stated"

    def capacity(self, concurrency_each: float) -> float:
        """Return the streams one replica carries at once; the rest waits."""
        if len(self.points) == 1:
            return concurrency_each
        return min(concurrency_each, self.points[-1].concurrency)

    def speed(self, concurrency: float) -> Speed:
        """Return throughput and ITL at this concurrency of one replica."""
        points = self.points
        first = points[0]
        if concurrency <= first.concurrency:
            return Speed(first.tok_s * concurrency / first.concurrency, first.itl_ms, 1.0)
        if len(points) == 1 or concurrency >= points[-1].concurrency:
            # One point, or past the last: the replica does no more, so each stream gets less.
            last = points[-1]
            itl_ms = last.itl_ms * concurrency / last.concurrency
            return Speed(last.tok_s, itl_ms, itl_ms / first.itl_ms)
        i = bisect_left(points, concurrency, key=_concurrency)
        low, high = points[i - 1], points[i]
        share = (concurrency - low.concurrency) / (high.concurrency - low.concurrency)
        tok_s = low.tok_s + share * (high.tok_s - low.tok_s)
        itl_ms = low.itl_ms + share * (high.itl_ms - low.itl_ms)
        if self.reading == "little_consistent":
            itl_ms = 1000 * concurrency / tok_s
        return Speed(tok_s, itl_ms, itl_ms / first.itl_ms)

    def input_weight(self) -> float:
        """Return what an input token costs against an output token (``w`` of box_seconds)."""
        if self.prefill_tok_s is None:
            return PREFILL_WEIGHT_UNKNOWN
        return self.points[0].tok_s / self.prefill_tok_s

    def prefill_ms(self, tokens_in: int) -> float | None:
        """Return the time of a prompt at the first point; None if the profile says nothing."""
        if self.prefill_tok_s is not None:
            return 1000 * tokens_in / self.prefill_tok_s
        if self.ttft_ms is None:
            return None
        # One figure can't be split into a fixed part and one per token: a shorter prompt is taken
        # to wait as long, a longer one in proportion.
        return self.ttft_ms * max(1.0, tokens_in / self.tokens_in)


def little_consistent(
    columns: list[tuple[float, float]], itl_ms: float
) -> tuple[tuple[Point, ...], float]:
    """Read (column, tokens/s) rows so that Little's law holds; return the points and ``k``.

    ITL allows 1000/itl_ms tokens/s to one stream, so the first row's throughput needs
    k = tok_s(1) x ITL streams, and every column stands for column x k of them.
    """
    first_column, first_tok_s = columns[0]
    k = first_tok_s * itl_ms / 1000 / first_column
    points = tuple(
        Point(column * k, tok_s, itl_ms if column == first_column else 1000 * column * k / tok_s)
        for column, tok_s in columns
    )
    return points, k


def _concurrency(point: Point) -> float:
    return point.concurrency

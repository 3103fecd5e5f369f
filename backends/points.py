"""What was measured of one replica at one load: the rows that curves are drawn through."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["measured", "stated", "estimated", "assumed"]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds. `p50` is the mean where a source gives only that; p95 None: unknown."""

    p50: float
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One replica at `concurrency` streams; a request has `tokens_in` and `tokens_out`.

    `tok_s`: decode only, all streams together. `mix_tok_s`: output tokens/s of whole requests,
    prefill included; a point has one of the two. `itl_ms` is the median between two tokens.
    """

    concurrency: float
    tok_s: float | None = None
    itl_ms: float | None = None
    tokens_in: float | None = None
    tokens_out: float | None = None
    mix_tok_s: float | None = None
    prefill_tok_s: float | None = None
    ttft_ms: Quantiles | None = None
    itl_p95_ms: float | None = None
    e2e_ms: Quantiles | None = None

    @property
    def itl(self) -> Quantiles | None:
        return None if self.itl_ms is None else Quantiles(self.itl_ms, self.itl_p95_ms)


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

"""What one replica does: curves over concurrency, prompt length and answer length.

Over concurrency: the time one stream takes per token (concurrency / throughput) and the ITL are
straight lines between measured levels, because a batch's step takes a fixed time plus a time per
stream; throughput then rises monotonely between rising points (docs/decisions/0007). Below the
first level fewer streams are each as fast; above the last one the replica does no more.

Over lengths: a request is ``w x tokens_in + tokens_out`` output tokens' worth of work and a prompt
takes a time affine in its length. What measured lengths deviate from that is a ratio for each of
them, blended by distance (inverse square, in the logarithms of the lengths), so that every
measured mix is given back exactly.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

Shape = tuple[float, float]
"""Tokens in, tokens out."""
Ratios = tuple[float, ...]
"""One for each measured pair of lengths."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one replica does at a concurrency.

    `tok_s`: decode, all streams together. `slowdown`: of TTFT against the law of the prompt. The
    p95 figures are multiples of p50; None: unknown. The ratios (one for each measured pair of
    lengths) multiply work, ITL and TTFT; empty where one pair is known.
    """

    tok_s: float
    itl_ms: float
    slowdown: float
    input_weight: float
    ttft_p95: float | None = None
    itl_p95: float | None = None
    e2e_p95: float | None = None
    work_ratios: Ratios = ()
    itl_ratios: Ratios = ()
    ttft_ratios: Ratios = ()


@dataclass(frozen=True, slots=True)
class PromptLaw:
    """Milliseconds of a prompt alone: ``max(floor, fixed + per_token x tokens_in)``."""

    floor_ms: float
    fixed_ms: float
    ms_per_token: float

    def ms(self, tokens_in: float) -> float:
        return max(self.floor_ms, self.fixed_ms + self.ms_per_token * tokens_in)


@dataclass(frozen=True, slots=True)
class Surface:
    """Levels in rising concurrency. `law` None: nothing is known of TTFT."""

    levels: tuple[tuple[float, Speed], ...]
    law: PromptLaw | None
    shapes: tuple[Shape, ...]
    weight_known: bool

    def at(self, concurrency: float) -> Speed:
        levels = self.levels
        first_at, first = levels[0]
        if concurrency <= first_at:
            return _scaled(first, concurrency / first_at, 1.0)
        last_at, last = levels[-1]
        if concurrency >= last_at:
            return _scaled(last, 1.0, concurrency / last_at)
        i = bisect_left(levels, concurrency, key=_concurrency)
        return _between(levels[i - 1], levels[i], concurrency)

    def blend(self, tokens_in: float, tokens_out: float) -> Ratios:
        """Return the weight of every measured pair of lengths for a request of these; sum 1."""
        near = []
        for i, (shape_in, shape_out) in enumerate(self.shapes):
            far = math.log(tokens_in / shape_in) ** 2 + math.log(tokens_out / shape_out) ** 2
            if far < 1e-12:  # noqa: PLR2004  (the very lengths that were measured)
                return tuple(float(i == j) for j in range(len(self.shapes)))
            near.append(1 / far)
        total = sum(near)
        return tuple(weight / total for weight in near)


def _concurrency(level: tuple[float, Speed]) -> float:
    return level[0]


def _scaled(speed: Speed, tok_s: float, slower: float) -> Speed:
    return Speed(
        speed.tok_s * tok_s,
        speed.itl_ms * slower,
        speed.slowdown * slower,
        speed.input_weight,
        speed.ttft_p95,
        speed.itl_p95,
        speed.e2e_p95,
        speed.work_ratios,
        speed.itl_ratios,
        speed.ttft_ratios,
    )


def _between(low: tuple[float, Speed], high: tuple[float, Speed], concurrency: float) -> Speed:
    (low_at, a), (high_at, b) = low, high
    share = (concurrency - low_at) / (high_at - low_at)
    s_per_token = line(low_at / a.tok_s, high_at / b.tok_s, share)
    return Speed(
        concurrency / s_per_token,
        line(a.itl_ms, b.itl_ms, share),
        line(a.slowdown, b.slowdown, share),
        line(a.input_weight, b.input_weight, share),
        _maybe_line(a.ttft_p95, b.ttft_p95, share),
        _maybe_line(a.itl_p95, b.itl_p95, share),
        _maybe_line(a.e2e_p95, b.e2e_p95, share),
        _lines(a.work_ratios, b.work_ratios, share),
        _lines(a.itl_ratios, b.itl_ratios, share),
        _lines(a.ttft_ratios, b.ttft_ratios, share),
    )


def line(low: float, high: float, share: float) -> float:
    return (1 - share) * low + share * high  # never below the lower of the two


def _maybe_line(low: float | None, high: float | None, share: float) -> float | None:
    return None if low is None or high is None else line(low, high, share)


def _lines(low: Ratios, high: Ratios, share: float) -> Ratios:
    return tuple(line(a, b, share) for a, b in zip(low, high, strict=True))

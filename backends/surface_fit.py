"""Measured points -> the curves of a fleet (``backends.surface`` says which)."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from backends.points import Point, Quantiles
from backends.surface import PromptLaw, Ratios, Shape, Speed, Surface, line

PREFILL_WEIGHT_UNKNOWN = 0.1  # an input token against an output token where nobody measured it
ALONE = 1.5  # up to so many streams a TTFT is the prompt's own time, not a share of a queue
SAME_LENGTH = 0.1  # lengths whose logarithms differ by less were meant to be the same

By = dict[float, dict[Shape, float]]
"""Concurrency -> lengths -> a figure."""


def surface(
    points: Sequence[Point],
    prefill_tok_s: float | None = None,
    ttft_ms: float | None = None,
    tokens_in: float = 0,
) -> Surface:
    """Draw the curves through these points; the figures beside them hold at the first level."""
    shape_of = _shapes(points)
    shapes = tuple(dict.fromkeys(shape_of))
    rows = list(zip(points, shape_of, strict=True))
    levels = sorted({point.concurrency for point in points})

    weights = _weights(rows, levels, prefill_tok_s)
    decode: By = {}
    itl: By = {}
    for point, shape in rows:
        weight = weights.get(point.concurrency, PREFILL_WEIGHT_UNKNOWN)
        tok_s = _decode_tok_s(point, weight)
        decode.setdefault(point.concurrency, {})[shape] = tok_s
        itl_ms = point.itl_ms or 1000 * point.concurrency / tok_s
        itl.setdefault(point.concurrency, {})[shape] = itl_ms

    tok_s_at, decode_ratios = _spread(decode, levels, shapes)
    itl_at, itl_ratios = _spread(itl, levels, shapes)
    law = _law(rows, levels[0], prefill_tok_s, ttft_ms, tokens_in)
    slowdown_at = {level: itl_at[level] / itl_at[levels[0]] for level in levels}
    ttft_ratios: Mapping[float, Ratios] = dict.fromkeys(levels, ())
    if law is not None:
        slowdown_at, ttft_ratios = _slowdowns(rows, levels, shapes, law, slowdown_at)

    ttft_p95 = _p95(rows, levels, lambda point: _ratio(point.ttft_ms))
    itl_p95 = _p95(rows, levels, lambda point: _ratio(point.itl))
    e2e_p95 = _p95(rows, levels, lambda point: _ratio(point.e2e_ms))
    return Surface(
        tuple(
            (
                level,
                Speed(
                    tok_s_at[level],
                    itl_at[level],
                    slowdown_at[level],
                    weights.get(level, PREFILL_WEIGHT_UNKNOWN),
                    ttft_p95.get(level),
                    itl_p95.get(level),
                    e2e_p95.get(level),
                    tuple(1 / ratio for ratio in decode_ratios[level]),
                    itl_ratios[level],
                    ttft_ratios[level],
                ),
            )
            for level in levels
        ),
        law,
        shapes,
        bool(weights),
    )


# -- lengths ---------------------------------------------------------------------------------------


def _shapes(points: Sequence[Point]) -> list[Shape]:
    """Return each point's lengths, those that differ by a little told as one; (1, 1): unknown."""
    known: list[Shape] = []
    found: dict[tuple[float, Shape], Shape] = {}  # told apart where both stand at one level
    shapes = []
    for point in points:
        shape = (point.tokens_in or 1.0, point.tokens_out or 1.0)
        at = point.concurrency
        alike = (old for old in known if _alike(old, shape) and (at, old) not in found)
        same = next(alike, shape)
        if same is shape:
            known.append(shape)
        found[(at, same)] = shape
        shapes.append(same)
    return shapes


def _alike(a: Shape, b: Shape) -> bool:
    return all(abs(math.log(x / y)) < SAME_LENGTH for x, y in zip(a, b, strict=True))


def _spread(
    by: By, levels: Sequence[float], shapes: Sequence[Shape]
) -> tuple[dict[float, float], dict[float, Ratios]]:
    """Split figures into one curve and, for every pair of lengths, its ratio to the curve.

    The curve is that of the lengths measured at most levels; where they were not measured, it is
    what the others let expect.
    """
    reference = max(shapes, key=lambda shape: sum(shape in by.get(level, {}) for level in levels))
    base = {level: row[reference] for level, row in by.items() if reference in row}
    usual = {shape: _usual(by, base, shape) for shape in shapes}
    curve: dict[float, float] = {}
    for level in levels:
        row = by.get(level, {})
        if reference in row:
            curve[level] = row[reference]
        elif row:
            guesses = [math.log(figure / usual[shape]) for shape, figure in row.items()]
            curve[level] = math.exp(sum(guesses) / len(guesses))
    if len(shapes) == 1:
        return curve, dict.fromkeys(levels, ())
    columns = []
    for shape in shapes:
        seen = {lv: row[shape] / curve[lv] for lv, row in by.items() if shape in row}
        columns.append(_filled(seen, levels) or dict.fromkeys(levels, 1.0))
    return curve, {level: tuple(column[level] for column in columns) for level in levels}


def _usual(by: By, base: Mapping[float, float], shape: Shape) -> float:
    """Return by how much a pair of lengths deviates from the reference, over their levels."""
    known = _filled(base, sorted(by))
    logs = [math.log(row[shape] / known[level]) for level, row in by.items() if shape in row]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def _filled(seen: Mapping[float, float], levels: Sequence[float]) -> dict[float, float]:
    """Give every level a figure: on the line between the two beside it, else the nearest."""
    at = sorted(seen)
    filled = {}
    for level in levels if at else ():
        i = bisect_left(at, level)
        if i == 0 or i == len(at):
            filled[level] = seen[at[min(i, len(at) - 1)]]
        else:
            low, high = at[i - 1], at[i]
            filled[level] = line(seen[low], seen[high], (level - low) / (high - low))
    return filled


# -- work ------------------------------------------------------------------------------------------


def _decode_tok_s(point: Point, weight: float) -> float:
    """Return the decode throughput; of a mix the one that gives it back with this weight."""
    if point.tok_s is not None:
        return point.tok_s
    assert point.mix_tok_s is not None
    assert point.tokens_in is not None
    assert point.tokens_out is not None
    return point.mix_tok_s * (1 + weight * point.tokens_in / point.tokens_out)


def _weights(
    rows: Sequence[tuple[Point, Shape]], levels: Sequence[float], prefill_tok_s: float | None
) -> dict[float, float]:
    """Return what an input token costs against an output token, by level; empty: unknown."""
    seen: dict[float, float] = {}
    for level in levels:
        here = [point for point, _ in rows if point.concurrency == level]
        weight = _weight_here(here)
        if weight is not None:
            seen[level] = weight
    if prefill_tok_s is not None and not seen:
        # One rate beside the points: measured where the first of them was.
        first = next(point for point, _ in rows if point.concurrency == levels[0])
        tok_s = first.tok_s
        if tok_s is None:
            tok_s = _decoding(first, 1 / prefill_tok_s)
        if tok_s is not None:
            seen[levels[0]] = tok_s / prefill_tok_s
    return _filled(seen, levels)


def _weight_here(points: Sequence[Point]) -> float | None:
    """Return the weight that the points of one level tell, by the best evidence among them."""
    for point in points:
        if point.prefill_tok_s is not None:
            tok_s = point.tok_s or _decoding(point, 1 / point.prefill_tok_s)
            if tok_s is not None:
                return tok_s / point.prefill_tok_s
    mixes = [p for p in points if p.mix_tok_s and p.tokens_in and p.tokens_out]
    solved = _solved(mixes)
    if solved is not None:
        return solved
    for point in mixes:
        if point.concurrency <= ALONE and point.ttft_ms is not None:
            assert point.tokens_in is not None
            s_per_token = point.ttft_ms.p50 / 1000 / point.tokens_in
            tok_s = _decoding(point, s_per_token)
            if tok_s is not None:
                return tok_s * s_per_token
    return None


def _decoding(point: Point, prefill_s_per_token: float) -> float | None:
    """Return a mix's decode throughput once its prompts' time is taken out; None: none is left."""
    if point.mix_tok_s is None or point.tokens_in is None or point.tokens_out is None:
        return None
    seconds = point.tokens_out / point.mix_tok_s - point.tokens_in * prefill_s_per_token
    return point.tokens_out / seconds if seconds > 0 else None


def _solved(mixes: Sequence[Point]) -> float | None:
    """Return w of ``seconds = a x tokens_in + b x tokens_out`` by least squares, if it is one."""
    rows = [
        (p.tokens_in, p.tokens_out, p.tokens_out / p.mix_tok_s)
        for p in mixes
        if p.tokens_in and p.tokens_out and p.mix_tok_s
    ]
    ii = sum(i * i for i, _, _ in rows)
    oo = sum(o * o for _, o, _ in rows)
    io = sum(i * o for i, o, _ in rows)
    det = ii * oo - io * io
    if len(rows) < 2 or det <= 1e-9 * ii * oo:  # noqa: PLR2004  (one kind of mix tells nothing)
        return None
    it = sum(i * t for i, _, t in rows)
    ot = sum(o * t for _, o, t in rows)
    a, b = it * oo - ot * io, ot * ii - it * io
    if b <= 0:
        return None
    return max(0.0, a / b)


# -- latency ---------------------------------------------------------------------------------------


def _law(
    rows: Sequence[tuple[Point, Shape]],
    first: float,
    prefill_tok_s: float | None,
    ttft_ms: float | None,
    tokens_in: float,
) -> PromptLaw | None:
    seen = [
        (point.tokens_in, point.ttft_ms.p50)
        for point, _ in rows
        if point.concurrency == first and point.ttft_ms is not None and point.tokens_in
    ]
    if ttft_ms is not None:
        seen.append((tokens_in, ttft_ms))
    rates = [p.prefill_tok_s for p, _ in rows if p.concurrency == first and p.prefill_tok_s]
    rate = prefill_tok_s or (rates[0] if rates else None)
    if len({length for length, _ in seen}) > 1:
        return _fitted(seen)
    if seen:
        length, ms = seen[0]
        if rate is not None and 1000 * length / rate <= ms:
            return PromptLaw(0.0, ms - 1000 * length / rate, 1000 / rate)
        # One figure can't be split into a fixed part and one per token: a shorter prompt is taken
        # to wait as long, a longer one in proportion.
        return PromptLaw(ms, 0.0, ms / length)
    return None if rate is None else PromptLaw(0.0, 0.0, 1000 / rate)


def _fitted(seen: Sequence[tuple[float, float]]) -> PromptLaw:
    """Return the line through (tokens_in, ms), neither part below zero."""
    count = len(seen)
    mean_in = sum(length for length, _ in seen) / count
    mean_ms = sum(ms for _, ms in seen) / count
    spread = sum((length - mean_in) ** 2 for length, _ in seen)
    slope = sum((length - mean_in) * (ms - mean_ms) for length, ms in seen) / spread
    if slope <= 0:
        return PromptLaw(0.0, mean_ms, 0.0)
    fixed = mean_ms - slope * mean_in
    if fixed < 0:
        through = sum(length * ms for length, ms in seen) / sum(length**2 for length, _ in seen)
        return PromptLaw(0.0, 0.0, through)
    return PromptLaw(0.0, fixed, slope)


def _slowdowns(
    rows: Sequence[tuple[Point, Shape]],
    levels: Sequence[float],
    shapes: Sequence[Shape],
    law: PromptLaw,
    as_itl: Mapping[float, float],
) -> tuple[dict[float, float], Mapping[float, Ratios]]:
    """Return TTFT by level against the law; where nobody measured it, it slows down as ITL does."""
    by: By = {}
    for point, shape in rows:
        if point.ttft_ms is not None and point.tokens_in:
            over = point.ttft_ms.p50 / law.ms(point.tokens_in)
            by.setdefault(point.concurrency, {})[shape] = over
    if not by:
        return dict(as_itl), dict.fromkeys(levels, ())
    curve, ratios = _spread(by, levels, shapes)
    against_itl = _filled({level: curve[level] / as_itl[level] for level in curve}, levels)
    return {level: against_itl[level] * as_itl[level] for level in levels}, ratios


def _p95(
    rows: Sequence[tuple[Point, Shape]],
    levels: Sequence[float],
    of: Callable[[Point], float | None],
) -> dict[float, float]:
    """Return p95 / p50 by level: the mean of what was measured there; empty: nowhere known."""
    seen = {}
    for level in levels:
        found = [of(point) for point, _ in rows if point.concurrency == level]
        known = [ratio for ratio in found if ratio is not None]
        if known:
            seen[level] = sum(known) / len(known)
    return _filled(seen, levels)


def _ratio(quantiles: Quantiles | None) -> float | None:
    if quantiles is None or quantiles.p95 is None:
        return None
    return max(1.0, quantiles.p95 / quantiles.p50)

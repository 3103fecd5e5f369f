"""How surely a trace tells the difference of two bills: a 95 % interval, by resampling blocks.

Both policies are replayed over the same requests, so what counts is the difference of the two
bills, minute by minute. The minutes are not independent: a machine that was started runs on, a
burst lasts. So whole blocks of consecutive minutes are drawn with replacement until the trace's
length is reached, round the end to the start (the circular block bootstrap: Politis and Romano,
1992), and old and new are drawn together.

A block has BLOCK_LOOKS minutes at least: a started machine runs for ten by default, and blocks
that are shorter than what hangs together make the interval too small. Few blocks do so too, hence
Student's t for as many as there are, and n / (n - block). In simulations (400 each) of 57 to 1,000
minutes, independent, autocorrelated by 0.5, skewed or runs of ten, it held the true difference in
92 to 97 of 100 cases; autocorrelated by 0.8, in 90 to 93; of 30 minutes, in 82 (runs of ten) to 98.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from typing import Final

BLOCK_LOOKS: Final = 10
FEWEST_BLOCKS: Final = 3
DRAWS: Final = 1000
LEVEL: Final = 0.95
ROUNDING_USD: Final = 1e-6
Z: Final = 1.959964  # of LEVEL, both sides
_MASK: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float

    def around(self, *others: "Interval") -> "Interval":
        """Return the least that holds this one and the others."""
        every = (self, *others)
        return Interval(min(i.low for i in every), max(i.high for i in every))


@dataclass(frozen=True, slots=True)
class Spread:
    """Intervals of the new bill, of new - old, and of new / old - 1 (None: old is 0)."""

    new: Interval
    change: Interval
    ratio: Interval | None

    def around(self, others: Sequence["Spread"]) -> "Spread":
        ratios = [spread.ratio for spread in (self, *others) if spread.ratio is not None]
        return Spread(
            self.new.around(*(other.new for other in others)),
            self.change.around(*(other.change for other in others)),
            ratios[0].around(*ratios[1:]) if len(ratios) == len(others) + 1 else None,
        )


def block_of(looks: int) -> int:
    """Return how many consecutive minutes are drawn together."""
    return max(BLOCK_LOOKS, round(1.5 * sqrt(looks)))


def spread(
    old: Sequence[float], new: Sequence[float], seed: int, draws: int = DRAWS
) -> Spread | None:
    """Return the intervals; None where the series is too short to tell."""
    looks = len(old)
    block = block_of(looks)
    if looks < FEWEST_BLOCKS * block:
        return None
    wide = _t(looks / block - 1) / Z * sqrt(looks / (looks - block))
    totals = _drawn(old, new, block, draws, seed)
    was, now = sum(old), sum(new)
    ratio = None
    if was > 0 and all(drawn_old > 0 for drawn_old, _ in totals):
        ratio = _interval([b / a - 1 for a, b in totals], now / was - 1, wide)
    return Spread(
        _interval([b for _, b in totals], now, wide),
        _interval([b - a for a, b in totals], now - was, wide),
        ratio,
    )


def _interval(drawn: Sequence[float], point: float, wide: float) -> Interval:
    """Return where LEVEL of the drawn lie, widened about the point."""
    ordered = sorted(drawn)
    tail = round(len(ordered) * (1 - LEVEL) / 2)
    low, high = ordered[tail], ordered[-1 - tail]
    ends = min(0.0, low - point), max(0.0, high - point)
    return Interval(*(settled(point + end * wide) for end in ends))


def settled(usd: float) -> float:
    """Return the difference, 0 where it is but the rounding of bills to nano-USD."""
    return 0.0 if abs(usd) < ROUNDING_USD else usd


def _drawn(
    old: Sequence[float], new: Sequence[float], block: int, draws: int, seed: int
) -> list[tuple[float, float]]:
    """Return the two totals of each draw."""
    looks = len(old)
    before = [list(accumulate((*series, *series[:block]), initial=0.0)) for series in (old, new)]
    whole, rest = divmod(looks, block)
    lengths = [block] * whole + ([rest] if rest else [])
    state = seed & _MASK
    found = []
    for _ in range(draws):
        sums = [0.0, 0.0]
        for length in lengths:
            state, number = _next(state)
            start = number % looks
            for side in (0, 1):
                sums[side] += before[side][start + length] - before[side][start]
        found.append((sums[0], sums[1]))
    return found


def _next(state: int) -> tuple[int, int]:
    """Return the next state and number of SplitMix64 (Steele, Lea and Flood, 2014)."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return state, z ^ (z >> 31)


def _t(degrees: float) -> float:
    """Return Student's t of LEVEL, both sides (Abramowitz and Stegun 26.7.5), from 2 degrees on."""
    terms = (
        Z,
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))

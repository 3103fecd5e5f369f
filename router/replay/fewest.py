"""The fewest replicas with which something is good enough, by doubling and bisecting. Pure."""

from collections.abc import Callable

MOST = 1024  # replicas; more of the baseline's machines than any region has
PATIENCE = 3


def fewest(attained: Callable[[int], float], wanted: float, most: int = MOST) -> tuple[int, bool]:
    """Return the fewest replicas (from 1) with which `attained` is at least `wanted`, and True.

    False: no number does; then the fewest of those tried that attain the most. `attained` is taken
    to never fall; `PATIENCE` doublings in a row that gain nothing end the search.
    """
    low, high, flat = 0, 1, 0
    best = attained(1)
    while best < wanted and high < most and flat < PATIENCE:
        low, high = high, min(2 * high, most)
        found = attained(high)
        flat = flat + 1 if found <= best else 0
        best = max(best, found)
    reached = best >= wanted
    target = wanted if reached else best
    if not reached:  # the plateau began earlier
        low, high = 0, next(n for n in _tried(high, most) if attained(n) >= target)
        low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if attained(middle) >= target:
            high = middle
        else:
            low = middle
    return high, reached


def _tried(high: int, most: int) -> list[int]:
    sizes, n = [], 1
    while n < high:
        sizes.append(n)
        n = min(2 * n, most)
    return [*sizes, high]

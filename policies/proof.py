"""How surely a share is as large as asked for, by Wilson's interval of a share, one-sided. Pure."""

from functools import lru_cache
from math import ceil, erfc, sqrt

STEPS = 80  # of halving; the value has been exact to a float's last digits for some


@lru_cache(maxsize=32)
def z_of(confidence: float) -> float:
    """Return how many standard deviations a one-sided confidence of 0.5 to below 1 takes."""
    low, high = 0.0, 40.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if erfc(middle / sqrt(2)) / 2 > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def wilson_low(share: float, count: float, z: float) -> float:
    """Return the lower end of Wilson's interval for a share of so many; of none it is 0."""
    if count <= 0:
        return 0.0
    z2 = z * z
    middle = share + z2 / (2 * count)
    spread = z * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, (middle - spread) / (1 + z2 / count))


def enough(share: float, at_least: float, z: float) -> int | None:
    """Return how many it takes until that share proves `at_least`; None: no number does.

    Wilson's lower end is `at_least` where the share lies z standard deviations of `at_least`
    above it, which gives the number.
    """
    if share <= at_least:
        return None
    return max(1, ceil(z * z * at_least * (1 - at_least) / (share - at_least) ** 2))

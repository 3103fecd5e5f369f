"""Whether what was foretold of labels is better than chance. Pure."""

from collections.abc import Sequence
from math import sqrt

from policies.proof import z_of

SURE = z_of(0.99)  # folds share labels, so chance passes a little more often than it says
NONE = 1e-9  # of a variance


def better_than_chance(
    foretold: Sequence[float], found: Sequence[float], weights: Sequence[float]
) -> bool:
    """Return whether labels foretold higher are found higher: the correlation of the two against
    what a random order has, sqrt(labels - 1) times it being normal. False where either is constant.
    """
    total = sum(weights)
    if total <= 0:
        return False
    x, y = (
        [
            value - sum(w * v for w, v in zip(weights, values, strict=True)) / total
            for value in values
        ]
        for values in (foretold, found)
    )
    xx, yy, xy = (
        sum(w * a * b for w, a, b in zip(weights, one, other, strict=True)) / total
        for one, other in ((x, x), (y, y), (x, y))
    )
    if xx < NONE * NONE or yy < NONE:
        return False
    labels = total * total / sum(w * w for w in weights)
    return xy / sqrt(xx * yy) * sqrt(max(0.0, labels - 1)) > SURE

"""Ridge regression over sparse rows, by conjugate gradients: plain Python, seconds a thousand."""

from collections.abc import Sequence

Row = Sequence[tuple[int, float]]
"""(column, value) pairs; what isn't there is 0."""

STEPS = 60
ENOUGH = 1e-6  # of the residual's first size, squared


def ridge(
    rows: Sequence[Row], target: Sequence[float], columns: int, penalty: float
) -> list[float]:
    """Return the weights w that minimise |X w - y|^2 + penalty x |w|^2."""
    weights = [0.0] * columns
    residual = _transposed(rows, target, columns)
    direction = list(residual)
    size = first = sum(r * r for r in residual)
    for _ in range(STEPS):
        if size <= ENOUGH * first or not size:
            break
        applied = _transposed(rows, _times(rows, direction), columns)
        applied = [a + penalty * d for a, d in zip(applied, direction, strict=True)]
        step = size / sum(d * a for d, a in zip(direction, applied, strict=True))
        weights = [w + step * d for w, d in zip(weights, direction, strict=True)]
        residual = [r - step * a for r, a in zip(residual, applied, strict=True)]
        size, old = sum(r * r for r in residual), size
        share = size / old
        direction = [r + share * d for r, d in zip(residual, direction, strict=True)]
    return weights


def _times(rows: Sequence[Row], weights: Sequence[float]) -> list[float]:
    return [sum(value * weights[column] for column, value in row) for row in rows]


def _transposed(rows: Sequence[Row], values: Sequence[float], columns: int) -> list[float]:
    total = [0.0] * columns
    for row, value in zip(rows, values, strict=True):
        for column, x in row:
            total[column] += x * value
    return total

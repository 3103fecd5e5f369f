"""Convex fits in plain numpy, without BLAS, so that every machine finds the same weights.

Rows are sparse. Newton's method with conjugate gradients runs until the gradient is nothing beside
the decimals that are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
MOST_STEPS = 60
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Rows:
    """A sparse matrix: values[i] stands in row rows[i] and column columns[i]."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Vector
    shape: tuple[int, int]

    @classmethod
    def of(cls, rows: Sequence[Sequence[tuple[int, float]]], width: int) -> "Rows":
        flat = [(at, column, value) for at, row in enumerate(rows) for column, value in row]
        at, columns, values = zip(*flat, strict=True) if flat else ((), (), ())
        return cls(
            np.array(at, dtype=np.int64),
            np.array(columns, dtype=np.int64),
            np.array(values, dtype=np.float64),
            (len(rows), width),
        )

    def times(self, vector: Vector) -> Vector:
        parts = self.values * vector[self.columns]
        return np.bincount(self.rows, weights=parts, minlength=self.shape[0])

    def transposed_times(self, vector: Vector) -> Vector:
        parts = self.values * vector[self.rows]
        return np.bincount(self.columns, weights=parts, minlength=self.shape[1])


def newton(
    start: Vector,
    gradient: Callable[[Vector], Vector],
    curvature: Callable[[Vector], Callable[[Vector], Vector]],
    loss: Callable[[Vector], float],
) -> Vector:
    """Return the minimum of a strictly convex function."""
    at, value = start, loss(start)
    for _ in range(MOST_STEPS):
        slope = gradient(at)
        if np.abs(slope).max() < TOLERANCE:
            break
        step = conjugate(curvature(at), -slope)
        share = 1.0
        while (new := loss(at + share * step)) > value and share > TOLERANCE:
            share /= 2
        at, value = at + share * step, new
    return at


def conjugate(apply: Callable[[Vector], Vector], wanted: Vector) -> Vector:
    """Return x where apply(x) = wanted, for a positive definite map."""
    found = np.zeros_like(wanted)
    rest = wanted.copy()
    direction = rest.copy()
    size = first = float((rest * rest).sum())
    for _ in range(2 * len(wanted)):
        if size <= 1e-18 * first:
            break
        bent = apply(direction)
        length = size / float((direction * bent).sum())
        found = found + length * direction
        rest = rest - length * bent
        new = float((rest * rest).sum())
        direction = rest + new / size * direction
        size = new
    return found


def logistic(
    rows: Rows, targets: Vector, weights: Vector, ridge: Vector, alike: Rows | None, pull: float
) -> Vector:
    """Return the weights of a logistic regression.

    ``ridge`` by column. Each row of ``alike`` is the difference of two rows that should score the
    same: its square times ``pull`` / 2 is added to the loss.
    """

    def probability(at: Vector) -> Vector:
        scores = rows.times(at)
        return np.asarray(1 / (1 + np.exp(-scores)), dtype=np.float64)

    def loss(at: Vector) -> float:
        scores = rows.times(at)
        total = (weights * (np.logaddexp(0, scores) - targets * scores)).sum()
        total += (ridge * at * at).sum() / 2
        if alike is not None:
            total += pull * (alike.times(at) ** 2).sum() / 2
        return float(total)

    def gradient(at: Vector) -> Vector:
        found = rows.transposed_times(weights * (probability(at) - targets)) + ridge * at
        return found if alike is None else found + pull * alike.transposed_times(alike.times(at))

    def curvature(at: Vector) -> Callable[[Vector], Vector]:
        p = probability(at)
        bend = weights * p * (1 - p)

        def apply(vector: Vector) -> Vector:
            found = rows.transposed_times(bend * rows.times(vector)) + ridge * vector
            if alike is not None:
                found = found + pull * alike.transposed_times(alike.times(vector))
            return found

        return apply

    return newton(np.zeros(rows.shape[1]), gradient, curvature, loss)


def least_squares(rows: Rows, targets: Vector, weights: Vector, ridge: Vector) -> Vector:
    """Return the weights of a ridge regression."""

    def apply(vector: Vector) -> Vector:
        return rows.transposed_times(weights * rows.times(vector)) + ridge * vector

    return conjugate(apply, rows.transposed_times(weights * targets))


def softmax(
    rows: Rows, chosen: NDArray[np.int64], weights: Vector, prior: Vector, ridge: float
) -> Vector:
    """Return weights, a row for each class, of a multinomial regression drawn towards ``prior``."""
    classes, width = prior.shape
    wanted = np.eye(classes)[chosen].T

    def scores(at: Vector) -> Vector:
        return np.stack([rows.times(row) for row in at.reshape(classes, width)])

    def shares(at: Vector) -> Vector:
        found = scores(at)
        powers = np.exp(found - found.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), dtype=np.float64)

    def back(parts: Vector) -> Vector:
        return np.concatenate([rows.transposed_times(weights * row) for row in parts])

    def loss(at: Vector) -> float:
        found = scores(at)
        top = found.max(axis=0)
        total = np.log(np.exp(found - top).sum(axis=0)) + top - (wanted * found).sum(axis=0)
        return float((weights * total).sum() + ridge * ((at - prior.ravel()) ** 2).sum() / 2)

    def gradient(at: Vector) -> Vector:
        return back(shares(at) - wanted) + ridge * (at - prior.ravel())

    def curvature(at: Vector) -> Callable[[Vector], Vector]:
        p = shares(at)

        def apply(vector: Vector) -> Vector:
            said = scores(vector)
            return back(p * (said - (p * said).sum(axis=0))) + ridge * vector

        return apply

    return newton(prior.ravel().copy(), gradient, curvature, loss).reshape(classes, width)

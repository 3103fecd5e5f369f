"""A logistic curve of task, complexity, language and size: what labels without text teach. Pure.

Each task and each language may shift the whole by as much as its labels bear out. A shift costs
half of SHIFT x its square: 16 labels of one task, half of them acceptable, move it half of the way
from the whole to what they say; fewer less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from router.classify.calibration import Curve, log_size

SHIFT = 4.0  # the penalty on a task's or language's own log-odds: they are 0.5 or so
COMPLEXITY = 0.25  # on the log-odds from complexity 0 to 1: they are 2 or so
SIZE = 4.0  # on the log-odds for each e-fold of tokens
BASE = 1e-6  # on the whole: none, but so that the equations have a solution
STEPS = 50
ENOUGH = 1e-9  # of a step: a solution
LONGEST = 2.0  # of a step in log-odds, so that Newton's method doesn't leap

Row = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A label as a receipt has it. `good`: how acceptable, 0 to 1."""

    task: str
    complexity: float
    language: str
    tokens_in: int
    good: float
    weight: float


def learn(seen: Sequence[Seen]) -> Curve:
    """Return the curve of these labels, at least one with a weight.

    One label of each kind, of nothing in particular, is added: labels of one kind stay finite.
    """
    tasks = sorted({one.task for one in seen})
    languages = sorted({one.language for one in seen})
    column = {("task", task): 3 + i for i, task in enumerate(tasks)}
    column |= {("language", language): 3 + len(tasks) + i for i, language in enumerate(languages)}
    rows: list[Row] = [
        (
            (0, 1.0),
            (1, one.complexity - 0.5),
            (2, log_size(one.tokens_in)),
            (column["task", one.task], 1.0),
            (column["language", one.language], 1.0),
        )
        for one in seen
    ]
    rows += [((0, 1.0),), ((0, 1.0),)]
    wanted = [*(one.good for one in seen), 0.0, 1.0]
    weights = [*(one.weight for one in seen), 1.0, 1.0]
    penalties = [BASE, COMPLEXITY, SIZE, *[SHIFT] * len(column)]
    found = logistic(rows, wanted, weights, penalties)
    return Curve(
        found[0],
        found[1],
        found[2],
        (min(one.tokens_in for one in seen), max(one.tokens_in for one in seen)),
        dict(zip(tasks, found[3:], strict=False)),
        dict(zip(languages, found[3 + len(tasks) :], strict=True)),
        sum(one.weight for one in seen),
    )


def level(seen: Sequence[Seen]) -> Curve:
    """Return the curve that is the same for all requests: how acceptable these labels are, with
    one label of each kind added.
    """
    weight = sum(one.weight for one in seen)
    good = sum(one.weight * one.good for one in seen)
    base = log((good + 1) / (weight - good + 1))
    sizes = [one.tokens_in for one in seen]
    return Curve(base, 0.0, 0.0, (min(sizes), max(sizes)), {}, {}, weight)


def logistic(
    rows: Sequence[Row],
    wanted: Sequence[float],
    weights: Sequence[float],
    penalties: Sequence[float],
) -> list[float]:
    """Return the log-odds b of each column that fit best: the sum of weight x log-likelihood less
    half of penalty x b^2. By Newton's method.
    """
    columns = len(penalties)
    found = [0.0] * columns
    for _ in range(STEPS):
        slope = [-penalty * b for penalty, b in zip(penalties, found, strict=True)]
        bend = [[0.0] * columns for _ in range(columns)]
        for i, penalty in enumerate(penalties):
            bend[i][i] = penalty
        for row, good, weight in zip(rows, wanted, weights, strict=True):
            odds = sum(found[i] * x for i, x in row)
            p = 1 / (1 + exp(min(max(-odds, -700.0), 700.0)))
            off, curving = weight * (good - p), weight * p * (1 - p)
            for i, x in row:
                slope[i] += off * x
                line, curved = bend[i], curving * x
                for j, y in row:
                    line[j] += curved * y
        step = _solved(bend, slope)
        longest = max(map(abs, step))
        shrink = min(1.0, LONGEST / longest) if longest else 0.0
        found = [b + shrink * s for b, s in zip(found, step, strict=True)]
        if longest < ENOUGH:
            break
    return found


def _solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Return x of matrix x = right; the matrix is symmetric and positive (Cholesky)."""
    n = len(right)
    lower = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            left = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = sqrt(left) if i == j else left / lower[j][j]
    half = [0.0] * n
    for i in range(n):
        half[i] = (right[i] - sum(lower[i][k] * half[k] for k in range(i))) / lower[i][i]
    found = [0.0] * n
    for i in reversed(range(n)):
        below = sum(lower[k][i] * found[k] for k in range(i + 1, n))
        found[i] = (half[i] - below) / lower[i][i]
    return found

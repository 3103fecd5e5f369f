"""How good a model's answer is, relative to the policy's baseline model (1.0)."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backends.points import Mark

DEFAULT_TASK = "default"


@dataclass(frozen=True, slots=True)
class Curve:
    """P(the answer is acceptable) over complexity: (complexity, p) points, never rising.

    `labels`: how many judged answers it was drawn from; 0: a prior.
    """

    points: tuple[tuple[float, float], ...]
    mark: Mark
    source: str
    labels: int = 0

    def at(self, complexity: float) -> float:
        points = self.points
        i = bisect_left(points, complexity, key=_complexity)
        if i == 0:
            return points[0][1]
        if i == len(points):
            return points[-1][1]
        (low_at, low), (high_at, high) = points[i - 1], points[i]
        return low + (complexity - low_at) / (high_at - low_at) * (high - low)


@dataclass(frozen=True, slots=True)
class QualityTable:
    """`p_small`: the classifier's own probability is this model's quality. `scores`: published
    benchmark scores by task, on one scale for all models, to be divided by the baseline's.
    `curves`: P(acceptable) by task over complexity.
    """

    id: str
    by: Literal["p_small", "scores", "curves"]
    scores: Mapping[str, float]
    source: str
    curves: Mapping[str, Curve] = field(default_factory=dict)


def rests_on_p_small(
    table: QualityTable | None,
    baseline: QualityTable | None,
    task: str,
    *,
    in_baseline_lane: bool,
) -> bool:
    """Tell whether the classifier's p_small is this model's quality, known to be or assumed."""
    if table is None:
        # Nothing is known of it: as good as its lane is meant to be, else as the small model.
        return not in_baseline_lane
    if table is baseline or table.by == "scores":
        return False
    return table.by == "p_small" or _curve(table, task) is None


def quality(
    table: QualityTable | None,
    baseline: QualityTable | None,
    task: str,
    complexity: float,
    p_small: float,
    *,
    in_baseline_lane: bool,
) -> tuple[float, bool]:
    """Return the relative quality and whether it had to be assumed."""
    if rests_on_p_small(table, baseline, task, in_baseline_lane=in_baseline_lane):
        return p_small, table is None or table.by != "p_small"
    if table is None:
        return 1.0, True
    if table is baseline:
        return 1.0, False
    curve = _curve(table, task)
    if curve is not None:
        return curve.at(complexity), curve.labels == 0
    return _against(table, baseline, task)


def _curve(table: QualityTable, task: str) -> Curve | None:
    return table.curves.get(task) or table.curves.get(DEFAULT_TASK)


def _against(table: QualityTable, baseline: QualityTable | None, task: str) -> tuple[float, bool]:
    if baseline is None or baseline.by != "scores":
        return 1.0, True
    ours, theirs = _score(table, task), _score(baseline, task)
    if ours is None or theirs is None:
        return 1.0, True
    return ours / theirs, False


def _score(table: QualityTable, task: str) -> float | None:
    return table.scores.get(task, table.scores.get(DEFAULT_TASK))


def _complexity(point: tuple[float, float]) -> float:
    return point[0]

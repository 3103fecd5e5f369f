"""How good a model's answer is, relative to the policy's baseline model (1.0)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DEFAULT_TASK = "default"


@dataclass(frozen=True, slots=True)
class QualityTable:
    """`p_small`: the classifier's own probability is this model's quality. `scores`: published
    benchmark scores by task, on one scale for all models, to be divided by the baseline's.
    """

    id: str
    by: Literal["p_small", "scores"]
    scores: Mapping[str, float]
    source: str


def quality(
    table: QualityTable | None,
    baseline: QualityTable | None,
    task: str,
    p_small: float,
    *,
    in_baseline_lane: bool,
) -> tuple[float, bool]:
    """Return the relative quality and whether it had to be assumed."""
    if table is not None and table is baseline:
        return 1.0, False
    if table is None:
        # Nothing is known of it: as good as its lane is meant to be, else as the small model.
        return (1.0, True) if in_baseline_lane else (p_small, True)
    if table.by == "p_small":
        return p_small, False
    if baseline is None or baseline.by == "p_small":
        return 1.0, True
    ours, theirs = _score(table, task), _score(baseline, task)
    if ours is None or theirs is None:
        return 1.0, True
    return ours / theirs, False


def _score(table: QualityTable, task: str) -> float | None:
    return table.scores.get(task, table.scores.get(DEFAULT_TASK))

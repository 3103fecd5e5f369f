"""Judging a request: task, complexity, and how likely the small model suffices.

A classifier is a function from Features to a Judgement; it reads no text and keeps no state. One
that needs an artefact is a closure made by its loader at the root.

To add one: write `router/classify/<name>.py` with such a function, list it in CLASSIFIERS, and run
the tests, which hold every entry to the same ranges, targets and times.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from router.classify.calibration import Calibration
from router.classify.heuristic import heuristic
from router.classify.judgement import Judgement
from router.features import Features, last_text

__all__ = ["CLASSIFIERS", "Calibration", "Classifier", "Judge", "Judgement", "judge_by"]

Classifier = Callable[[Features], Judgement]

Judge = Callable[[Features, Mapping[str, Any]], Judgement]
"""What judges a request by its features and, where it was calibrated, by its body."""

CLASSIFIERS: Final[Mapping[str, Classifier]] = MappingProxyType({"heuristic": heuristic})


def judge_by(name: str, calibration: Calibration | None = None) -> Judge:
    """Return what judges by this classifier, corrected by this calibration."""
    classify = CLASSIFIERS[name]
    if calibration is None:
        return lambda features, _body: classify(features)

    def judge(features: Features, body: Mapping[str, Any]) -> Judgement:
        return calibration.apply(classify(features), last_text(body))

    return judge

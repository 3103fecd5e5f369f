"""Judging a request: task, complexity, and how likely the small model suffices.

A classifier is a function from a Reading to a Judgement; it keeps no state. One that needs an
artefact is a closure made from it.

To add one: write `router/classify/<name>.py` with such a function, list it in CLASSIFIERS, and run
the tests, which hold every entry to the same ranges, targets and times.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from router.classify.artefact import packaged
from router.classify.calibration import Calibration
from router.classify.judgement import Judgement
from router.classify.trained import trained
from router.features import Reading

__all__ = ["CLASSIFIERS", "DEFAULT", "Calibration", "Judge", "Judgement", "judge_by"]

Judge = Callable[[Reading], Judgement]

CLASSIFIERS: Final[Mapping[str, Callable[[], Judge]]] = MappingProxyType(
    {"trained": lambda: trained(packaged())}
)
DEFAULT: Final = "trained"


def judge_by(name: str = DEFAULT, calibration: Calibration | None = None) -> Judge:
    """Return what judges by this classifier, corrected by this calibration."""
    classify = CLASSIFIERS[name]()
    if calibration is None:
        return classify

    def judge(reading: Reading) -> Judgement:
        return calibration.apply(classify(reading), reading)

    return judge

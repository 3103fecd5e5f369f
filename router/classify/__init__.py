"""Judging a request: task, complexity, and how likely the small model suffices.

A classifier is a function from Features to a Judgement; it reads no text and keeps no state. One
that needs an artefact is a closure made by its loader at the root.

To add one: write `router/classify/<name>.py` with such a function, list it in CLASSIFIERS, and run
the tests, which hold every entry to the same ranges, targets and times.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from router.classify.heuristic import heuristic
from router.classify.judgement import Judgement
from router.features import Features

__all__ = ["CLASSIFIERS", "Classifier", "Judgement"]

Classifier = Callable[[Features], Judgement]

CLASSIFIERS: Final[Mapping[str, Classifier]] = MappingProxyType({"heuristic": heuristic})

"""A calibration on one's own labels: p_small from the words of a request and its judgement. Pure.

What was learnt is what the strong model gains over the small one; `p_small` is the probability
that it gains nothing, by a logistic curve over that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, sqrt
from typing import Any

from router.classify.judgement import Judgement
from router.classify.words import size, words

VERSION = 1
DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """`idf` and `weights` by word hash; `size_weight`, `complexity_weight` for the two numbers.

    p_small = 1 / (1 + exp(slope x gain + offset)). `labels`: how many it was learnt from.
    """

    idf: Mapping[int, float]
    weights: Mapping[int, float]
    size_weight: float
    complexity_weight: float
    mean: float
    slope: float
    offset: float
    labels: int

    def gain(self, text: str, complexity: float) -> float:
        """Return the expected gain of the strong model, from about -1 to 1."""
        total = square = 0.0
        for word in words(text):
            idf = self.idf.get(word)
            if idf is not None:
                square += idf * idf
                total += idf * self.weights[word]
        spoken = total / sqrt(square) if square else 0.0
        return (
            self.mean
            + spoken
            + self.size_weight * size(text)
            + self.complexity_weight * (complexity - 0.5)
        )

    def apply(self, judged: Judgement, text: str) -> Judgement:
        """Return the judgement with the calibrated p_small."""
        odds = self.slope * self.gain(text, judged.complexity) + self.offset
        return replace(judged, p_small=round(1 / (1 + exp(min(odds, 700.0))), DECIMALS))


def to_json(calibration: Calibration) -> dict[str, Any]:
    words_of = sorted(calibration.weights)
    return {
        "version": VERSION,
        "labels": calibration.labels,
        "mean": calibration.mean,
        "slope": calibration.slope,
        "offset": calibration.offset,
        "size": calibration.size_weight,
        "complexity": calibration.complexity_weight,
        "words": words_of,
        "idf": [round(calibration.idf[word], 4) for word in words_of],
        "weights": [round(calibration.weights[word], 6) for word in words_of],
    }


def from_json(value: object) -> Calibration:
    """Read a calibration; raise ValueError that says what is wrong with it."""
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ValueError(f"is no calibration of version {VERSION}: `sluice calibrate` writes one")
    lists = [value.get(key) for key in ("words", "idf", "weights")]
    numbers = [value.get(key) for key in ("mean", "slope", "offset", "size", "complexity")]
    if not all(isinstance(part, list) for part in lists) or len({len(x) for x in lists}) != 1:  # type: ignore[arg-type]
        raise ValueError("`words`, `idf` and `weights` must be lists of one length")
    flat = [*numbers, *(number for part in lists for number in part)]  # type: ignore[union-attr]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in flat):
        raise ValueError("holds something that is not a number")
    keys, idf, weights = lists
    mean, slope, offset, size_weight, complexity = (float(x) for x in numbers)  # type: ignore[arg-type]
    return Calibration(
        dict(zip(keys, idf, strict=True)),  # type: ignore[arg-type]
        dict(zip(keys, weights, strict=True)),  # type: ignore[arg-type]
        size_weight,
        complexity,
        mean,
        slope,
        offset,
        int(value.get("labels", 0)),
    )

"""A calibration on one's own labels: p_small from the words of a request and its judgement. Pure.

From labels with their text is learnt what the strong model gains over the small one; `p_small` is
the probability that it gains nothing, by a logistic curve over that. From labels without text
(feedback) is learnt a logistic curve of what a receipt keeps. Where there are both, their log-odds
are averaged by the labels behind each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, log, sqrt
from typing import Any

from router.classify.judgement import Judgement
from router.classify.signals import spoken
from router.classify.words import size, words
from router.features import Reading

VERSION = 2
READABLE = (1, VERSION)  # version 1 has no curve, counts, signals
DECIMALS = 4
MIDDLE = 5.0  # log of the tokens (about 150) that count as 0 of a curve's `size`

Counts = Mapping[str, tuple[int, int]]
"""By task: labels, and how many of them were acceptable."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Log-odds that the small model's answer is acceptable, of what a receipt keeps.

    `complexity` is per 1 above 0.5, `size` per unit of log(1 + tokens_in) above MIDDLE; beyond
    `tokens` (least and most learnt from) the nearest end holds. `labels`: their weight.
    """

    base: float
    complexity: float
    size: float
    tokens: tuple[int, int]
    tasks: Mapping[str, float]
    languages: Mapping[str, float]
    labels: float

    def log_odds(self, task: str, complexity: float, language: str, tokens_in: int) -> float:
        least, most = self.tokens
        return (
            self.base
            + self.complexity * (complexity - 0.5)
            + self.size * log_size(min(max(tokens_in, least), most))
            + self.tasks.get(task, 0.0)
            + self.languages.get(language, 0.0)
        )


def log_size(tokens_in: int) -> float:
    return log(1 + tokens_in) - MIDDLE


@dataclass(frozen=True, slots=True)
class Calibration:
    """`idf` and `weights` by word hash; `size_weight`, `complexity_weight` for the two numbers;
    `signals` for those of router.classify.signals.

    p_small = 1 / (1 + exp(slope x gain + offset)). `labels`: how many with text it was learnt
    from; 0: none, and what is learnt from text says nothing. `curve`: of those without text, or
    of all where words tell nothing.
    """

    idf: Mapping[int, float]
    weights: Mapping[int, float]
    size_weight: float
    complexity_weight: float
    mean: float
    slope: float
    offset: float
    labels: int
    curve: Curve | None = None
    counts: Counts = field(default_factory=dict)
    signals: Mapping[str, float] = field(default_factory=dict)

    def gain(self, text: str, complexity: float, signals: Mapping[str, float]) -> float:
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
            + sum(self.signals.get(name, 0.0) * value for name, value in signals.items())
        )

    def apply(self, judged: Judgement, reading: Reading) -> Judgement:
        """Return the judgement with the calibrated p_small."""
        features, odds = reading.features, 0.0
        if self.labels:
            gain = self.gain(reading.text, judged.complexity, spoken(features))
            odds = self.slope * gain + self.offset
        if self.curve is not None:
            task, complexity, language = judged.task, judged.complexity, judged.language
            told = self.curve.log_odds(task, complexity, language, features.tokens_in)
            odds = pooled(odds, self.labels, -told, self.curve.labels)
        behind = self.labels + (0.0 if self.curve is None else self.curve.labels)
        return replace(judged, p_small=p_of(odds, behind))


def p_of(odds: float, labels: float) -> float:
    """Return p_small of the log-odds that an answer is not acceptable: never surer than so many
    labels can be, were all of one kind: (labels + 1) / (labels + 2), by Laplace's rule.
    """
    most = log(labels + 1)
    return round(1 / (1 + exp(min(max(odds, -most), most))), DECIMALS)


def pooled(one: float, weight: float, other: float, others: float) -> float:
    """Return the mean of two log-odds by the labels behind each; one of them has some."""
    return (one * weight + other * others) / (weight + others)


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
        "signals": {name: round(w, 6) for name, w in sorted(calibration.signals.items())},
        "words": words_of,
        "idf": [round(calibration.idf[word], 4) for word in words_of],
        "weights": [round(calibration.weights[word], 6) for word in words_of],
        "curve": None if calibration.curve is None else _curve_json(calibration.curve),
        "counts": {task: list(counted) for task, counted in sorted(calibration.counts.items())},
    }


def _curve_json(curve: Curve) -> dict[str, Any]:
    return {
        "labels": round(curve.labels, DECIMALS),
        "base": curve.base,
        "complexity": curve.complexity,
        "size": curve.size,
        "tokens": list(curve.tokens),
        "tasks": dict(sorted(curve.tasks.items())),
        "languages": dict(sorted(curve.languages.items())),
    }


def from_json(value: object) -> Calibration:
    """Read a calibration; raise ValueError that says what is wrong with it."""
    if not isinstance(value, dict) or value.get("version") not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise ValueError(f"is no calibration of version {known}: `sluice calibrate` writes one")
    lists = [value.get(key) for key in ("words", "idf", "weights")]
    numbers = [value.get(key) for key in ("mean", "slope", "offset", "size", "complexity")]
    if not all(isinstance(part, list) for part in lists) or len({len(x) for x in lists}) != 1:  # type: ignore[arg-type]
        raise ValueError("`words`, `idf` and `weights` must be lists of one length")
    signals = value.get("signals", {})
    if not (isinstance(signals, dict) and all(map(_is_number, signals.values()))):
        raise ValueError("`signals` must hold a number by name")
    flat = [*numbers, *(number for part in lists for number in part)]  # type: ignore[union-attr]
    if not all(map(_is_number, flat)):
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
        None if value.get("curve") is None else _curve(value["curve"]),
        _counts(value.get("counts", {})),
        signals,
    )


def _curve(value: object) -> Curve:
    try:
        assert isinstance(value, dict)
        numbers = [value[key] for key in ("base", "complexity", "size", "labels")]
        least, most = value["tokens"]
        tasks, languages = dict(value["tasks"]), dict(value["languages"])
        assert all(map(_is_number, (*numbers, least, most, *tasks.values(), *languages.values())))
    except (AssertionError, KeyError, TypeError, ValueError):
        raise ValueError("`curve` is none that `sluice calibrate` writes") from None
    base, complexity, size_weight, labels = map(float, numbers)
    if labels <= 0:
        raise ValueError("`curve` was learnt from no labels")
    return Curve(base, complexity, size_weight, (int(least), int(most)), tasks, languages, labels)


def _counts(value: object) -> dict[str, tuple[int, int]]:
    found = {}
    for task, counted in value.items() if isinstance(value, dict) else [("", None)]:
        pair = isinstance(counted, list) and [type(n) for n in counted] == [int, int]
        if counted is None or not pair or not 0 <= counted[1] <= counted[0]:
            raise ValueError("`counts` must hold, by task, [labels, acceptable ones]")
        found[task] = (counted[0], counted[1])
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Labels -> a calibration, and gains foretold for prompts it had not seen. Pure; fixed seed."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from router.calibrate.ridge import Row, ridge
from router.classify.calibration import Calibration
from router.classify.words import size, words

FOLDS = 5
PENALTY = 5.0  # of the ridge; 3 to 10 are within noise of one another on public outcomes
AT_LEAST = 2  # texts that a word must stand in
NEWTON = 25  # steps of the logistic curve
SEED = 20261121


@dataclass(frozen=True, slots=True)
class Label:
    """One prompt, and how well the small (weak) and the strong model answered it, 0 to 1."""

    id: str
    text: str
    language: str
    complexity: float
    weak: float
    strong: float

    @property
    def gain(self) -> float:
        return self.strong - self.weak

    @property
    def acceptable(self) -> float:
        """Return 1 where the strong model gains nothing, less where it does."""
        return 1 - max(0.0, self.gain)


@dataclass(frozen=True, slots=True)
class Fitted:
    """`foretold`: of every label, by a model that had not seen it: the gain, and p_small."""

    calibration: Calibration
    gains: tuple[float, ...]
    p_small: tuple[float, ...]


def fit(labels: Sequence[Label]) -> Fitted:
    """Learn from all labels, and foretell each from the other folds'."""
    texts = [words(label.text) for label in labels]
    order = list(range(len(labels)))
    random.Random(SEED).shuffle(order)  # noqa: S311  (folds, no secret)
    gains = [0.0] * len(labels)
    for fold in range(FOLDS):
        unseen = order[fold::FOLDS]
        out = set(unseen)
        seen = [i for i in order if i not in out]
        learnt = _learn([labels[i] for i in seen], [texts[i] for i in seen], (0.0, 0.0))
        for i in unseen:
            gains[i] = learnt.gain(labels[i].text, labels[i].complexity)
    curve = _logistic(gains, [label.acceptable for label in labels])
    slope, offset = curve
    p_small = tuple(1 / (1 + exp(min(slope * gain + offset, 700.0))) for gain in gains)
    return Fitted(_learn(labels, texts, curve), tuple(gains), p_small)


def _learn(
    labels: Sequence[Label], texts: Sequence[frozenset[int]], curve: tuple[float, float]
) -> Calibration:
    counts = Counter(word for text in texts for word in text)
    known = sorted(word for word, count in counts.items() if count >= AT_LEAST)
    column = {word: i for i, word in enumerate(known)}
    idf = {word: log((1 + len(texts)) / (1 + counts[word])) + 1 for word in known}
    rows = [_row(label, text, column, idf) for label, text in zip(labels, texts, strict=True)]
    mean = sum(label.gain for label in labels) / len(labels)
    target = [label.gain - mean for label in labels]
    weights = ridge(rows, target, len(known) + 2, PENALTY)
    return Calibration(
        idf,
        {word: weights[i] for word, i in column.items()},
        weights[-2],
        weights[-1],
        mean,
        *curve,
        len(labels),
    )


def _row(label: Label, text: frozenset[int], column: dict[int, int], idf: dict[int, float]) -> Row:
    mine = sorted(word for word in text if word in column)
    length = sqrt(sum(idf[word] ** 2 for word in mine)) or 1.0
    row = [(column[word], idf[word] / length) for word in mine]
    numbers = (size(label.text), label.complexity - 0.5)
    return [*row, *((len(column) + i, number) for i, number in enumerate(numbers))]


def _logistic(gains: Sequence[float], acceptable: Sequence[float]) -> tuple[float, float]:
    """Return slope and offset of P(acceptable) = 1 / (1 + exp(slope x gain + offset)).

    By Newton's method, with a little penalty so that labels of one kind stay finite.
    """
    slope = offset = 0.0
    penalty = 1e-3 * len(gains)
    for _ in range(NEWTON):
        g0 = g1 = h00 = h01 = h11 = 0.0
        for gain, wanted in zip(gains, acceptable, strict=True):
            p = 1 / (1 + exp(min(max(slope * gain + offset, -700.0), 700.0)))
            off, bend = p - wanted, p * (1 - p)
            g0 += off
            g1 += off * gain
            h00 += bend
            h01 += bend * gain
            h11 += bend * gain * gain
        g1 -= penalty * 1e-2 * slope
        g0 -= 1e-3 * offset
        h11 += penalty * 1e-2
        h00 += 1e-3
        det = h00 * h11 - h01 * h01
        if det <= 0:
            break
        offset += (h11 * g0 - h01 * g1) / det
        slope += (h00 * g1 - h01 * g0) / det
    return slope, offset

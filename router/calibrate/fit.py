"""Labels -> a calibration, and p_small foretold for labels it had not seen. Pure; fixed seed."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log, sqrt

from router.calibrate.chance import better_than_chance
from router.calibrate.curve import Seen, level
from router.calibrate.curve import learn as learn_curve
from router.calibrate.ridge import Row, ridge
from router.calibrate.weights import KEY_SHARE, fair_share, weigh
from router.classify.calibration import Calibration, Curve, p_of, pooled
from router.classify.words import size, words

FOLDS = 5
PENALTY = 5.0  # of the ridge; 3 to 10 are within noise of one another on public outcomes
SIGNALS_COUNT = 0.1  # of a word; 0.05 to 0.3 are within noise of one another
AT_LEAST = 2  # texts that a word must stand in
NEWTON = 25  # steps of the logistic curve
SEED = 20261121
LEAST = 50  # labels; nothing can be learnt from fewer


@dataclass(frozen=True, slots=True)
class Label:
    """One request, and how well the small (weak) and the strong model answered it, 0 to 1.

    `text` None: of its request only task, complexity, language and tokens_in are known. `key` is
    whose label it is; None: the operator's own. `said`: acceptable or not, in so many words.
    `share`: of labels taken together, how acceptable they are on average. An empty `id` is none.
    """

    id: str
    text: str | None
    language: str
    complexity: float
    weak: float
    strong: float
    task: str = "other"
    tokens_in: int = 0
    key: str | None = None
    said: bool | None = None
    weight: float = 1.0
    share: float | None = None
    signals: Mapping[str, float] = field(default_factory=dict)

    @property
    def gain(self) -> float:
        return self.strong - self.weak

    @property
    def acceptable(self) -> float:
        """Return 1 where the strong model gains nothing, less where it does."""
        return 1 - max(0.0, self.gain) if self.share is None else self.share


@dataclass(frozen=True, slots=True)
class Fitted:
    """`p_small`: of every label, foretold by a model that had not seen it. `labels`: with the
    weights that they had. `words`, `features`: whether these tell apart, better than chance, what
    is acceptable; None: no label was there for it.
    """

    calibration: Calibration
    p_small: tuple[float, ...]
    labels: tuple[Label, ...]
    words: bool | None
    features: bool | None

    @property
    def is_level(self) -> bool:
        """Return whether nothing is told apart: p_small is the same for all."""
        return not self.words and not self.features


def weighted(labels: Sequence[Label], key_share: float = KEY_SHARE) -> list[Label]:
    """Return the labels with a weight, so that no key's make up more than this share of all."""
    keys = [label.key for label in labels]
    weights = weigh(keys, fair_share(keys, key_share))
    return [replace(label, weight=w) for label, w in zip(labels, weights, strict=True)]


def counts(labels: Sequence[Label], key_share: float = KEY_SHARE) -> dict[str, tuple[int, int]]:
    """Return, by task, how many labels there are and how many of them were acceptable, rounded
    down; in each task again no key makes up more than its share.
    """
    share = fair_share([label.key for label in labels], key_share)
    found = {}
    for task in sorted({label.task for label in labels}):
        mine = [label for label in labels if label.task == task]
        weights = weigh([label.key for label in mine], share)
        good = sum(w * _good(label) for w, label in zip(weights, mine, strict=True))
        found[task] = (int(sum(weights) + 1e-9), int(good + 1e-9))
    return found


def fit(labels: Sequence[Label], key_share: float = KEY_SHARE) -> Fitted:
    """Learn from all labels, and foretell each by what was learnt without it.

    Those with text teach its words, if there are enough of them; the others the curve. What was
    learnt from the one kind has not seen the other. Where words tell nothing, those with text teach
    the curve too; where the curve tells nothing either, it is how acceptable the labels are.
    """
    weighed = weighted(labels, key_share)
    texts = [i for i, label in enumerate(weighed) if label.text is not None]
    if len(texts) < LEAST <= len(weighed):
        texts = []
    read = set(texts)
    rest = [i for i in range(len(weighed)) if i not in read]
    calibration = Calibration({}, {}, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    odds = [0.0] * len(weighed)  # that it is not acceptable
    told: bool | None = None
    features: bool | None = None
    if texts:
        learnt = _fit_texts([weighed[i] for i in texts])
        told = learnt is not None
        if learnt is None:
            texts, rest = [], list(range(len(weighed)))  # they still have task, size and so on
        else:
            calibration, foretold = learnt
            odds = _put(odds, texts, foretold)
    if rest:
        curve, foretold, features = _fit_curve([weighed[i] for i in rest])
        odds = _put(odds, rest, foretold)
        for i in texts:
            odds[i] = pooled(odds[i], calibration.labels, _odds(curve, weighed[i]), curve.labels)
        calibration = replace(calibration, curve=curve)
    calibration = replace(calibration, counts=counts(labels, key_share))
    behind = calibration.labels + (calibration.curve.labels if calibration.curve else 0.0)
    p_small = tuple(p_of(odd, behind) for odd in odds)
    return Fitted(calibration, p_small, tuple(weighed), told, features)


def _fit_texts(labels: Sequence[Label]) -> tuple[Calibration, list[float]] | None:
    """Return what words teach, and the log-odds foretold; None where that is chance."""
    texts = [words(label.text or "") for label in labels]

    def gains(seen: Sequence[int], unseen: Sequence[int]) -> list[float]:
        """Return gains above the mean of those that were seen: where a fold happens to hold more
        hard ones, the others' mean is lower, and would foretell the opposite.
        """
        learnt = _learn([labels[i] for i in seen], [texts[i] for i in seen], (0.0, 0.0))
        return [_gain(learnt, labels[i]) - learnt.mean for i in unseen]

    folds = _folds([label.text for label in labels])
    foretold = _crossed(folds, gains)
    if not _tells([-gain for gain in foretold], labels):
        return None
    slope, offset = _logistic(foretold, [label.acceptable for label in labels])

    def odds(seen: Sequence[int], unseen: Sequence[int]) -> list[float]:
        """Return log-odds by the slope of other labels than these; the level is that of all."""
        steep, _ = _logistic([foretold[i] for i in seen], [labels[i].acceptable for i in seen])
        return [max(steep, 0.0) * foretold[i] + offset for i in unseen]

    learnt = _learn(labels, texts, (slope, offset))
    return replace(learnt, offset=offset - slope * learnt.mean), _crossed(folds, odds)


def _fit_curve(labels: Sequence[Label]) -> tuple[Curve, list[float], bool]:
    """Return the curve, the log-odds foretold, and whether these are better than chance; if not
    it is the level.
    """
    seen_as = [
        Seen(one.task, one.complexity, one.language, one.tokens_in, one.acceptable, one.weight)
        for one in labels
    ]
    means = [0.0] * len(labels)

    def odds(seen: Sequence[int], unseen: Sequence[int]) -> list[float]:
        curve = learn_curve([seen_as[i] for i in seen])
        mean = sum(_odds(curve, labels[i]) for i in seen) / len(seen)
        for i in unseen:
            means[i] = mean  # as with words: others' mean foretells the opposite
        return [_odds(curve, labels[i]) for i in unseen]

    foretold = _crossed(_folds([label.text for label in labels]), odds)
    if _tells([mean - odd for odd, mean in zip(foretold, means, strict=True)], labels):
        return learn_curve(seen_as), foretold, True
    flat = level(seen_as)
    return flat, [-flat.base] * len(labels), False


def _tells(foretold: Sequence[float], labels: Sequence[Label]) -> bool:
    found, weights = ([getattr(one, of) for one in labels] for of in ("acceptable", "weight"))
    return better_than_chance(foretold, found, weights)


def _folds(texts: Sequence[str | None]) -> list[list[int]]:
    """Part the labels in FOLDS, those of the same text together: it would foretell itself."""
    together: dict[object, list[int]] = {}
    for i, text in enumerate(texts):
        together.setdefault(i if text is None else text, []).append(i)
    groups = list(together.values())
    random.Random(SEED).shuffle(groups)  # noqa: S311  (folds, no secret)
    parts = [groups[fold::FOLDS] for fold in range(min(FOLDS, len(groups)))]
    return [[i for group in part for i in group] for part in parts]


def _crossed(
    folds: Sequence[Sequence[int]],
    foretell: Callable[[Sequence[int], Sequence[int]], Sequence[float]],
) -> list[float]:
    """Return what is foretold of each by the other folds'."""
    foretold = [0.0] * sum(map(len, folds))
    for unseen in folds:
        seen = [i for fold in folds if fold is not unseen for i in fold]
        foretold = _put(foretold, unseen, foretell(seen, unseen) if seen else [0.0] * len(unseen))
    return foretold


def _put(into: Sequence[float], places: Sequence[int], values: Sequence[float]) -> list[float]:
    put: Mapping[int, float] = dict(zip(places, values, strict=True))
    return [put.get(i, value) for i, value in enumerate(into)]


def _odds(curve: Curve, label: Label) -> float:
    """Return the log-odds that an answer to this request is not acceptable."""
    return -curve.log_odds(label.task, label.complexity, label.language, label.tokens_in)


def _gain(learnt: Calibration, label: Label) -> float:
    return learnt.gain(label.text or "", label.complexity, label.signals)


def _good(label: Label) -> float:
    return label.acceptable if label.said is None else float(label.said)


def _learn(
    labels: Sequence[Label], texts: Sequence[frozenset[int]], curve: tuple[float, float]
) -> Calibration:
    counts = Counter(word for text in texts for word in text)
    known = sorted(word for word, count in counts.items() if count >= AT_LEAST)
    column = {word: i for i, word in enumerate(known)}
    idf = {word: log((1 + len(texts)) / (1 + counts[word])) + 1 for word in known}
    names = sorted({name for label in labels for name in label.signals})
    rows = [
        _row(label, text, column, idf, names) for label, text in zip(labels, texts, strict=True)
    ]
    mean = sum(label.gain for label in labels) / len(labels)
    target = [label.gain - mean for label in labels]
    weights = ridge(rows, target, len(known) + 2 + len(names), PENALTY)
    size_weight, complexity_weight, *signals = weights[len(known) :]
    return Calibration(
        idf,
        {word: weights[i] for word, i in column.items()},
        size_weight,
        complexity_weight,
        mean,
        *curve,
        len(labels),
        signals={name: w * SIGNALS_COUNT for name, w in zip(names, signals, strict=True)},
    )


def _row(
    label: Label,
    text: frozenset[int],
    column: dict[int, int],
    idf: dict[int, float],
    names: Sequence[str],
) -> Row:
    mine = sorted(word for word in text if word in column)
    length = sqrt(sum(idf[word] ** 2 for word in mine)) or 1.0
    row = [(column[word], idf[word] / length) for word in mine]
    signals = (label.signals.get(name, 0.0) * SIGNALS_COUNT for name in names)
    numbers = (size(label.text or ""), label.complexity - 0.5, *signals)
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

"""How well a calibration orders prompts, and what a quality floor keeps on the small model. Pure.

APGR and CPT as RouteLLM (arXiv 2406.18665) defines them: prompts go to the strong model from the
highest score down; APGR is the share of the strong model's gain won on average over all shares of
strong calls (0.5 is random), CPT(x) the share of strong calls that wins x of the gain. Ties count
as under a random order.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from policies.proof import wilson_low, z_of
from router.calibrate.fit import SEED, Label

BOOTSTRAPS = 200
BINS = 10
ROWS = 20
Z95 = z_of(0.95)  # one-sided
Z95_OF_ALL = z_of(1 - 0.05 / ROWS)  # by Bonferroni: one of twenty looks is chosen
HALF = 0.5  # acceptable from here on, where a label says how much


@dataclass(frozen=True, slots=True)
class Ordering:
    """APGR with a 95 % interval; CPT in shares of strong calls. None: the strong model isn't."""

    apgr: float | None
    low: float | None
    high: float | None
    cpt50: float | None
    cpt80: float | None


@dataclass(frozen=True, slots=True)
class Floor:
    """What stays small at a threshold of p_small: its share, and how often that is acceptable.

    Labels count by their weight in `acceptable` and its lower end.
    """

    threshold: float
    small: float
    acceptable: float
    acceptable_low: float  # with 95 % confidence
    acceptable_sure: float  # with 95 % confidence in all rows at once: what is chosen is the best
    quality: float | None  # of everything together, over the strong model's


@dataclass(frozen=True, slots=True)
class Bin:
    """Labels of about the same p_small: foretold and found."""

    foretold: float
    found: float
    count: int


def ordering(labels: Sequence[Label], scores: Sequence[float]) -> Ordering:
    """Tell how well these scores (high: needs the strong model) order the labels."""
    apgr, cpt50, cpt80 = _curve(labels, scores)
    if apgr is None:
        return Ordering(None, None, None, None, None)
    draw = random.Random(SEED)  # noqa: S311  (a bootstrap, no secret)
    found = []
    for _ in range(BOOTSTRAPS):
        picked = [draw.randrange(len(labels)) for _ in labels]
        value, _, _ = _curve([labels[i] for i in picked], [scores[i] for i in picked])
        if value is not None:
            found.append(value)
    found.sort()
    low, high = found[int(0.025 * len(found))], found[int(0.975 * len(found))]
    return Ordering(apgr, low, high, cpt50, cpt80)


def floors(labels: Sequence[Label], p_small: Sequence[float]) -> list[Floor]:
    """Return what every twentieth of the labels, from the surest down, means as a threshold.

    Thresholds that are the same are one row.
    """
    ranked = sorted(zip(p_small, labels, strict=True), key=lambda pair: -pair[0])
    strong = sum(label.strong for label in labels)
    rows: list[Floor] = []
    for twentieth in range(1, ROWS + 1):
        threshold = ranked[max(1, round(len(ranked) * twentieth / ROWS)) - 1][0]
        if rows and rows[-1].threshold == threshold:
            continue
        count = sum(p >= threshold for p, _ in ranked)  # who is as sure stays small as well
        kept = ranked[:count]
        weight = sum(label.weight for _, label in kept)
        good = sum(label.weight * label.acceptable for _, label in kept)
        share = good / weight if weight else 0.0
        answered = sum(label.weak for _, label in kept)
        answered += sum(label.strong for _, label in ranked[count:])
        rows.append(
            Floor(
                threshold,
                count / len(ranked),
                share,
                wilson_low(share, weight, Z95),
                wilson_low(share, weight, Z95_OF_ALL),
                answered / strong if strong else None,
            )
        )
    return rows


def threshold_for(rows: Sequence[Floor], floor: float) -> Floor | None:
    """Return the lowest threshold above which answers are acceptable that often, surely (95 %)."""
    fitting = [row for row in rows if row.acceptable_sure >= floor]
    return max(fitting, key=lambda row: row.small) if fitting else None


def reliability(labels: Sequence[Label], p_small: Sequence[float]) -> list[Bin]:
    """Return tenths of the labels by p_small, foretold against found."""
    ranked = sorted(zip(p_small, labels, strict=True), key=lambda pair: pair[0])
    rows = []
    for i in range(BINS):
        part = ranked[len(ranked) * i // BINS : len(ranked) * (i + 1) // BINS]
        if part:
            foretold = sum(p for p, _ in part) / len(part)
            found = sum(label.acceptable for _, label in part) / len(part)
            rows.append(Bin(foretold, found, len(part)))
    return rows


@dataclass(frozen=True, slots=True)
class Confusion:
    """Labels of one language at a threshold: kept small or sent on, rightly or not."""

    small_good: int
    small_bad: int
    strong_good: int  # the small model would have done
    strong_bad: int


def confusion(
    labels: Sequence[Label], p_small: Sequence[float], threshold: float
) -> dict[str, Confusion]:
    """Return, by language, what stays small from this p_small on, and whether it should."""
    cells = Counter(
        (label.language, p >= threshold, label.acceptable >= HALF)
        for label, p in zip(labels, p_small, strict=True)
    )
    return {
        language: Confusion(
            *(cells[language, small, good] for small in (True, False) for good in (True, False))
        )
        for language in sorted({label.language for label in labels})
    }


def _curve(
    labels: Sequence[Label], scores: Sequence[float]
) -> tuple[float | None, float | None, float | None]:
    """Return APGR, CPT(50 %) and CPT(80 %)."""
    n = len(labels)
    total = sum(label.gain for label in labels)
    if total <= 0:
        return None, None, None
    won = [0.0]
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
    at = 0
    while at < n:
        end = at
        while end < n and ranked[end][0] == ranked[at][0]:
            end += 1
        tied = sum(label.gain for _, label in ranked[at:end])
        begun = won[-1]
        won += [begun + tied * (i - at + 1) / (end - at) for i in range(at, end)]
        at = end
    area = sum((a + b) / 2 for a, b in pairwise(won)) / n / total
    shares = [
        next(i for i, gain in enumerate(won) if gain >= part * total - 1e-12) / n
        for part in (0.5, 0.8)
    ]
    return area, shares[0], shares[1]

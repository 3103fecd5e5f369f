"""What ``sluice calibrate`` found, as a value, as JSON and as a text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from policies.proof import wilson_low
from router.calibrate.fit import Fitted, Label, fit
from router.calibrate.report import (
    Z95,
    Bin,
    Confusion,
    Floor,
    Ordering,
    confusion,
    floors,
    ordering,
    reliability,
    threshold_for,
)
from router.cli.calibrate.costs import TOKENS_OUT, Saving, saving
from router.cli.table import grid
from router.labels import Given, Judged
from router.world import World


@dataclass(frozen=True, slots=True)
class Found:
    """`floor` is the share acceptable that was asked for, `chosen` the threshold that keeps it."""

    fitted: Fitted
    orderings: dict[str, Ordering]
    rows: list[Floor]
    floor: float
    chosen: Floor | None
    bins: list[Bin]
    confused: dict[str, Confusion]
    saved: Saving | None

    @property
    def threshold(self) -> float:
        """Return the p_small from which requests stay small; with none chosen, the floor's."""
        return self.floor if self.chosen is None else self.chosen.threshold


def found_in(labels: Sequence[Label], key_share: float, floor: float, world: World | None) -> Found:
    fitted = fit(labels, key_share)
    weighed, p_small = fitted.labels, fitted.p_small
    sizes = [float(label.tokens_in) for label in labels]
    if all(label.text is not None for label in labels):
        sizes = [float(len(label.text or "")) for label in labels]
    orderings = {
        "calibrated": ordering(weighed, [-p for p in p_small]),
        "complexity": ordering(weighed, [label.complexity for label in weighed]),
        "length": ordering(weighed, sizes),
        "random": ordering(weighed, [0.0] * len(weighed)),
        "oracle": ordering(weighed, [label.gain for label in weighed]),
    }
    rows = floors(weighed, p_small)
    chosen = threshold_for(rows, floor)
    return Found(
        fitted,
        orderings,
        rows,
        floor,
        chosen,
        reliability(weighed, p_small),
        confusion(weighed, p_small, floor if chosen is None else chosen.threshold),
        None if world is None else saving(world, weighed, p_small, rows),
    )


# -- JSON ------------------------------------------------------------------------------------------


def json_of(found: Found, given: Sequence[Given], judged: Sequence[Judged]) -> dict[str, Any]:
    labels = found.fitted.labels
    return {
        "labels": len(labels),
        "weight": sum(label.weight for label in labels),
        "orderings": {name: asdict(one) for name, one in found.orderings.items()},
        "thresholds": [asdict(row) for row in found.rows],
        "chosen": None if found.chosen is None else asdict(found.chosen),
        "reliability": [asdict(row) for row in found.bins],
        "languages": _by_language(found),
        "confusion": {language: asdict(one) for language, one in found.confused.items()},
        "tasks": {
            task: {"labels": given_of, "counted": counted, "acceptable": good}
            for task, given_of, counted, good in _tasks(found)
        },
        "keys": {key: {"labels": count, "weight": weight} for key, count, weight in by_key(labels)},
        "said": _said(given),
        "judges": _judges(judged, given),
        "level": found.fitted.p_small[0] if found.fitted.is_level else None,
        "cost": None if found.saved is None else _cost(found.saved),
    }


def _cost(saved: Saving) -> dict[str, Any]:
    return {**asdict(saved), "note": dearer(saved) if saved.is_none else None}


def dearer(saved: Saving) -> str:
    """Return why every threshold costs more than the strong model alone, and what that means."""
    return (
        f"{saved.small} is dearer than {saved.strong} at every threshold: a rate card takes each "
        "machine as full, and full the large one is cheaper a token, so what stays small saves "
        f"nothing unless {saved.strong} would stand partly idle (`sluice fleet show --break-even`)"
    )


def by_key(labels: Sequence[Label]) -> list[tuple[str, int, float]]:
    """Return, of each key, how many labels it gave and what they weigh."""
    keys = sorted({label.key for label in labels if label.key is not None})
    mine = {key: [label.weight for label in labels if label.key == key] for key in keys}
    return [(key, len(weights), sum(weights)) for key, weights in mine.items()]


def _by_language(found: Found) -> dict[str, dict[str, float]]:
    """Return, per language, how many labels there are and how far p_small is off on average."""
    labels, p_small = found.fitted.labels, found.fitted.p_small
    by_language = {}
    for language in found.confused:
        mine = [
            (p, label.acceptable)
            for p, label in zip(p_small, labels, strict=True)
            if label.language == language
        ]
        foretold = sum(p for p, _ in mine) / len(mine)
        seen = sum(acceptable for _, acceptable in mine) / len(mine)
        by_language[language] = {"labels": len(mine), "foretold": foretold, "acceptable": seen}
    return by_language


def _tasks(found: Found) -> list[tuple[str, int, int, int]]:
    """Return task, labels, and what of them counts for a floor with confidence."""
    tasks = [label.task for label in found.fitted.labels]
    counts = found.fitted.calibration.counts
    return [(task, tasks.count(task), *counted) for task, counted in sorted(counts.items())]


def _said(given: Sequence[Given]) -> dict[str, dict[str, int]]:
    """Return, of each word that callers gave as `label`, how many there are and how good."""
    words: dict[str, dict[str, int]] = {}
    for one in given:
        if one.label is not None:
            row = words.setdefault(one.label, {"labels": 0, "acceptable": 0})
            row["labels"] += 1
            row["acceptable"] += one.acceptable
    return dict(sorted(words.items()))


def _judges(judged: Sequence[Judged], given: Sequence[Given]) -> dict[str, dict[str, int]]:
    """Return, of each judge of shadow judging, how many labels it gave and how good; `callers`: on
    how many of these answers their callers spoke as well, and on how many they agree.
    """
    names = ("labels", "acceptable", "strong_acceptable", "callers", "agree")
    said = {one.request_id: one.acceptable for one in given}
    found: dict[str, dict[str, int]] = {}
    for one in judged:
        row = found.setdefault(one.judge, dict.fromkeys(names, 0))
        row["labels"] += 1
        row["callers"] += one.request_id in said
        row["agree"] += said.get(one.request_id) == one.acceptable
        row["acceptable"] += one.acceptable
        row["strong_acceptable"] += one.strong_acceptable
    return dict(sorted(found.items()))


# -- text ------------------------------------------------------------------------------------------


def show(found: Found, given: Sequence[Given], judged: Sequence[Judged]) -> None:
    count = len(found.fitted.labels)
    click.echo(f"{count} labels; every figure is of labels that the model had not seen\n")
    click.echo(_orderings(found) + "\n")
    click.echo(_thresholds(found))
    click.echo("\np_small foretold and found: " + ", ".join(
        f"{row.foretold:.2f}/{row.found:.2f}" for row in found.bins
    ) + "\n")  # fmt: skip
    click.echo(_task_table(found))
    words = _said(given)
    if words:
        told = (f"{word} {n['labels']} ({n['acceptable']} acceptable)" for word, n in words.items())
        click.echo("\nas callers called them: " + ", ".join(told))
    for judge, n in _judges(judged, given).items():
        click.echo(
            f"\nshadow judging: {n['labels']} labels by {judge} ({n['acceptable']} acceptable; "
            f"of the strong answers {n['strong_acceptable']}); callers spoke on {n['callers']} of "
            f"these answers and agree on {n['agree']}"
        )
    click.echo("\n" + _conclusion(found))


def _orderings(found: Found) -> str:
    head = ("order by", "APGR", "95 %", "CPT(50 %)", "CPT(80 %)")
    cells = [
        (
            name,
            _three(o.apgr),
            f"{_three(o.low)} to {_three(o.high)}",
            _share(o.cpt50),
            _share(o.cpt80),
        )
        for name, o in found.orderings.items()
    ]
    return grid(head, cells, left={"order by"})


def _thresholds(found: Found) -> str:
    head = ["p_small from", "stays small", "acceptable", "at least (95 %)", "quality of all"]
    costs: Sequence[float | None] = [None] * len(found.rows)
    below = ""
    if found.saved is not None:
        head.append("relative cost")
        costs = found.saved.relative
        below = (
            f"\nrelative cost: {found.saved.small} for what stays small, over everything on "
            f"{found.saved.strong}; rate cards, {TOKENS_OUT} tokens out"
        )
        if found.saved.is_none:
            below += f"\n{dearer(found.saved)}"
    cells = [
        (
            _three(row.threshold),
            _share(row.small),
            _share(row.acceptable),
            _share(row.acceptable_low),
            _three(row.quality),
            *(() if cost is None else (_share(cost),)),
        )
        for row, cost in list(zip(found.rows, costs, strict=True))[::-1][::2][::-1]
    ]
    return grid(head, cells, left=()) + below


def _task_table(found: Found) -> str:
    head = ("task", "labels", "counted", "acceptable", "at least (95 %)")
    cells = [
        (
            task,
            str(given_of),
            str(counted),
            str(good),
            _share(wilson_low(good / counted if counted else 0.0, counted, Z95)),
        )
        for task, given_of, counted, good in _tasks(found)
    ]
    return grid(head, cells, left={"task"})


def _conclusion(found: Found) -> str:
    chosen = found.chosen
    if chosen is None:
        return (
            f"no threshold keeps {found.floor:.0%} acceptable with 95 % confidence: more labels, "
            "or everything to the strong model"
        )
    return (
        f"`quality_floor: {chosen.threshold:.4f}` keeps {chosen.small:.0%} on the small model, "
        f"acceptable in at least {chosen.acceptable_sure:.0%} of cases (95 % confidence)"
    )


def _three(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"

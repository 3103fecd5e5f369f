"""The labels that ``sluice calibrate`` learns from: lines of a file, and those that were kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policies.conditions import LANGUAGES, TASKS
from router.calibrate.fit import Label
from router.classify import Judge, judge_by
from router.classify.signals import spoken
from router.cli import requests_file
from router.cli.errors import INVALID, Ends
from router.features import read
from router.labels import Given, Judged, Labels
from yamlfile import suggest

FEATURES = "features"
STORE = "sluice.db"  # of a state folder
NAMES = ("task", "complexity", "language", "tokens_in")


def of_file(file: str) -> list[Label]:
    """Read all labels. A wrong line ends the command: nothing is learnt from half a file."""
    found: list[Label] = []
    by = judge_by()
    for where, line in requests_file.lines(file):
        try:
            found.append(_label(line, by))
        except ValueError as exc:
            raise Ends(f"{where}: {exc}", INVALID) from None
    return found


def of_feedback(state: Path) -> tuple[list[Given], list[Judged]]:
    """Return what callers said of answers, and what shadow judging found; raise Ends where nothing
    is kept, or sqlite3.Error.
    """
    if not (state / STORE).exists():
        raise Ends(f"{state}: no feedback is kept there: name the router's `--state`", INVALID)
    store = Labels(state)
    try:
        return store.all(), store.all_judged()
    finally:
        store.close()


def teaching(given: Sequence[Given]) -> list[Label]:
    """Return the labels that say whether p_small is right. Quality is relative to the baseline's,
    whose answer therefore counts as 1.
    """
    return [
        Label(
            one.request_id,
            None,
            one.language,
            one.complexity,
            float(one.acceptable) if one.score is None else one.score,
            1.0,
            one.task,
            one.tokens_in,
            one.key,
            one.acceptable,
        )
        for one in given
        if one.by_p_small
    ]


def teaching_judged(judged: Sequence[Judged]) -> list[Label]:
    """Return the labels of shadow judging. They are of no key: the operator's own."""
    return [
        Label(
            one.request_id,
            None,
            one.language,
            one.complexity,
            one.score,
            one.strong_score,
            one.task,
            one.tokens_in,
            None,
            one.acceptable,
        )
        for one in judged
    ]


def _label(line: bytes, by: Judge) -> Label:
    row = requests_file.row(line, (*requests_file.FIELDS, FEATURES))
    weak, strong = _outcome(row)
    name = "" if row.get("id") is None else json.dumps(row["id"])  # 1 and "1" are two
    if FEATURES in row:
        task, complexity, language, tokens_in = _features(row[FEATURES])
        return Label(name, None, language, complexity, weak, strong, task, tokens_in)
    asked = requests_file.request(row)
    reading = read(asked.body, asked.sent_bytes)
    judged, size = by(reading), reading.features.tokens_in
    return Label(
        name,
        reading.text,
        judged.language,
        judged.complexity,
        weak,
        strong,
        judged.task,
        size,
        signals=spoken(reading.features),
    )


def _outcome(row: dict[str, Any]) -> tuple[float, float]:
    """Return weak and strong; `acceptable` alone is the small model's against a strong one's 1."""
    if "acceptable" in row:
        if "weak" in row or "strong" in row:
            raise ValueError("give either `acceptable`, or `weak` and `strong`")
        if not isinstance(row["acceptable"], bool):
            raise ValueError("`acceptable` must be true or false")
        return float(row["acceptable"]), 1.0
    weak, strong = (_score(row, key) for key in ("weak", "strong"))
    return weak, strong


def _score(row: dict[str, Any], key: str) -> float:
    score = row.get(key)
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise ValueError(f"`{key}` must be a number from 0 to 1")
    return float(score)


def _features(value: object) -> tuple[str, float, str, int]:
    if not isinstance(value, dict) or set(value) != set(NAMES):
        raise ValueError(f"`features` must be an object of {', '.join(f'`{n}`' for n in NAMES)}")
    for name, known in (("task", TASKS), ("language", LANGUAGES)):
        if value[name] not in known:
            raise ValueError(f"`features.{name}` is unknown {suggest('', known)}")
    tokens_in = value["tokens_in"]
    if isinstance(tokens_in, bool) or not isinstance(tokens_in, int) or tokens_in < 0:
        raise ValueError("`features.tokens_in` must be an integer of at least 0")
    try:
        complexity = _score(value, "complexity")
    except ValueError as exc:
        raise ValueError(str(exc).replace("`complexity`", "`features.complexity`")) from None
    return value["task"], complexity, value["language"], tokens_in

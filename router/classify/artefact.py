"""What was learnt from data, as it is kept in a file: ``data/judge.json``, written by `make train`.

Weights of words are whole ten-thousandths, so that their sum doesn't hang on the order of a set.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

VERSION: Final = 1
WORD_UNIT: Final = 10_000

Weights = Mapping[str, float]


class Length(NamedTuple):
    """ln(tokens out) = base + by_complexity x complexity."""

    base: float
    by_complexity: float


class Artefact(NamedTuple):
    """`complexity`, `gain` by signal; `words` by word; `tasks` by signal, then by task.

    `spread`: what is added to ln(tokens out) for the 90th percentile. `thresholds` by language.
    """

    bias: float
    complexity: Weights
    words: Mapping[str, int]
    thresholds: Weights
    gain: Weights
    gain_mean: float
    task_bias: Weights
    tasks: Mapping[str, tuple[tuple[str, float], ...]]
    lengths: Mapping[str, Length]
    spread: float
    provenance: Mapping[str, Any]


@cache
def packaged() -> Artefact:
    """Return the artefact of this version of Sluice."""
    return from_json(orjson.loads((files("router.classify") / "data" / "judge.json").read_bytes()))


def to_json(artefact: Artefact) -> dict[str, Any]:
    return {
        "version": VERSION,
        "provenance": dict(artefact.provenance),
        "thresholds": dict(artefact.thresholds),
        "complexity": {"bias": artefact.bias, "signals": dict(artefact.complexity)},
        "gain": {"mean": artefact.gain_mean, "signals": dict(artefact.gain)},
        "tasks": {
            "bias": dict(artefact.task_bias),
            "signals": {name: dict(signs) for name, signs in artefact.tasks.items()},
        },
        "lengths": {
            "spread": artefact.spread,
            "tasks": {task: list(length) for task, length in artefact.lengths.items()},
        },
        "words": dict(sorted(artefact.words.items())),
    }


def from_json(value: Mapping[str, Any]) -> Artefact:
    """Read what `to_json` wrote; raise ValueError for any other version."""
    if value.get("version") != VERSION:
        raise ValueError(f"is no classifier of version {VERSION}: `make train` writes one")
    complexity, gain, tasks, lengths = (
        value[key] for key in ("complexity", "gain", "tasks", "lengths")
    )
    return Artefact(
        bias=complexity["bias"],
        complexity=MappingProxyType(complexity["signals"]),
        words=MappingProxyType(value["words"]),
        thresholds=MappingProxyType(value["thresholds"]),
        gain=MappingProxyType(gain["signals"]),
        gain_mean=gain["mean"],
        task_bias=MappingProxyType(tasks["bias"]),
        tasks=MappingProxyType(
            {name: tuple(signs.items()) for name, signs in tasks["signals"].items()}
        ),
        lengths=MappingProxyType(
            {task: Length(*numbers) for task, numbers in lengths["tasks"].items()}
        ),
        spread=lengths["spread"],
        provenance=MappingProxyType(value["provenance"]),
    )

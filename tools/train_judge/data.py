"""The prompts that the classifier learns from: ours, kept here, and public ones from a folder.

The folder is the `DATA` of `make train`; see docs/model-card.md for what each source is.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from opencc import OpenCC

from router.features import Reading, read

HERE = Path(__file__).parent
OURS = sorted((HERE / "prompts").glob("*.jsonl"))
TESTS = HERE.parents[1] / "tests" / "data"
TESTED = (TESTS / "requests.jsonl", TESTS / "parity.jsonl")
TIERS = {"simple": 0.0, "medium": 0.5, "heavy": 1.0}
TASKS = {  # the sources' names for tasks; None is no task of ours
    "ticket_classification": "classification", "intent_routing": "classification",
    "short_qa": "short_answer", "short_chat": "short_answer", "reading_qa": "extraction",
    "rewrite": "rewriting", "multi_turn_tool_use": "agentic", "long_reasoning": "reasoning",
    "general": None, "brainstorming": None, "generation": "creative", "short_generation": None,
    "multi_step_math": "math", "debugging": "code", "debug": "code", "data_analysis": "reasoning",
    "creative_long": "creative", "legal_or_medical_analysis": "reasoning", "legal": "reasoning",
    "agentic_tools": "agentic", "code_generation": "code", "multi_turn_reasoning": "multi_turn",
    "writing": "creative",
}  # fmt: skip

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One prompt. `heavy` is 0, 1, or 0.5 for between; `same_as` names what it is a version of."""

    source: str
    language: str
    heavy: float
    task: str | None
    messages: Sequence[Mapping[str, Any]]
    tokens_out: int | None = None
    same_as: str | None = None
    templated: bool = False
    label: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def reading(self) -> Reading:
        return read({"messages": self.messages})


_traditional = OpenCC("s2twp")


def lines(path: Path) -> Iterator[Row]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    yield from (json.loads(line) for line in text.decode("utf-8").split("\n") if line.strip())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def task_of(name: str) -> str | None:
    return TASKS.get(name, name)


def messages_of(row: Row) -> list[dict[str, Any]]:
    given = row.get("messages")
    return list(given) if given else [{"role": "user", "content": row["prompt"]}]


def in_traditional(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**m, "content": _traditional.convert(m["content"])} for m in messages]


def ours() -> list[Example]:
    """Return the prompts written for this project, simplified ones in traditional script too."""
    found: list[Example] = []
    labels: dict[str, Row] = {}
    for path in (TESTS / "requests.jsonl", *OURS):  # versions in another language come last
        for row in lines(path):
            known = labels.setdefault(row["id"], row)
            found += _both_scripts(f"ours/{path.stem}", row, known)
    return found


def _both_scripts(source: str, row: Row, labels: Row) -> Iterator[Example]:
    messages, language = messages_of(row), row["lang"]
    common = {
        "heavy": TIERS[labels["tier"]],
        "task": task_of(labels["task"]),
        "tokens_out": labels.get("tokens_out"),
        "same_as": f"{source.partition('/')[0]}/{row['id']}",
    }
    yield Example(source, language, messages=messages, **common)
    if language in {"zh", "zh-Hans"}:
        yield Example(source, "zh-Hant", messages=in_traditional(messages), **common)


def parity() -> list[Example]:
    return [
        Example(
            "parity",
            language,
            TIERS[row["tier"]],
            task_of(row["task"]),
            messages,
            tokens_out=row["expected_output_tokens"],
            same_as=f"parity/{row['id']}",
        )
        for row in lines(TESTS / "parity.jsonl")
        for language, messages in row["messages"].items()
    ]


def public(folder: Path) -> list[Example]:
    """Return the public prompts that are labelled by their kind of task."""
    found = []
    for row in lines(folder / "task_complexity.jsonl.gz"):
        example = Example(
            row["source"],
            row["lang"],
            TIERS[row["complexity"]],
            task_of(row["task"]),
            [{"role": "user", "content": row["prompt"]}],
            templated=bool(row.get("templated")),
            label=row["task"],
        )
        found.append(example)
        if row.get("turns"):
            turns = [{"role": "user", "content": turn} for turn in row["turns"]]
            found.append(Example(row["source"], row["lang"], 1.0, "agentic", turns, label="turns"))
    return found


@dataclass(frozen=True)
class Outcome:
    """What two models scored on a prompt, 0 to 1."""

    benchmark: str
    prompt: str
    weak: float
    strong: float

    @cached_property
    def reading(self) -> Reading:
        return read({"messages": [{"role": "user", "content": self.prompt}]})


def outcomes(folder: Path) -> list[Outcome]:
    found = []
    for name, known_as in (("outcomes", None), ("mmlu_calibration", "mmlu (calibration)")):
        for row in lines(folder / f"{name}.jsonl.gz"):
            if row.get("weak") is not None and row.get("strong") is not None:
                weak, strong = (_mean(row[key]) for key in ("weak", "strong"))
                benchmark = known_as or row["benchmark"]
                found.append(Outcome(benchmark, row["prompt"], weak, strong))
    return found


def _mean(value: float | list[float]) -> float:
    return sum(value) / len(value) if isinstance(value, list) else float(value)

"""Labels of one text taken together as one: a copy proves nothing that the first doesn't. Pure."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from router.calibrate.fit import Label

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Distinct:
    """`labels`: no two have one text. `doubled`: how many bear the id and the text of an earlier
    one. `repeated`: how many others bear the text of an earlier one. `torn`: ids of several texts.

    Labels without text are all kept: requests that are alike can't be told from copies there.
    """

    labels: tuple[Label, ...]
    doubled: int
    repeated: int
    torn: int


def distinct(labels: Sequence[Label]) -> Distinct:
    """Take labels of the same text (but for case and blanks) together, as the mean of what they
    say; those with the same id as well count once in that mean.
    """
    texts = [i if label.text is None else _plain(label.text) for i, label in enumerate(labels)]
    lines = [
        (text, label.id if label.id and label.text is not None else i)
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    once = _together(labels, lines)
    by_text = _together(tuple(once.values()), [text for text, _ in once])
    texts_of: dict[str, set[Hashable]] = {}
    for text, line in zip(texts, labels, strict=True):
        if line.id and line.text is not None:
            texts_of.setdefault(line.id, set()).add(text)
    return Distinct(
        tuple(by_text.values()),
        len(labels) - len(once),
        len(once) - len(by_text),
        sum(len(different) > 1 for different in texts_of.values()),
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _together(labels: Sequence[Label], keys: Sequence[Key]) -> dict[Key, Label]:
    groups: dict[Key, list[Label]] = {}
    for key, label in zip(keys, labels, strict=True):
        groups.setdefault(key, []).append(label)
    return {key: _one(group) for key, group in groups.items()}


def _one(group: Sequence[Label]) -> Label:
    if len(group) == 1:
        return group[0]
    n = len(group)
    return replace(
        group[0],
        weak=sum(label.weak for label in group) / n,
        strong=sum(label.strong for label in group) / n,
        share=sum(label.acceptable for label in group) / n,
    )

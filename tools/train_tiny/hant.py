"""Simplified to traditional Chinese, for sentences of our own corpus."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from corpus import FOLDER


@dataclass(frozen=True, slots=True)
class Traditional:
    """Tables from simplified to traditional: words by context, Taiwan's own words, characters."""

    context: Mapping[str, str]
    taiwan: Mapping[str, str]
    characters: Mapping[int, str]

    def of(self, text: str, *, taiwan: bool) -> str:
        """The text in traditional characters, with Taiwan's vocabulary if asked."""
        words = {**self.context, **self.taiwan} if taiwan else self.context
        longest_first = sorted(words, key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, longest_first)))
        return pattern.sub(lambda word: words[word[0]], text).translate(self.characters)


def read() -> Traditional:
    """The tables of `corpus/hant.txt`."""
    sections: dict[str, list[str]] = {}
    for line in (FOLDER / "hant.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            sections[line.strip("[]")] = current = []
        elif line and not line.startswith("#"):
            current.append(line)
    pairs = "".join(sections["characters"])
    return Traditional(
        context=dict(line.split(maxsplit=1) for line in sections["context"]),
        taiwan=dict(line.split(maxsplit=1) for line in sections["taiwan"]),
        characters={ord(pairs[i]): pairs[i + 1] for i in range(0, len(pairs), 2)},
    )

"""The corpus as templates: sections of lines, with choices and slots, and what is held out.

A line is held out by the hash of its text, so that adding a line never moves another one; in a
list of words, those marked `*` are held out. Held-out lines and words are never trained on.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

HELD_OUT_ONE_IN = 7
FOLDER = Path(__file__).parent / "corpus"

Part = Literal["train", "held_out"]

_INNERMOST_CHOICE = re.compile(r"\(([^()]*\|[^()]*|)\)")
_SLOT = re.compile(r"\{([a-z_.]+)\}")


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sections of one file, split: `lines[part][section]`."""

    lines: Mapping[Part, Mapping[str, tuple[str, ...]]]

    def draw(self, section: str, part: Part, rng: Random) -> str:
        """One expanded line of the section; a section without held-out lines lends its others."""
        lines = self.lines[part].get(section) or self.lines["train"][section]
        return self.expand(rng.choice(lines), part, rng)

    def expand(self, template: str, part: Part, rng: Random) -> str:
        """Choices drawn innermost first, then slots; `{labels}` and unknown slots stay."""
        text = template
        while match := _INNERMOST_CHOICE.search(text):
            text = text[: match.start()] + rng.choice(match[1].split("|")) + text[match.end() :]
        return _SLOT.sub(lambda slot: self._fill(slot, part, rng), text)

    def _fill(self, slot: re.Match[str], part: Part, rng: Random) -> str:
        name = slot[1]
        if name in FIGURES:
            return FIGURES[name](rng)
        return self.draw(name, part, rng) if name in self.lines["train"] else slot[0]


def read(name: str) -> Corpus:
    """The corpus of `corpus/<name>.txt`."""
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    section = ""
    for raw in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            train[section], held_out[section] = [], []
        elif line.startswith("*") or _is_held_out(section, line):
            held_out[section].append(line.removeprefix("*"))
        else:
            train[section].append(line)
    freeze = {"train": train, "held_out": held_out}
    return Corpus({part: {k: tuple(v) for k, v in of.items()} for part, of in freeze.items()})


WORD_SECTIONS = ("keywords.neutral",)
CLASSES = ("billing", "technical", "shipping", "positive", "negative", "neutral")


def _is_held_out(section: str, line: str) -> bool:
    sentences = section.rsplit(".", maxsplit=1)[-1] in CLASSES and section not in WORD_SECTIONS
    if not sentences and not section.startswith("instruct."):
        return False
    digest = hashlib.sha256(f"{section}/{line}".encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _amount(rng: Random) -> str:
    value = rng.choice((str(rng.randint(2, 999)), f"{rng.randint(1, 300)}.{rng.randint(10, 99)}"))
    return rng.choice((f"${value}", f"{value} USD", f"{value} dollars", f"€{value}", f"£{value}"))


def _amount_zh(rng: Random) -> str:
    return f"{rng.randint(5, 3000)}{rng.choice(('元', '块', '块钱', '元钱'))}"


def _date(rng: Random) -> str:
    day, month = rng.randint(1, 28), rng.choice(MONTHS)
    weekday = rng.choice(WEEKDAYS)
    return rng.choice((weekday, f"{month} {day}", f"{day} {month}", f"2026-0{day % 9 + 1}-{day}"))


def _date_zh(rng: Random) -> str:
    day = f"{rng.randint(1, 12)}月{rng.randint(1, 28)}号"
    return rng.choice((day, f"星期{rng.choice('一二三四五六')}", f"周{rng.choice('一二三四五')}"))


FIGURES = {
    "n": lambda rng: str(rng.randint(2, 30)),
    "number": lambda rng: rng.choice(("#", "", "A-", "INV-")) + str(rng.randint(1000, 999999)),
    "amount": _amount,
    "date": _date,
    "amount_zh": _amount_zh,
    "date_zh": _date_zh,
}

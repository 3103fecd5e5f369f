# ruff: noqa: RUF001  (Chinese punctuation is what is looked for)
"""Which part of a text is an instruction, and which is material that it is about.

A review that contains `prove` is still a review. So quotations and fenced code are set aside, and
after (or before) a task such as `classify` or `translate` the rest is taken for its material. Of a
long text the head and the tail are read: WINDOW_HEAD + WINDOW_TAIL characters, never more.
"""

import re
from dataclasses import dataclass
from typing import Final

from router.lexicon import LIGHT, cues_in, words_of

WINDOW_HEAD: Final = 2_000
WINDOW_TAIL: Final = 1_000

_QUOTED: Final = re.compile(r'"[^"]*"|“[^“”]*”|「[^「」]*」|『[^『』]*』|«[^«»]*»')
_COLON: Final = re.compile(r":(?![\d/:])|：|——|\?\s|？")
_LIST: Final = re.compile(r"\s*(?:[-*•①]|\(?[1a一][).、）])")
_BEGGING: Final = re.compile(
    r"(?:(?:this|it|that)(?: is|'s|’s) )?(?:an? |just |very |really |so |super ){0,3}"
    r"(?:easy|simple|trivial)(?: enough)?(?: task| request| question| one)?"
    r"|(?:please )?(?:use|route|send|pick|choose|go to)[^.!?,;\n]{0,40}"
    r"(?:small|cheap|tiny|little|weak)(?:er|est)? (?:language )?(?:model|lane|tier)\w*"
    r"|(?:classify|label|treat|mark|rate|judge) (?:this|it)(?: \w+)? as (?:easy|simple|trivial)"
    r"|(?:[这這](?:[个個道]?[题題]|[个個件]?[任务務事]{0,2})?)?(?:[很非常太挺真实實在]{0,3})(?:简单|簡單|容易)的?"
    r"|[请請]?用(?:[个個]|一[个個])?(?:最?小|最?便宜)的?模型(?:就行|就好|即可|就够了|就夠了)?"
    r"|[请請]?(?:[把将將]?[这這][^，。！？\n]{0,10})?(?:分类|分類|判|标|標|归|歸)[为為成]?(?:简单|簡單|容易)"
)
_BEGGING_SIGNS: Final = ("easy", "simple", "trivial", "model", "lane", "简单", "簡單", "容易", "模型")


@dataclass(frozen=True, slots=True)
class Zones:
    """``instruction`` is lower case; ``material`` counts the characters set aside."""

    instruction: str
    words: list[str]
    cues: dict[str, float]
    material: int
    quoted: bool


def window(text: str, head: int = WINDOW_HEAD, tail: int = WINDOW_TAIL) -> str:
    """Return ``text``, or its first ``head`` and last ``tail`` characters."""
    return text if len(text) <= head + tail else f"{text[:head]}\n{text[-tail:]}"


def without_begging(text: str) -> str:
    """Cut phrases that tell the router how hard the request is: they are no part of the request."""
    for sign in _BEGGING_SIGNS:
        if sign in text:
            return _BEGGING.sub(" ", text)
    return text


def zones_of(text: str) -> Zones:
    seen = without_begging(window(text).lower())
    outside = _QUOTED.sub(" ", seen)
    if "```" in outside:
        outside = "\n".join(outside.split("```")[::2])
    outside = outside.strip()
    if not outside:  # a quotation alone is what is said
        outside = seen.strip()
    instruction, words, cues = _instruction(outside)
    return Zones(
        instruction,
        words,
        cues,
        material=max(len(text) - len(instruction), 0),
        quoted=len(outside) < len(seen) * 0.9,
    )


def _instruction(text: str) -> tuple[str, list[str], dict[str, float]]:
    """Return the lead or the closing line if it sets a light task, else the whole text."""
    lead, rest, closing = _parts(text)
    if rest and not _LIST.match(rest):
        for part in (lead, closing):
            words = words_of(part)
            cues = cues_in(part, words)
            if _sets_a_light_task(cues):
                return part, words, cues
    words = words_of(text)
    return text, words, cues_in(text, words)


def _parts(text: str) -> tuple[str, str, str]:
    """Cut ``text`` into its lead (to a colon or the end of the line), the rest, the last line."""
    line, _, below = text.partition("\n")
    colon = _COLON.search(line, 8)
    if colon:
        lead, beside = line[: colon.start() + 1], line[colon.end() :]
    else:
        lead, beside = line, ""
    rest = beside if beside.strip() else below
    closing = text.rpartition("\n")[2] if below else ""
    return lead, rest.strip(), closing


HEAVY: Final = ("code", "prove", "math", "debug", "reason", "plan", "agent", "document", "create")


def _sets_a_light_task(cues: dict[str, float]) -> bool:
    light = sum(strength for name, strength in cues.items() if name in LIGHT)
    heavy = sum(strength for name, strength in cues.items() if name in HEAVY)
    return light > heavy

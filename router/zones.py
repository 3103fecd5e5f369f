# ruff: noqa: RUF001  (Chinese punctuation is what is looked for)
"""Which part of a text is an instruction, and which is material that it is about.

A review that contains `prove` is still a review. So quotations and fenced code are set aside, and
after (or before) a task such as `classify` or `translate` the rest is taken for its material. Of a
long text the head and the tail are read: WINDOW_HEAD + WINDOW_TAIL characters, never more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from router.lexicon import LIGHT, cues_in, words_of

WINDOW_HEAD: Final = 1_200
WINDOW_TAIL: Final = 600

QUESTION_TIMES: Final = 4

_QUOTED: Final = re.compile(r'"[^"]*"|“[^“”]*”|「[^「」]*」|『[^『』]*』|«[^«»]*»')
_SCHEMA: Final = re.compile(r'\{\s*["“]?\w+["”]?\s*:[^{}]*\}')  # the shape of an answer, not code
_COLON: Final = re.compile(r":(?![\d/:])|：|——|\?\s|？")
_SENTENCE_END: Final = re.compile(r"。|！|[.!]\s")
_POINTS: Final = re.compile("以下|下面|下列|下文|下述|这段|這段|此文|文章|following|below|this")
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
    schema = "{" in seen and _SCHEMA.search(seen) is not None
    outside = _SCHEMA.sub(" json ", seen) if schema else seen
    outside = _QUOTED.sub(" ", outside.replace('"""', " "))
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
    words = words_of(text)
    cues = cues_in(text, words)
    if _asks_about_below(text):
        text = text.partition("\n")[0]
        words = words_of(text)
        return text, words, cues_in(text, words)
    if LIGHT.isdisjoint(cues):
        return text, words, cues
    for part in _commands(text):
        part_words = words_of(part)
        part_cues = cues_in(part, part_words)
        if _sets_a_light_task(part_cues):
            return part, part_words, part_cues
    return text, words, cues


def _asks_about_below(text: str) -> bool:
    """Tell whether a question of one line stands over a text several times as long."""
    line, blank, below = text.partition("\n\n")
    return (
        blank != ""
        and "\n" not in line
        and QUESTION_TIMES * len(line) < len(below)
        and ("?" in line or "？" in line)
    )


def _commands(text: str) -> Iterator[str]:
    """Yield where an instruction about material may stand: before a colon, first line, last line."""
    line, _, below = text.partition("\n")
    colon = _COLON.search(line, 8)
    if colon and line[colon.end() :].strip() and not _LIST.match(line, colon.end()):
        yield line[: colon.end()]
    sentence = _SENTENCE_END.search(line, 4)
    if sentence and 3 * sentence.end() < len(line) and _POINTS.search(line, 0, sentence.end()):
        yield line[: sentence.end()]
    if below and not _LIST.match(below.lstrip()):
        yield line
    if below:
        yield text.rpartition("\n")[2]


HEAVY: Final = ("code", "prove", "math", "debug", "reason", "plan", "agent", "document", "create")


def _sets_a_light_task(cues: dict[str, float]) -> bool:
    light = sum(strength for name, strength in cues.items() if name in LIGHT)
    heavy = sum(strength for name, strength in cues.items() if name in HEAVY)
    return light > heavy

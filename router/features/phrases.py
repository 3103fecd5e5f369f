"""Which phrases of the lexicon stand in a text, found in one pass, and how strongly cues speak.

All phrases are sought at once by one automaton (Aho-Corasick), so that the time doesn't grow with
the lexicon. What begins or ends with a letter or digit of ASCII must begin or end a word there.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from typing import Final

from ahocorasick_rs import AhoCorasick, Implementation

from router.features.lexicon import CUES

LEAD_CHARACTERS: Final = 60  # an instruction mostly starts with what it asks for
HEAD_CHARACTERS: Final = 400
TAIL_CHARACTERS: Final = 200
STRENGTH_MAX: Final = 2.5

ALPHANUMERIC: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_KEPT: Final = bytes(c if chr(c) in ALPHANUMERIC else 0x20 for c in range(256))

Hit = tuple[int, int, int]
"""A phrase's number, and where it begins and ends in the text."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """By a phrase's number: the cues it belongs to, and whether it begins and ends a word."""

    automaton: AhoCorasick
    cues: Sequence[tuple[str, ...]]
    begins_word: Sequence[bool]
    ends_word: Sequence[bool]


@cache
def _phrases() -> Phrases:
    cues: dict[str, tuple[str, ...]] = {}
    for cue in CUES:
        for phrase in dict.fromkeys(f"{cue.en}|{cue.hans}|{cue.hant}".split("|")):
            cues[phrase] = (*cues.get(phrase, ()), cue.name)
    return Phrases(
        AhoCorasick(list(cues), implementation=Implementation.ContiguousNFA, store_patterns=False),
        list(cues.values()),
        [phrase[0] in ALPHANUMERIC for phrase in cues],
        [phrase[-1] in ALPHANUMERIC for phrase in cues],
    )


def words_of(text: str) -> list[str]:
    """Return the ASCII words and numbers of a lower-case text."""
    return text.encode("ascii", "replace").translate(_KEPT).decode("ascii").split()


def hits_in(text: str) -> list[Hit]:
    """Return every phrase in a lower-case text, in the order of their ends."""
    phrases = _phrases()
    begins_word, ends_word = phrases.begins_word, phrases.ends_word
    try:
        found = phrases.automaton.find_matches_as_indexes(text, overlapping=True)
    except UnicodeEncodeError:  # half a surrogate pair: no phrase has one
        readable = text.encode("utf-8", "replace").decode("utf-8")
        found = phrases.automaton.find_matches_as_indexes(readable, overlapping=True)
    around = f" {text} "
    return [
        hit
        for hit in found
        if not (begins_word[hit[0]] and around[hit[1]] in ALPHANUMERIC)
        and not (ends_word[hit[0]] and around[hit[2] + 1] in ALPHANUMERIC)
    ]


def cues_of(hits: Sequence[Hit], begin: int, end: int) -> dict[str, float]:
    """Return the strength, 0 to STRENGTH_MAX, of each cue that speaks between two places."""
    cues = _phrases().cues
    found: dict[str, float] = {}
    counted: set[int] = set()
    tail = end - begin - TAIL_CHARACTERS
    for phrase, first, last in hits:
        if first < begin or last > end or phrase in counted:
            continue
        counted.add(phrase)
        at = first - begin
        if at < LEAD_CHARACTERS:
            strength = 1.0
        else:
            strength = 0.5 if at < HEAD_CHARACTERS or at >= tail else 0.25
        for name in cues[phrase]:
            found[name] = min(found.get(name, 0.0) + strength, STRENGTH_MAX)
    return found


def places_of(hits: Sequence[Hit], names: AbstractSet[str]) -> set[int]:
    """Return where phrases of these cues begin."""
    cues = _phrases().cues
    return {first for phrase, first, _ in hits if not names.isdisjoint(cues[phrase])}


def cues_in(text: str) -> dict[str, float]:
    """Return the strength of each cue that speaks in a lower-case text."""
    return cues_of(hits_in(text), 0, len(text))

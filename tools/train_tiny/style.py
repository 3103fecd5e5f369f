"""How people really type: case, typos, missing punctuation, words nobody has heard of."""

from collections.abc import Callable
from random import Random

from chance import happens

LETTERS = "abcdefghijklmnopqrstuvwxyz"
COMMON_HAN = (0x4E00, 0x9FA5)
NEGATIONS = "不没无未别"  # without one of them a sentence says the opposite
LONG_ENOUGH = 6  # characters: one of them may be missing


def casual(text: str, rng: Random, *, chinese: bool) -> str:
    """The text as one of many people would have typed it; its class does not change."""
    return (_casual_chinese if chinese else _casual_english)(text, rng)


def unheard_of(rng: Random, *, chinese: bool) -> str:
    """A made-up name: the model must learn that an unknown word says nothing of the class."""
    if chinese and happens(0.6, rng):
        return "".join(chr(rng.randint(*COMMON_HAN)) for _ in range(rng.randint(1, 3)))
    name = "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 8)))
    return rng.choice((name, name.title(), name.upper(), f"{name}-{rng.randint(1, 99)}"))


def _casual_english(text: str, rng: Random) -> str:
    for share, change in (
        (0.14, _typo),
        (0.08, _unknown_word),
        (0.25, lambda t, _: t.replace("'", rng.choice(("", "'", "’")))),
        (0.30, lambda t, _: t.lower()),
        (0.04, lambda t, _: t.upper()),
        (0.12, lambda t, r: t.rstrip(".") + r.choice(("!", "!!", "!!!", "...", " :(", " ??"))),
    ):
        if happens(share, rng):
            text = change(text, rng)
    return text


def _casual_chinese(text: str, rng: Random) -> str:
    changes: tuple[tuple[float, Callable[[str], str]], ...] = (
        (0.22, lambda t: t.replace("，", rng.choice((" ", ",", "", "。", "！")))),
        (
            0.25,
            lambda t: t.rstrip("。") + rng.choice(("！", "！！", "？", "。。。", "…", "~", "!")),
        ),
        (0.10, lambda t: _unknown_characters(t, rng)),
        (0.08, lambda t: _drop_one(t, rng)),
    )
    for share, change in changes:
        if happens(share, rng):
            text = change(text)
    return text


def _typo(text: str, rng: Random) -> str:
    at = rng.randrange(len(text))
    swapped = text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
    doubled = text[:at] + text[at : at + 1] * 2 + text[at + 1 :]
    return rng.choice((swapped, doubled, text[:at] + text[at + 1 :]))


def _unknown_word(text: str, rng: Random) -> str:
    words = text.split(" ")
    words.insert(rng.randrange(len(words) + 1), unheard_of(rng, chinese=False))
    return " ".join(words)


def _unknown_characters(text: str, rng: Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + unheard_of(rng, chinese=True) + text[at:]


def _drop_one(text: str, rng: Random) -> str:
    at = rng.randrange(len(text))
    if len(text) <= LONG_ENOUGH or text[at] in NEGATIONS:
        return text
    return text[:at] + text[at + 1 :]

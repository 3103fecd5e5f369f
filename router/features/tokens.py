"""How many tokens a text takes in a Qwen-like byte-pair vocabulary, without the vocabulary.

Every byte is mapped to a class, and classes are counted at C speed; the weights were fitted to the
Qwen2 vocabulary (151,936 entries; digits stand alone) on English, both Chinese scripts, code,
Markdown, LaTeX and base64. Median error per text: English 6 %, simplified Chinese 8 %, traditional
4 %, code 5 %. No weight lets an estimate fall when a text grows at its end.
"""

from math import ceil
from typing import Final

from router.features.language import not_simplified

EXACT_CHARACTERS: Final = 4_000  # counted in full; beyond it each doubling is sampled at its start
SAMPLE_CHARACTERS: Final = 500


def _classes() -> bytes:
    """Map each UTF-8 lead byte to a class; what is not listed is punctuation."""
    table = bytearray(b"p" * 256)
    ranges = (
        (b"a", range(0x61, 0x7B)),
        (b"A", range(0x41, 0x5B)),
        (b"0", range(0x30, 0x3A)),
        (b" ", range(0x20, 0x21)),
        (b"n", range(0x09, 0x0E)),
        (b"l", range(0xC0, 0xCC)),  # Latin with marks
        (b"g", range(0xCC, 0xD0)),  # Greek
        (b"r", range(0xD0, 0xE0)),  # Cyrillic, Hebrew, Arabic
        (b"i", range(0xE0, 0xE2)),  # the scripts of India and South-East Asia
        (b"q", (0xE2, 0xEE, 0xEF)),  # typographic and full-width punctuation
        (b"k", range(0xE3, 0xE4)),  # kana, and the punctuation of Chinese
        (b"c", range(0xE4, 0xEA)),  # Han
        (b"h", range(0xEA, 0xEE)),  # Hangul
        (b"x", range(0xF0, 0x100)),  # emoji
    )
    for name, leads in ranges:
        for lead in leads:
            table[lead] = name[0]
    return bytes(table)


_CLASSES: Final = _classes()
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_ASCII_WEIGHTS: Final = (
    (b"a", 0.15),
    (b"A", 0.28),
    (b"aA", 2.24),  # a change of case: camelCase, base64
    (b"0", 1.0),
    (b" 0", 1.0),  # a digit never takes the space before it along
    (b" ", 0.37),
    (b"  ", -0.35),  # indentation is one token
    (b"n", 0.3),
    (b"p", 0.70),
    (b"pp", -0.23),
)
_OTHER_WEIGHTS: Final = (
    (b"l", 1.3),
    (b"g", 0.9),
    (b"r", 0.36),
    (b"i", 0.9),
    (b"q", 1.3),
    (b"k", 0.6),
    (b"c", 0.55),
    (b" c", 1.0),
    (b"h", 0.8),
    (b"x", 1.25),
)
_STOP_WEIGHT: Final = 0.4  # of U+3000 to U+303F, above kana, whose class they share
_TRADITIONAL_WEIGHT: Final = 0.75  # above other Han: fewer of its words are one token


def tokens_in_text(text: str) -> int:
    """Estimate the tokens of ``text``; beyond EXACT_CHARACTERS from samples, in bounded time."""
    tokens = _count(text[:EXACT_CHARACTERS])
    start = EXACT_CHARACTERS
    while start < len(text):
        stretch = min(start, len(text) - start)
        sample = text[start : start + min(SAMPLE_CHARACTERS, stretch)]
        tokens += _count(sample) * stretch / len(sample)
        start *= 2
    return round(tokens)


def _count(text: str) -> float:
    encoded = text.encode("utf-8", "surrogatepass")
    classes = encoded.translate(_CLASSES, _CONTINUATION)
    count = classes.count
    tokens = 0.0
    for pattern, weight in _ASCII_WEIGHTS:
        tokens += weight * count(pattern)
    if text.isascii():
        return tokens
    for pattern, weight in _OTHER_WEIGHTS:
        tokens += weight * count(pattern)
    tokens += _STOP_WEIGHT * encoded.count(b"\xe3\x80")
    return tokens + _TRADITIONAL_WEIGHT * min(not_simplified(text), count(b"c"))


def rough_tokens(text: str) -> int:
    """Return about the tokens of ``text``: of its size, at a tenth of the time."""
    if text.isascii():
        return -(-len(text) // 4)
    wide = (len(text.encode("utf-8", "surrogatepass")) - len(text)) // 2
    return ceil((len(text) - wide) / 4 + wide * 0.6)

"""Which language a request is asked in: English, Chinese in either script, both, or another.

Nothing here depends on spaces between words. A text without a character that only one of the two
Chinese scripts uses counts as simplified.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Final

LANGUAGES: Final = ("en", "zh-Hans", "zh-Hant", "mixed", "other")


def _leads() -> bytes:
    """Map UTF-8 lead bytes to `h` (Han), `f` (Greek to Khmer, kana, Hangul) or a space."""
    table = bytearray(b" " * 256)
    table[0xE4:0xEA] = b"h" * 6
    for lead in (*range(0xCE, 0xE2), 0xE3, *range(0xEA, 0xEE)):
        table[lead] = ord("f")
    return bytes(table)


_LEADS: Final = _leads()
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_CHINESE_STOP: Final = b"\xe3\x80"  # U+3000 to U+303F, kana's neighbours
_ENGLISH: Final = (
    "the of and to is are in for with that this what which how who when where it from or if not "
    "you your my i be can do does an by on as at there have has was were will would than"
)
_OTHERS: Final = (
    "el la los las de que y un una por para con del se le les des et est une dans pour je vous "
    "der das und ist nicht ein eine ich mit den dem zu il che di non sono os uma com yang tidak "
    "het een niet och att som jest nie bir ve"
)
ENGLISH_WORDS: Final = frozenset(_ENGLISH.split())
_OTHER_WORDS: Final = frozenset(_OTHERS.split())
_CHINESE_SHARE: Final = (
    0.55  # of characters, a word counting as two, from which on a text is Chinese
)
_ENGLISH_SHARE: Final = 0.15  # below it the text is English


def language_of(text: str, words: Collection[str]) -> str:
    """Return one of LANGUAGES; ``words`` are the lower-case ASCII words of ``text``."""
    if text.isascii():
        return _latin(set(words))
    encoded = text.encode("utf-8", "surrogatepass")
    leads = encoded.translate(_LEADS, _CONTINUATION)
    han, latin = leads.count(b"h"), 2 * len(words)
    foreign = leads.count(b"f") - encoded.count(_CHINESE_STOP)
    if 3 * foreign > han + foreign and foreign > 1.5 * latin:
        return "other"
    if not han:
        return _latin(set(words))
    share = han / (han + latin)
    if share < _ENGLISH_SHARE:
        return "en"
    return script_of(text) if share >= _CHINESE_SHARE else "mixed"


def script_of(text: str) -> str:
    return "zh-Hant" if not_simplified(text) > not_traditional(text) else "zh-Hans"


def not_simplified(text: str) -> int:
    """Count characters outside GB 2312: the traditional forms, and rare ones of any script."""
    return _outside(text, "gb2312")


def not_traditional(text: str) -> int:
    """Count characters outside Big5: the simplified forms, and rare ones of any script."""
    return _outside(text, "big5")


def _outside(text: str, charset: str) -> int:
    kept = text.encode(charset, "ignore")  # one byte per ASCII character, two per other
    ascii_bytes = len(text.encode("ascii", "ignore"))
    return len(text) - ascii_bytes - (len(kept) - ascii_bytes) // 2


def _latin(words: AbstractSet[str]) -> str:
    foreign = len(words & _OTHER_WORDS)
    return "other" if foreign > len(words & ENGLISH_WORDS) else "en"

"""Counts that tell of the work in an instruction: numbers, formulas, code, the length asked for.

All take a lower-case text and its words (router.features.phrases.words_of), and run in linear time.
"""

import re
from typing import Final

_MATH_ASCII: Final = ("=", "^", "\\", "$")
_MATH_WIDE: Final = re.compile("[√∫∑≤≥≠≡×÷πθ∞∈∠°²³]")
_CODE: Final = ("{", "()", ";\n", "==", "->", "=>", "</", "def ", "return ", "import ")
_CODE_OPENERS: Final = ("(", "{", ";", "<")

_SECOND: Final = ("\nb", "(b", "（b", " b.", " b)")  # where the second option may begin
_OPTIONS: Final = re.compile(r"[\s(（]b[.):、．：）].*[\s(（]c[.):、．：）]", re.DOTALL)

_DIGITS: Final = {c: i % 10 for i, c in enumerate("〇一二三四五六七八九")} | {"两": 2, "兩": 2}
_UNITS: Final = {"十": 10, "百": 100, "千": 1_000}
_MYRIAD: Final = "万萬"
_ASKED_WIDE: Final = re.compile(
    "(?:([0-9]{1,6})|([一二两兩三四五六七八九十百千万萬]{1,8}))[ 多余餘]?[个個]?"
    "(字|词|詞|句|段|页|頁|行)"
)
_TOKENS_PER: Final = {
    "word": 1.35, "sentence": 25.0, "paragraph": 110.0, "page": 650.0, "line": 14.0,
    "字": 0.7, "词": 1.2, "詞": 1.2, "句": 22.0, "段": 120.0, "页": 600.0, "頁": 600.0, "行": 14.0,
}  # fmt: skip
_ENGLISH_UNITS: Final = {
    plural: unit for unit in _TOKENS_PER if unit.isascii() for plural in (unit, f"{unit}s")
}
_ENGLISH_DIGITS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "ten": 10, "twelve": 12, "single": 1,
}  # fmt: skip
_ENGLISH_POWERS: Final = {"hundred": 100, "thousand": 1_000}
_ASKED_MAX: Final = 100_000  # tokens; more is a number that stands before a unit by chance


def numbers_in(words: list[str]) -> int:
    return sum(map(str.isdigit, words))


def math_signs_in(text: str) -> int:
    count = sum(map(text.count, _MATH_ASCII))
    return count if text.isascii() else count + len(_MATH_WIDE.findall(text))


def code_signs_in(text: str) -> int:
    if not any(opener in text for opener in _CODE_OPENERS):
        return 0
    return sum(map(text.count, _CODE))


def options_in(text: str) -> bool:
    """Tell whether the answers to choose from are listed: `B.`, `b)`, `（B）`, `B、`."""
    return any(sign in text for sign in _SECOND) and _OPTIONS.search(text) is not None


def tokens_asked_in(text: str, words: list[str]) -> int | None:
    """Return the longest output the text names, in tokens: `200 words`, `写一篇两千字`, or None."""
    asked = [
        tokens
        for unit in _ENGLISH_UNITS.keys() & words
        if (tokens := _before(words, words.index(unit)) * _TOKENS_PER[_ENGLISH_UNITS[unit]])
    ]
    if not text.isascii():
        for digits, numeral, unit in _ASKED_WIDE.findall(text):
            count = int(digits) if digits else chinese_number(numeral)
            asked.append(count * _TOKENS_PER[unit])
    return min(round(max(asked)), _ASKED_MAX) if asked else None


def _before(words: list[str], at: int) -> int:
    """Return the number that ends before ``at`` (`two thousand words`, `200-word`), or 0."""
    power = _ENGLISH_POWERS.get(words[at - 1], 1) if at else 1
    at -= power > 1
    number = words[at - 1] if at > 0 else ""
    return power * (int(number[:6]) if number.isdigit() else _ENGLISH_DIGITS.get(number, 0))


def chinese_number(numeral: str) -> int:
    """Return what a numeral of digits and units stands for: `两千` 2000, `一百二十` 120."""
    total = section = digit = 0
    for character in numeral:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _MYRIAD:
            total += (section + digit or 1) * 10_000
            section = digit = 0
        else:
            section += (digit or 1) * _UNITS[character]
            digit = 0
    return total + section + digit

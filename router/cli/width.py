"""How many columns a text takes in a terminal: a Chinese sign two, an accent put over it none."""

import unicodedata

_WIDE = {"W", "F"}
_NONE = {"Mn", "Me", "Cf"}  # marks on the sign before, and what is not shown


def width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns, text))


def left(text: str, columns: int) -> str:
    """Return the text filled up to so many columns; it begins at the left."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    """Return the same, ending at the right."""
    return " " * (columns - width(text)) + text


def _columns(sign: str) -> int:
    if unicodedata.category(sign) in _NONE:
        return 0
    return 2 if unicodedata.east_asian_width(sign) in _WIDE else 1

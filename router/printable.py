"""Texts that others wrote, as they may be shown on a terminal."""

import unicodedata
from typing import Final

# Control characters, those that turn the direction of a text, and ends of lines and paragraphs.
HIDDEN: Final = ("Cc", "Cf", "Zl", "Zp")
JOINERS: Final = "\u200c\u200d"  # that scripts and emoji are written with


def is_shown(char: str) -> bool:
    return char in JOINERS or unicodedata.category(char) not in HIDDEN


def printable(text: str) -> str:
    """Return the text with an escape in place of all that a terminal would obey."""
    return "".join(c if is_shown(c) else ascii(c)[1:-1] for c in text)

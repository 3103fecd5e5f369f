"""Texts of others (names of policies, teams, rules) as a report can show them."""

from collections.abc import Sequence
from typing import Final
from unicodedata import category

LONGEST: Final = 80  # characters of a name
MOST_LINES: Final = 15
INVISIBLE: Final = ("Cc", "Cf", "Cs")  # control, and what turns the order of a line round


def cut(name: str) -> str:
    """Return a name of at most LONGEST characters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def visible(text: str) -> str:
    """Return a text with U+FFFD for what changes how a line looks; tabs and line ends stay."""
    odd = [one for one in set(text) if category(one) in INVISIBLE and one not in "\t\n\r"]
    return text.translate(dict.fromkeys(map(ord, odd), "\ufffd")) if odd else text


def first(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """Return the first lines, and how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], f"and {rest:,} more"] if rest > 0 else list(lines)

"""The words of a request as hashes: what a calibration on one's own labels learns from.

English by words, Chinese by characters, each with its pairs, so that neither depends on spaces. A
hash can't be turned back into a prompt's words, so a calibration may be kept and passed on.
"""

import re
from itertools import pairwise
from math import log
from typing import Final
from zlib import crc32

HEAD, TAIL = 3000, 1000  # characters that are read of a long text
_WORD: Final = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")


def words(text: str) -> frozenset[int]:
    """Return the hashes of the words of a text and of each pair that stands together."""
    found = _WORD.findall(_window(text).lower())
    hashed = {crc32(word.encode()) for word in found}
    hashed.update(crc32(f"{a} {b}".encode()) for a, b in pairwise(found))
    return frozenset(hashed)


def size(text: str) -> float:
    """Return the length as a number about as large as a word's weight: 0 at 330 characters."""
    return 0.3 * (log(len(text) + 1) - 5.8)


def _window(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else text[:HEAD] + " " + text[-TAIL:]

"""Numbers that look random and are the same for the same seed, on every machine. Pure."""

from typing import Final

_MASK: Final = (1 << 64) - 1
_STEP: Final = 0x9E3779B97F4A7C15


class Draws:
    """SplitMix64 (Steele, Lea, Flood 2014): enough for interruptions, and no state of anybody."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, of: str = "") -> None:
        self._state = seed & _MASK
        for byte in of.encode():
            self._state = ((self._state ^ byte) * 0x100000001B3) & _MASK
        self.next()

    def next(self) -> float:
        """Return the next number, from 0 to below 1."""
        self._state = (self._state + _STEP) & _MASK
        return _number(self._state)

    def at(self, place: int) -> float:
        """Return the number that `next` gives after so many others, and go nowhere."""
        return _number((self._state + (place + 1) * _STEP) & _MASK)


def _number(mixed: int) -> float:
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

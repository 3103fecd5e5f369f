"""Machines that go while a replay goes on: they take nothing new, and what runs there ends there.

Time is an argument, in seconds since the trace's start. Pure but for its own state.
"""

import math
from collections.abc import Sequence

from router.replay.service import Service


class Leaver:
    """A machine that goes: when it is empty, and not before `until_s`. `counted`: among those that
    are paid for as `Size.draining`.
    """

    __slots__ = ("counted", "place", "service", "until_s")

    def __init__(self, place: int, service: Service, until_s: float, *, counted: bool) -> None:
        self.place, self.service = place, service
        self.until_s, self.counted = until_s, counted

    def is_gone(self, now_s: float) -> bool:
        return now_s >= self.until_s and not self.service.running and not self.service.queued


class Leaving:
    """All machines that go. `next_s`: when the next stream ends on one; infinite: never.

    `busy_s`: by the fleet's place, place-seconds that streams held on machines that are gone.
    """

    def __init__(self, fleets: int) -> None:
        self.next_s = math.inf
        self.busy_s = [0.0] * fleets
        self._there: dict[int, Leaver] = {}
        self._of: dict[int, Leaver] = {}
        self._numbered = 0

    def __contains__(self, i: int) -> bool:
        """Return whether request `i` is on a machine that goes."""
        return i in self._of

    def add(self, leaver: Leaver) -> int:
        """Take a machine in; return its number."""
        self._numbered += 1
        self._there[self._numbered] = leaver
        self._of.update(dict.fromkeys(leaver.service.here(), leaver))
        self._set_next()
        return self._numbered

    def on(self, number: int) -> Sequence[int]:
        """Return the requests that are still on the machine of this number."""
        return self._there[number].service.here() if number in self._there else ()

    def end(self) -> tuple[int, int, float]:
        """End the stream that ends at `next_s`; return its fleet's place, it, and when its first
        token came.
        """
        leaver = min(self._there.values(), key=lambda each: each.service.next_s)
        i, first_s = leaver.service.end()
        del self._of[i]
        self._set_next()
        return leaver.place, i, first_s

    def leave(self, i: int, now_s: float) -> float:
        """Let a request go before its end; return how many tokens of each choice were made."""
        made = self._of.pop(i).service.leave(i, now_s)
        self._set_next()
        return made

    def has_begun(self, i: int, now_s: float) -> bool:
        """Return whether the first token of a request that is here is out."""
        return self._of[i].service.has_begun(i, now_s)

    def gone(self, now_s: float) -> list[Leaver]:
        """Let those go on which nothing runs any more, and return them."""
        gone = [number for number, each in self._there.items() if each.is_gone(now_s)]
        leavers = [self._there.pop(number) for number in gone]
        for leaver in leavers:
            self.busy_s[leaver.place] += leaver.service.busy_s
        return leavers

    def advance(self, now_s: float) -> None:
        """Go on to `now_s`, at which no stream ends; count what is held on those that are left."""
        for leaver in self._there.values():
            leaver.service.advance(now_s)

    def held_s(self, place: int) -> float:
        """Return the place-seconds that streams of a fleet held on machines that go or are gone."""
        still = (each.service.busy_s for each in self._there.values() if each.place == place)
        return self.busy_s[place] + sum(still)

    def _set_next(self) -> None:
        self.next_s = min((each.service.next_s for each in self._there.values()), default=math.inf)

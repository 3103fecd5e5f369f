"""When requests are out of time for a first token. Pure but for its own state."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

PENDING: Final = -1  # of an outcome


class Timers:
    """Those that were set with the same time to wait ring in the order in which they were set.

    `next_s`: when the next one may ring; infinite: never.
    """

    __slots__ = ("_by_wait", "next_s")

    def __init__(self) -> None:
        self.next_s = math.inf
        self._by_wait: dict[float, deque[tuple[float, int]]] = {}

    def set(self, wait_s: float, rings_s: float, i: int) -> bool:
        """Set one for a request; return whether it could be: it rings after those before it."""
        timers = self._by_wait.get(wait_s)
        if timers is None:
            timers = self._by_wait[wait_s] = deque()
        if timers and rings_s < timers[-1][0]:
            return False
        timers.append((rings_s, i))
        if rings_s < self.next_s:  # noqa: PLR1730  (`min` takes three times as long)
            self.next_s = rings_s
        return True

    def ring(self, now_s: float, outcome: Sequence[int]) -> list[int]:
        """Return the requests whose timers ring by now; those that are over have none any more."""
        rung = []
        for timers in self._by_wait.values():
            while timers and (outcome[timers[0][1]] != PENDING or timers[0][0] <= now_s):
                rung.append(timers.popleft()[1])
        self.next_s = min((each[0][0] for each in self._by_wait.values() if each), default=math.inf)
        return rung

"""Who waits for a place on a fleet, and whose turn it is. Pure: no clock, nobody is told here.

The urgent go first, among equals who came first. It is never longer than `most`: who comes beyond
that pushes out the least urgent, of these the newest, which may be itself.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

CLASSES: Final = ("interactive", "standard", "deferrable")  # the most urgent first


class Waits(Protocol):
    """One who waits for any of `fleets`. `number` is its place among all who ever came."""

    @property
    def urgency(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def fleets(self) -> frozenset[str]: ...


W = TypeVar("W", bound=Waits)


@dataclass(slots=True)
class Line(Generic[W]):
    most: int
    _classes: tuple[dict[int, W], ...] = field(default_factory=lambda: tuple({} for _ in CLASSES))

    def __len__(self) -> int:
        return sum(map(len, self._classes))

    def waiting(self, urgency: int) -> int:
        return len(self._classes[urgency])

    def wanted(self) -> set[str]:
        """Return the fleets that anybody waits for."""
        return {fleet for each in self._classes for one in each.values() for fleet in one.fleets}

    def join(self, one: W) -> W | None:
        """Take it in, behind those of its class who came before; return who has to go, if any."""
        mine = self._classes[one.urgency]
        late = bool(mine) and next(reversed(mine)) > one.number
        mine[one.number] = one
        if late:  # it was called before, and in vain
            ordered = sorted(mine.items())
            mine.clear()
            mine.update(ordered)
        if len(self) <= self.most:
            return None
        least = next(each for each in reversed(self._classes) if each)
        return least.pop(next(reversed(least)))

    def leave(self, one: W) -> None:
        """Take it out, if it is there."""
        self._classes[one.urgency].pop(one.number, None)

    def first(self, fleet: str) -> W | None:
        """Return whose turn it is on this fleet."""
        for each in self._classes:
            for one in each.values():
                if fleet in one.fleets:
                    return one
        return None

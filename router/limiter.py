"""How many requests a fleet is sent at once: what the catalogue says, corrected by what comes.

Additive increase, multiplicative decrease, as of TCP and of Netflix/concurrency-limits. Time is an
argument (seconds of any monotonic clock). Three things can come of a request:

* answered   it grows by one for as many answers as it allows at once, where all of it was used
* dropped    it shrinks: the fleet said that it has too much (429, 503, 529), or was silent
* neither    hang-ups, rejected requests, faults of ours and all other failures teach it nothing

One burst counts once: what was sent before the limit shrank last says nothing of it as it is now,
and neither does what comes within a second of that.
"""

from dataclasses import dataclass
from typing import Final

MOST: Final = (
    2.0  # of the places: beyond, requests would wait in the engine, first come first served
)
SHRINK: Final = (
    0.7  # CUBIC's (RFC 9438); TCP's own 0.5 empties a batching engine, 0.9 takes a minute
)
ONCE_IN_S: Final = (
    1.0  # refusals come within milliseconds: without it one burst would end at the floor
)


@dataclass(frozen=True, slots=True)
class Room:
    """What a fleet's replicas have room for: `places` as the catalogue says, never less than
    `floor` whatever comes of it, never more than `ceiling`.
    """

    floor: int
    places: int
    ceiling: float


def room(replicas: int, each: int, most: int) -> Room:
    """Return the room of `replicas` that are ready, with `each` places. Behind one address there
    may be up to `most` of them without anybody's telling.

    The floor is one a replica: whether one can't serve even that is the breaker's to find out, and
    it must not idle the others.
    """
    floor = max(1, replicas)
    return Room(floor, floor * each, MOST * max(floor, most) * each)


@dataclass(slots=True)
class Limiter:
    """One fleet's. `share` is the limit over the fleet's places, so that it goes with replicas that
    come and go; numbers of sent requests (`sent`) tell what was before what.
    """

    share: float = 1.0
    _shrunk_s: float | None = None
    _shrunk_after: int = 0

    def limit(self, room: Room) -> int:
        """Return how many may be in flight."""
        return int(self._exact(room))

    def answered(self, in_flight: int, room: Room) -> None:
        """Grow, if the answer was one of as many as are allowed, itself included."""
        limit = self._exact(room)
        if in_flight >= int(limit):
            self.share = min(limit + 1 / limit, room.ceiling) / room.places

    def dropped(self, number: int, sent: int, now_s: float, room: Room) -> None:
        """Shrink for the request of this `number`, once a burst; the last one sent was `sent`."""
        recent = self._shrunk_s is not None and now_s - self._shrunk_s < ONCE_IN_S
        if recent or number <= self._shrunk_after:
            return
        self._shrunk_s, self._shrunk_after = now_s, sent
        self.share = max(self._exact(room) * SHRINK, room.floor) / room.places

    def _exact(self, room: Room) -> float:
        return min(max(self.share * room.places, room.floor), room.ceiling)

"""Which of a fleet's urls a request goes to. Time is an argument: seconds of any monotonic clock.

Those that answer go before those that don't, those with a free place before those without one.
Among the former equal prefixes go to the same url, whose cache may know them; a request without a
prefix, and one that has to wait anyway, goes where the fewest are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from backends.base import SEEN_FOR_S, Seen

REST_S = 1.0  # a url that could not be reached is asked last for so long


@dataclass(slots=True)
class _Replica:
    name: bytes
    in_flight: int = 0
    rest_until_s: float = 0.0
    seen: Seen | None = None
    seen_s: float = 0.0

    def absent(self, now_s: float) -> bool:
        if self.rest_until_s > now_s:
            return True
        seen = self._seen(now_s)
        return seen is not None and seen.state in ("down", "loading")

    def requests(self, now_s: float) -> int:
        """Return those that are there: ours, and others' as far as the engine tells."""
        seen = self._seen(now_s)
        return self.in_flight + ((seen.others or 0) if seen is not None else 0)

    def _seen(self, now_s: float) -> Seen | None:
        return self.seen if now_s - self.seen_s < SEEN_FOR_S else None


class Replicas:
    """`places`: streams that one url carries at once; None: nobody knows, so none is ever full."""

    def __init__(self, urls: Sequence[str], places: int | None = None) -> None:
        self._all = [_Replica(url.encode()) for url in urls]
        self._places = places
        self._next = -1

    def in_order(self, prefix: bytes, now_s: float) -> Sequence[int]:
        """Return every url's place, in the order in which they are to be asked."""
        n = len(self._all)
        if n == 1:
            return (0,)
        self._next = (self._next + 1) % n  # equals take turns
        turn = [(self._next + i) % n for i in range(n)]
        return sorted(turn, key=lambda i: self._rank(self._all[i], prefix, now_s))

    def in_flight(self, i: int) -> int:
        return self._all[i].in_flight

    def started(self, i: int) -> None:
        self._all[i].in_flight += 1

    def ended(self, i: int) -> None:
        self._all[i].in_flight -= 1

    def unreachable(self, i: int, now_s: float) -> None:
        self._all[i].rest_until_s = now_s + REST_S

    def reached(self, i: int) -> None:
        """An answer began: whatever a probe saw before, it is there."""
        seen = self._all[i].seen
        if seen is not None and seen.state == "down":
            self._all[i].seen = None

    def saw(self, i: int, seen: Seen, now_s: float) -> None:
        if seen.state != "unknown":
            self._all[i].seen, self._all[i].seen_s = seen, now_s

    def _rank(self, replica: _Replica, prefix: bytes, now_s: float) -> tuple[int, float]:
        requests = replica.requests(now_s)
        if replica.absent(now_s):
            return 2, 0
        if self._places is not None and requests >= self._places:
            return 1, requests
        return 0, _score(prefix, replica.name) if prefix else requests


def _score(prefix: bytes, name: bytes) -> int:
    """Return this url's lot for this prefix, least first: rendezvous hashing.

    A url that comes or goes moves only the prefixes that are its own.
    """
    return int.from_bytes(hashlib.blake2b(prefix + name, digest_size=8).digest())

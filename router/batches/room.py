"""How many lines of a key may be under way, so that its batches leave room for its own requests and
don't hammer at a limit or a spent budget. Pure: `now_s` is seconds of any one clock.

* at once        half of the key's `concurrent` at most, at least one
* a minute       half of its `requests_per_min`, evenly
* after a 429    none until Retry-After; then one at a time until one is let through
* after a 402    none for 30 s, then 60, 120, ... at most an hour, likewise
"""

from dataclasses import dataclass, field
from typing import Final

from router.identity import Key

HELD_BY: Final = frozenset({402, 429})
SPENT: Final = 402
SPENT_WAIT_S: Final = 30.0  # then doubled: an override or the next period may come any time
MOST_WAIT_S: Final = 3600.0
SHARE: Final = 2  # one part in so many is for batches
AHEAD_S: Final = 2.0  # lines that were not sent in time may be made up for this long


@dataclass(slots=True)
class _Seen:
    """`until_s`: none is sent before; `refused`: in a row; `owed`: lines that may be begun."""

    until_s: float = 0.0
    refused: int = 0
    owed: float = 1.0
    at_s: float = 0.0


@dataclass(slots=True)
class Room:
    """By the key's id."""

    _seen: dict[str, _Seen] = field(default_factory=dict)

    def free(self, key: Key, running: int, now_s: float) -> int | None:
        """Return how many more lines of the key may begin; None: as many as one likes."""
        seen = self._seen.get(key.id)
        if seen is not None and now_s < seen.until_s:
            return 0
        most = [] if key.concurrent is None else [max(1, key.concurrent // SHARE) - running]
        if seen is not None and seen.refused:
            most.append(1 - running)
        if key.requests_per_min is not None:
            most.append(int(self._drawn(key.id, key.requests_per_min, now_s).owed))
        return max(0, min(most)) if most else None

    def began(self, key: Key, many: int) -> None:
        """Note that so many lines of it were begun."""
        if key.requests_per_min is not None and key.id in self._seen:
            self._seen[key.id].owed -= many

    def told(self, key: Key, status: int, retry_after_s: float, now_s: float) -> None:
        """Note what a line of it was answered with."""
        if status not in HELD_BY:
            if (before := self._seen.get(key.id)) is not None:
                before.refused = 0
            return
        seen = self._seen.setdefault(key.id, _Seen(at_s=now_s))
        if now_s < seen.until_s:
            return  # it was under way as another was refused
        doubled = 2.0 ** min(seen.refused, 20)
        wait_s = SPENT_WAIT_S * doubled if status == SPENT else retry_after_s or doubled
        seen.until_s, seen.refused = now_s + min(MOST_WAIT_S, wait_s), seen.refused + 1

    def forget(self, kept: set[str]) -> None:
        """Forget all keys but these: of the others nothing is under way."""
        for gone in self._seen.keys() - kept:
            del self._seen[gone]

    def _drawn(self, key_id: str, per_minute: int, now_s: float) -> _Seen:
        seen = self._seen.setdefault(key_id, _Seen(at_s=now_s))
        each_s = per_minute / SHARE / 60
        owed = seen.owed + (now_s - seen.at_s) * each_s
        seen.owed, seen.at_s = min(owed, max(1.0, each_s * AHEAD_S)), now_s
        return seen

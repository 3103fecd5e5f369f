"""Rate limits on the board. Fills the port `router.rates.Buckets`.

A name may lie in one of WAYS places. Where all are taken, the bucket that is emptiest by now gives
way, so that the least is forgotten: to refuse instead would let one caller's many names shut others
out. Of requests at once nothing can be forgotten, or they would never be counted out: where WAYS
other names have some running, the request is refused as if the limit were reached.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from router.board import BUCKETS, RATE_LOCK, RUNNING, WAYS, Board
from router.rates import MINUTE_S, Bucket, Place

NO_ROOM: Final = 1 << 62
CACHED: Final = 10_000


class BoardBuckets:
    def __init__(self, board: Board) -> None:
        assert board.slot is not None
        self._board = board
        self._slot = board.slot
        self._key: Callable[[Place], int] = functools.lru_cache(CACHED)(
            lambda place: board.key("\0".join((place[0] or "", place[1], place[2])))
        )

    def held(self) -> AbstractContextManager[object]:
        return self._board.held(RATE_LOCK)

    def get(self, place: Place) -> Bucket | None:
        board, key = self._board, self._key(place)
        at = _found(board.bucket_keys, key, BUCKETS)
        if at is None:
            return None
        return Bucket(board.taken[at], board.at_s[at], board.most[at])

    def put(self, place: Place, bucket: Bucket) -> None:
        board, key = self._board, self._key(place)
        at = _found(board.bucket_keys, key, BUCKETS)
        if at is None:
            at = self._emptiest(_begin(key, BUCKETS), bucket.at_s)
            board.bucket_keys[at] = 0  # until it is whole
        board.taken[at] = bucket.taken
        board.at_s[at] = bucket.at_s
        board.most[at] = bucket.most
        board.bucket_keys[at] = key

    def running(self, place: Place) -> int:
        at = self._counter(place)
        return NO_ROOM if at is None else self._running(at)

    def run(self, place: Place, change: int) -> None:
        at = self._counter(place)
        if at is not None:
            self._board.running_keys[at] = self._key(place)
            self._board.running[at * self._board.workers + self._slot] += change

    def _counter(self, place: Place) -> int | None:
        """Return where the place is counted, or may be: where nothing runs."""
        key = self._key(place)
        at = _found(self._board.running_keys, key, RUNNING)
        if at is not None:
            return at
        begin = _begin(key, RUNNING)
        return next((i for i in range(begin, begin + WAYS) if not self._running(i)), None)

    def _running(self, at: int) -> int:
        workers = self._board.workers
        return sum(self._board.running[at * workers : (at + 1) * workers])

    def _emptiest(self, begin: int, now_s: float) -> int:
        board = self._board

        def left(at: int) -> float:
            if not board.bucket_keys[at]:
                return -1.0
            share = board.taken[at] / max(1, board.most[at])
            return max(0.0, share - (now_s - board.at_s[at]) / MINUTE_S)

        return min(range(begin, begin + WAYS), key=left)


def _begin(key: int, places: int) -> int:
    return (key >> 1) * WAYS % places  # the lowest bit is always set


def _found(keys: "memoryview[int]", key: int, places: int) -> int | None:
    begin = _begin(key, places)
    ways = keys[begin : begin + WAYS].tolist()
    return begin + ways.index(key) if key in ways else None

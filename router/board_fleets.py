"""Fleets on the board: requests in flight, the circuit, and who was asked to wake one."""

import math
from types import TracebackType

from router.board import FLEET_LOCK, FLEETS, Board
from router.siblings import ALONE, TOLD_FOR_S, Circuit, Known, Missed


class BoardFleets:
    """One worker's view of all fleets. Fills the ports `Circuits` and `Sleepers`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._places: dict[str, int | None] = {}
        self._missed = Missed()  # of fleets that have no place

    def of(self, fleet_id: str, known: Known) -> Circuit:
        place = self._place(fleet_id)
        return ALONE if place is None else _BoardCircuit(self._board, place, known)

    def missed(
        self,
        fleet_id: str,
        now_s: float,
        wake_s: float,
        *,
        asleep: bool,
        beyond: float = 0.0,
        window_s: float = math.inf,
    ) -> int:
        board, place = self._board, self._place(fleet_id)
        if place is None:
            more = {"beyond": beyond, "window_s": window_s}
            return self._missed.missed(fleet_id, now_s, wake_s, asleep=asleep, **more)
        with board.held(FLEET_LOCK):
            if not board.missed[place] or now_s - board.missed_since_s[place] >= window_s:
                board.missed[place], board.missed_since_s[place] = 0, now_s
            missed = board.missed[place] = board.missed[place] + 1
            asked_s = board.asked_s[place]
            if not asleep or missed <= beyond or (asked_s and now_s - asked_s < wake_s):
                return 0
            board.missed[place], board.asked_s[place] = 0, now_s
            return missed

    def unasked(self, fleet_id: str, requests: int) -> None:
        board, place = self._board, self._place(fleet_id)
        if place is None:
            self._missed.unasked(fleet_id, requests)
            return
        with board.held(FLEET_LOCK):
            board.missed[place] += requests
            board.asked_s[place] = 0.0

    def _place(self, fleet_id: str) -> int | None:
        """Return where the fleet stands, from now on; None: the board is full."""
        if fleet_id not in self._places:
            with self._board.held(FLEET_LOCK):
                self._places[fleet_id] = self._found(self._board.key(fleet_id))
        return self._places[fleet_id]

    def _found(self, key: int) -> int | None:
        keys = self._board.fleet_keys
        for i in range(key, key + FLEETS):
            place = i % FLEETS
            if keys[place] in (0, key):
                keys[place] = key
                return place
        return None


class _BoardCircuit:
    """Lies between one fleet's words on the board and what this worker knows of it."""

    def __init__(self, board: Board, place: int, known: Known) -> None:
        assert board.slot is not None
        self._board, self._place, self._known = board, place, known
        self._column = place * board.workers + board.slot
        self._me = board.slot + 1
        self._was = (0, False)
        self._version = -1

    def __enter__(self) -> None:
        self._board.lock(FLEET_LOCK)
        self._read()
        self._was = self._known.in_flight + self._known.held, self._known.trial

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        board, place, known = self._board, self._place, self._known
        was, trial = self._was
        more = known.in_flight + known.held - was
        if more:
            # Its own first: the sum is made anew from these when a worker has died.
            board.own_in_flight[self._column] += more
            board.in_flight[place] += more
        if known.trial != trial:
            board.trials[place] = self._me if known.trial else 0
        board.failures[place] = known.failures
        board.openings[place] = known.openings
        board.closed_until_s[place] = known.closed_until_s
        board.versions[place] += 1  # last: who looks meanwhile looks again
        board.unlock(FLEET_LOCK)

    def look(self) -> None:
        if self._board.versions[self._place] != self._version:
            self._read()

    def waits(self, rank: float, now_s: float) -> None:
        board, column = self._board, self._column
        with board.held(FLEET_LOCK):
            board.lines[self._place] += bool(rank) - bool(board.rank[column])
            board.rank[column], board.told_s[column] = rank, now_s

    def first(self, now_s: float) -> float:
        board = self._board
        if not board.lines[self._place]:
            return math.inf
        begin = self._place * board.workers
        others = [i for i in range(begin, begin + board.workers) if i != self._column]
        fresh = [i for i in others if now_s - board.told_s[i] < TOLD_FOR_S]
        return min((rank for i in fresh if (rank := board.rank[i])), default=math.inf)

    def _read(self) -> None:
        board, place, known = self._board, self._place, self._known
        self._version = board.versions[place]  # first: what changes from here on is read again
        siblings = board.in_flight[place] - board.own_in_flight[self._column]
        if siblings != known.siblings:
            known.siblings, known.load = siblings, None
        known.closed_until_s = board.closed_until_s[place]
        known.trial = board.trials[place] != 0
        known.failures = board.failures[place]
        known.openings = board.openings[place]

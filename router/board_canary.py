"""What both arms of a canary came to, on the board: each worker counts in a column of its own.

A column begins with the canary that it is of; one of another canary counts nothing.
"""

from router.board import CANARY_WORDS, Board
from router.canary import Sums


class BoardSums:
    """Fills the port `router.canaries.Counts`."""

    def __init__(self, board: Board) -> None:
        assert board.slot is not None
        self._board, self._slot = board, board.slot

    def add(self, key: str, *, canary: bool, sums: Sums) -> None:
        board, named = self._board, self._board.key(key)
        begin = self._slot * CANARY_WORDS
        if board.canary_keys[self._slot] != named:
            self._begin(named)
        if canary:
            begin += CANARY_WORDS // 2
        for i, value in enumerate(sums.values, begin):
            board.canary_sums[i] += value

    def sums(self, key: str) -> tuple[Sums, Sums]:
        board, named, half = self._board, self._board.key(key), CANARY_WORDS // 2
        stable, canary = Sums(), Sums()
        for slot in range(board.workers):
            if board.canary_keys[slot] == named:
                begin = slot * CANARY_WORDS
                column = board.canary_sums[begin : begin + CANARY_WORDS].tolist()
                stable, canary = stable + Sums(*column[:half]), canary + Sums(*column[half:])
        return stable, canary

    def forget(self, key: str) -> None:
        if self._board.canary_keys[self._slot] == self._board.key(key):
            self._begin(0)

    def _begin(self, named: int) -> None:
        """Begin the column anew; it counts once it is whole."""
        board, begin = self._board, self._slot * CANARY_WORDS
        board.canary_keys[self._slot] = 0
        for i in range(begin, begin + CANARY_WORDS):
            board.canary_sums[i] = 0.0
        board.canary_keys[self._slot] = named

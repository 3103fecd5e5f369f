"""Settlements that the ledger could not take, kept until it can: a file that is locked, a disk that
is full. What a router that dies still owes is charged in full when its leases run out.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from router.ledger.entry import Entry
from router.ledger.port import Alert, Ledger, LedgerUnavailable, Reserved

MOST: Final = 10_000  # settlements: some 20 MB; the leases of those beyond run out


@dataclass(slots=True)
class Owed:
    """In the order they came."""

    _waiting: deque[tuple[Reserved, Sequence[Entry]]] = field(default_factory=deque)

    def keep(self, reserved: Reserved, entries: Sequence[Entry]) -> bool:
        """Keep what is to be charged; without entries it is released. False: too many wait."""
        if len(self._waiting) >= MOST:
            return False
        self._waiting.append((reserved, entries))
        return True

    def pay(self, ledger: Ledger, now_s: float) -> Iterator[list[Alert]]:
        """Settle what waits; yield what each told. LedgerUnavailable: it and the rest wait on."""
        while True:
            try:
                reserved, entries = self._waiting.popleft()
            except IndexError:
                return
            try:
                told = settled(ledger, reserved, entries, now_s)
            except LedgerUnavailable:
                self._waiting.appendleft((reserved, entries))
                raise
            yield told


def settled(
    ledger: Ledger, reserved: Reserved, entries: Sequence[Entry], now_s: float
) -> list[Alert]:
    """Charge the entries, or release what was reserved where there are none."""
    if entries:
        return ledger.settle(reserved, entries, now_s)
    ledger.release(reserved, now_s)
    return []

"""What requests are charged while a replay goes on: by the rate card of whoever served them."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from collections.abc import Sequence

from backends.catalogue import Catalogue
from backends.cost import PER_MTOK
from router.replay.fleet import Fleet
from router.replay.money import Books


class Charges:
    """`nano`: of each request all its attempts, -1: unknown; `allocated`: of each fleet all its
    requests; both in nano-USD. `usd_router`: what the router itself costs.
    """

    def __init__(self, catalogue: Catalogue, counted: Sequence[int], books: Books | None) -> None:
        self._router, self._counted, self._books = catalogue.router, counted, books
        self.nano = array("q", [-1]) * len(counted)
        self.allocated = [0] * len(catalogue.fleets)
        self.usd_router = 0.0
        self._before: dict[int, int] = {}  # by a request's attempts that were not the last

    def attempt(self, i: int, fleet: Fleet, tokens_out: int) -> None:
        """Charge an attempt that another one follows."""
        card, run = fleet.on.card, fleet.run
        run.requests += 1
        if card is not None:
            nano = card.charge_nano(self._counted[i], 0, tokens_out)
            self._before[i] = self._before.get(i, 0) + nano
            self.allocated[fleet.place] += nano

    def last(self, i: int, fleet: Fleet, tokens_out: int, e2e_ms: float) -> None:
        """Charge the last attempt, after which the request is paid for."""
        run, card = fleet.run, fleet.on.card
        run.requests += 1
        router = self._router
        if router.lines:
            self.usd_router += router.usd(e2e_ms)
        if card is None:
            self._settled(i, self._before.pop(i, 0))
            return
        tokens_in = self._counted[i]
        total = tokens_in * card.nano_per_mtok_in + tokens_out * card.nano_per_mtok_out
        nano = -(-total // PER_MTOK)
        before = self._before.pop(i, 0) if self._before else 0
        if before or self._books is not None:
            nano = self._settled(i, nano + before)
        self.nano[i] = nano
        self.allocated[fleet.place] += nano - before

    def _settled(self, i: int, nano: int) -> int:
        return nano if self._books is None else self._books.settle(i, nano)

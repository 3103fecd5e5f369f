"""Fleets that are scaled to zero are woken for the requests that come, and never waited for.

A request that a sleeping fleet would have served goes to another lane. That it was missed is
counted, and where it is worth it (router.wake_worth) whoever can wake it is asked: at most once in
the time that waking takes. Fleets that a deployment makes are asked for by an item of the ledger's
table (router.wake_items), all others in the log.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from backends import cost
from backends.fleet_model import FleetModel
from router import wake_items
from router.ledger.dynamo_table import Table
from router.ledger.port import LedgerUnavailable
from router.metrics import Metrics
from router.runtime import LOG
from router.siblings import Missed, Sleepers
from router.teller import Teller
from router.wake_items import WakeItem
from router.wake_worth import Sleeper


@dataclass(frozen=True, slots=True)
class WakeUp:
    """`requests` would have been served there since it was last asked for, of those that came while
    it would have had to run. `usd`: what waking it costs at the least, its time to wake and its
    shortest run; None: its price is unknown.
    """

    fleet: str
    requests: int
    usd: float | None
    wake_s: int = 0
    min_run_s: int = 0


Wake = Callable[[WakeUp], None]
"""Whoever wakes a fleet. Returns at once."""


def tell(asked: WakeUp) -> None:
    """Write it to the log, for whoever wakes fleets by hand."""
    cost = "an unknown price" if asked.usd is None else f"${asked.usd:.2f} at the least"
    LOG.warning(
        "fleet %s is asleep: a wake-up is asked for (requests it missed: %d, costs %s)",
        asked.fleet,
        asked.requests,
        cost,
    )


class WakeTable:
    """Asks for fleets by items of the ledger's table, beside requests. `now` is the wall clock, in
    seconds since 1970.
    """

    def __init__(self, table: Table, now: Callable[[], float]) -> None:
        self._table, self._now = table, now
        self._teller = Teller(remote=True, what="wake-ups")

    def ask(self, asked: WakeUp, failed: Callable[[], None]) -> None:
        """Write the item without waiting for it; `failed` is told on the event loop that it could
        not be written. That another router asked for the fleet already is as good.
        """
        at_s = math.floor(self._now())
        until_s = at_s + asked.wake_s + asked.min_run_s
        item = WakeItem(asked.fleet, at_s, until_s, asked.requests)

        def write() -> bool | None:
            try:
                return wake_items.ask(self._table, item, asked.wake_s)
            except LedgerUnavailable as exc:
                LOG.error("fleet %s is asleep, and can't be asked for: %s", asked.fleet, exc)
                return None

        def then(written: bool | None) -> None:
            if written:
                tell(asked)
            elif written is None:
                failed()

        self._teller.later(write, then)

    async def finished(self) -> None:
        """Return once nothing is under way any more."""
        await self._teller.finished()

    async def aclose(self) -> None:
        await self._teller.aclose()


class Wakes:
    """`sleepers`: one wake-up is asked for among all that share them. `table`: where fleets that a
    deployment makes are asked for; None: as all others are, by `wake`.
    """

    def __init__(
        self,
        metrics: Metrics,
        wake: Wake = tell,
        sleepers: Sleepers | None = None,
        table: WakeTable | None = None,
    ) -> None:
        self._metrics = metrics
        self._wake = wake
        self._sleepers = Missed() if sleepers is None else sleepers
        self._table = table

    def missed(self, sleeper: Sleeper, now_s: float) -> None:
        """Take note of a request that is paid for, and would have been served by who sleeps."""
        on, state = sleeper.candidate.on, sleeper.candidate.state
        fleet = on.fleet
        self._metrics.missed_asleep.labels(fleet.id).inc()
        wake_s, asleep = fleet.wake_seconds or 0, state == "cold"  # else it wakes already
        run_s = fleet.min_run_seconds or 0
        missed = self._sleepers.missed(
            fleet.id,
            now_s,
            wake_s,
            asleep=asleep,
            beyond=sleeper.beyond,
            window_s=max(1, wake_s + run_s),
        )
        if not missed:
            return
        self._metrics.wake_ups.labels(fleet.id).inc()
        asked = WakeUp(fleet.id, missed, _usd(on), wake_s, run_s)
        if self._table is None or fleet.runs is None:
            self._wake(asked)
        else:
            self._table.ask(asked, lambda: self._sleepers.unasked(fleet.id, missed))

    async def finished(self) -> None:
        """Return once all that was asked for is written, or can't be."""
        if self._table is not None:
            await self._table.finished()

    async def aclose(self) -> None:
        if self._table is not None:
            await self._table.aclose()


def _usd(on: FleetModel) -> float | None:
    if on.usd_per_hour is None:
        return None
    wake_s, run_s = on.fleet.wake_seconds or 0, on.fleet.min_run_seconds or 0
    return cost.wake_usd_per_request(on.usd_per_hour, wake_s, run_s, None)

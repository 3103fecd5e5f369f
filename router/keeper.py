"""What is done for the ledger beside requests: leases that ran out are charged, and every minute
says what the fleets cost in it.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from backends.fleet_model import FleetModel
from backends.load import Load
from router.ledger.fleet_time import MINUTE_S
from router.ledger.port import LedgerUnavailable
from router.minutes import fleet_time
from router.runtime import LOG, Runtime
from router.siblings import MINE, Turn
from router.treasury import Treasury

EVERY_S: Final = 5.0


class Keeper:
    """`now` is the wall clock, in seconds since 1970. Of many that keep the same books one at a
    time writes what fleets cost, in its `turn`.
    """

    def __init__(
        self,
        runtime: Runtime,
        treasury: Treasury,
        now: Callable[[], float],
        *,
        every_s: float = EVERY_S,
        turn: Turn = MINE,
    ) -> None:
        self._runtime = runtime
        self._treasury = treasury
        self._now = now
        self._every_s = every_s
        self._turn = turn
        self._since_s = now()
        self._most: dict[str, int] = {}  # replicas of each fleet that were seen in this minute
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._since_s = self._now()
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def aclose(self) -> None:
        """Look once more, and end; a look that is under way is not broken off."""
        if self._task is not None:
            self._ending.set()
            await self._task
        self._turn.pass_on()

    async def _keep(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._every_s)
            try:
                await self._look()
            except Exception:  # noqa: BLE001  (a bug of ours must not end the keeping)
                LOG.error("the ledger was not kept: %s", traceback.format_exc(limit=3))

    async def _look(self) -> None:
        """Charge what ran out, and write the time since the last look down."""
        now_s = self._now()
        try:
            await self._treasury.expire()
            fleets, loads, seen = self._seen()
            rows = fleet_time(fleets, loads, self._since_s, now_s, seen)
            mine = self._turn.mine()
            if mine:
                await self._treasury.add_fleet_time(rows)
        except LedgerUnavailable as exc:  # the time since then is written at the next look
            LOG.error("the ledger can't be kept: %s", exc)
            return
        # The running minute is written again and again, each time longer. Who only waits for its
        # turn keeps the minute before too: the one whose turn it was may not have ended it.
        minute_s = now_s - now_s % MINUTE_S
        since_s = minute_s if mine else minute_s - MINUTE_S
        if since_s > self._since_s:
            self._since_s = since_s
            self._most.clear()

    def _seen(self) -> tuple[Sequence[FleetModel], Sequence[Load], Mapping[str, int]]:
        """Return the loads, and of each fleet that is observed the most replicas in this minute."""
        generation, now_s = self._runtime.generation, self._runtime.clock()
        tracker, fleets = generation.tracker, generation.world.fleets
        loads = tracker.loads(now_s)
        for on, load in zip(fleets, loads, strict=True):
            fleet_id = on.fleet.id
            if tracker.is_observed(fleet_id, now_s):
                self._most[fleet_id] = max(load.replicas, self._most.get(fleet_id, 0))
            else:
                self._most.pop(fleet_id, None)
        return fleets, loads, dict(self._most)

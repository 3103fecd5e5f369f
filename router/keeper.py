"""What is done for the ledger beside requests: leases that ran out are charged, and every minute
says what the fleets cost in it.

Rows are `observed` where a probe saw every replica of a fleet, `assumed` where the catalogue says
so. A machine that was there in a minute is paid for that minute, and what is always paid for costs
the same whether it answers or not.
"""

import asyncio
import contextlib
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from backends.catalogue import Fleet, ready
from backends.cost import NANO
from backends.load import Load
from router.ledger.fleet_time import MINUTE_S, FleetTime
from router.ledger.port import LedgerUnavailable
from router.runtime import LOG, Runtime
from router.siblings import MINE, Turn
from router.treasury import Treasury
from router.world import World

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
            world, loads, seen = self._seen()
            rows = fleet_time(world, loads, self._since_s, now_s, seen)
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

    def _seen(self) -> tuple[World, Sequence[Load], Mapping[str, int]]:
        """Return the loads, and of each fleet that is observed the most replicas in this minute."""
        generation, now_s = self._runtime.generation, self._runtime.clock()
        tracker, world = generation.tracker, generation.world
        loads = tracker.loads(now_s)
        for on, load in zip(world.fleets, loads, strict=True):
            fleet_id = on.fleet.id
            if tracker.is_observed(fleet_id, now_s):
                self._most[fleet_id] = max(load.replicas, self._most.get(fleet_id, 0))
            else:
                self._most.pop(fleet_id, None)
        return world, loads, dict(self._most)


def fleet_time(
    world: World,
    loads: Sequence[Load],
    since_s: float,
    now_s: float,
    seen: Mapping[str, int] = MappingProxyType({}),
) -> list[FleetTime]:
    """Return the rows of every priced fleet for the time from `since_s` to `now_s`, by minute.

    `seen`: the replicas of the fleets that were observed.
    """
    found = []
    begins_s = since_s
    while begins_s < now_s:
        minute_s = begins_s - begins_s % MINUTE_S
        ends_s = min(minute_s + MINUTE_S, now_s)
        minute = datetime.fromtimestamp(minute_s, UTC).isoformat(timespec="seconds")[:-6] + "Z"
        found += [
            FleetTime(
                fleet=on.fleet.id,
                minute=minute,
                seconds=round(ends_s - begins_s, 3),
                replicas=max(paid, seen.get(on.fleet.id, load.replicas)),
                nano_hour=round(on.usd_per_hour * NANO),
                source="observed" if seen.get(on.fleet.id, -1) >= paid else "assumed",
                emulated=on.fleet.emulated,
            )
            for on, load in zip(world.fleets, loads, strict=True)
            if on.usd_per_hour is not None
            for paid in (always_paid(on.fleet),)
        ]
        begins_s = ends_s
    return found


def always_paid(fleet: Fleet) -> int:
    """Return the replicas that cost the same whether they are there or not."""
    return math.ceil(fleet.tariff.committed(ready(fleet), fleet.replicas.min))

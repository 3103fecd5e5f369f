"""Asks every fleet's engine every few seconds what it is doing, beside all requests.

One probe is bounded in time and size (``backends.probe``), one a fleet is under way at any time,
and of the answers only a few numbers a url are kept. What was seen is unknown again after
SEEN_FOR_S: five rounds, or two in which an engine takes all of its time to answer.
"""

import asyncio
import contextlib
import random
import traceback
from typing import Final

from router.runtime import LOG, Generation, Runtime

EVERY_S: Final = 2.0
JITTER: Final = 0.25  # of it, either way: many routers shall not ask at once
AT_ONCE: Final = 32  # fleets


class Prober:
    """`every_s` lies between the end of a round and the next one's begin."""

    def __init__(self, runtime: Runtime, *, every_s: float = EVERY_S) -> None:
        self._runtime = runtime
        self._every_s = every_s
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._probe())

    async def asked(self) -> None:
        """Nothing: it probes whether requests come or not."""

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Ask every fleet once."""
        generation = self._runtime.generation
        await asyncio.gather(*(self._fleet(generation, name) for name in generation.backends))

    async def _probe(self) -> None:
        while True:
            await self.look()
            spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret hangs on it)
            await asyncio.sleep(self._every_s * spread)

    async def _fleet(self, generation: Generation, fleet_id: str) -> None:
        async with self._at_once:
            try:
                seen = await generation.backends[fleet_id].probe()
            except Exception as exc:  # noqa: BLE001  (a bug of ours must not end the probing)
                where = "".join(traceback.format_tb(exc.__traceback__, limit=-3))
                LOG.error("fleet %s: a bug, %s at\n%s", fleet_id, type(exc).__name__, where)
                return
        if generation is not self._runtime.generation:  # its urls may be others now
            return
        generation.tracker.saw(fleet_id, seen, self._runtime.clock())
        for each in seen:
            self._runtime.metrics.probes.labels(fleet_id, each.state).inc()

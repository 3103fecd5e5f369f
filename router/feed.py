"""Keeps asking AWS for policy and prices, beside requests and never before one.

Whether it is time is looked up on the wall clock once a second, while the process runs: where it is
frozen between requests nothing is asked, and what became due meanwhile is asked beside the next
request. A call that a freeze tore is made again; routers read the last good file meanwhile.
"""

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Final

from router.feed_source import Polled, Source
from router.runtime import LOG, Runtime
from router.siblings import MINE, Turn
from router.sources import Sources

LOOK_EVERY_S: Final = 1.0
AGAIN_S: Final = 10.0  # after AppConfig could not be asked, at the most
FED: Final = "appconfig"  # what a router is stale for while it gets no policy that is good


class Feed:
    """`polled`: what came of asking at start. `now` is the wall clock, in seconds since 1970. Of
    several workers one asks, in its `turn`, and all watch the files.
    """

    def __init__(
        self,
        runtime: Runtime,
        sources: Sources,
        source: Source,
        polled: Polled,
        now: Callable[[], float],
        turn: Turn = MINE,
    ) -> None:
        self._runtime, self._sources, self._source = runtime, sources, source
        self._now, self._turn = now, turn
        self._asked_s = now()
        self._last = Polled()
        self._task: asyncio.Task[None] | None = None
        self._tell(polled)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_asking())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._source.close()

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = self._now()
            wait_s = self._source.next_s
            if self._last.unasked is not None:
                wait_s = min(wait_s, AGAIN_S)
            # A clock that was set back doesn't put it off.
            if self._asked_s <= now_s < self._asked_s + wait_s:
                continue
            self._asked_s = now_s
            try:
                await self._ask()
            except Exception:  # noqa: BLE001  (a bug of ours must not end the asking)
                LOG.error("AppConfig was not asked: %s", traceback.format_exc(limit=3))

    async def _ask(self) -> None:
        if not self._turn.mine():
            self._tell(Polled())  # another worker says what it finds
            return
        catalogue = self._runtime.generation.world.catalogue
        self._tell(await asyncio.to_thread(self._source.poll, catalogue, self._sources.check))

    def _tell(self, polled: Polled) -> None:
        """Say what is new, once."""
        last, self._last = self._last, polled
        place, running = self._source.place, self._runtime.generation.world.policy
        goes_on = f"policy {running.name} ({running.hash}) goes on"
        if polled.unasked is not None and last.unasked is None:
            LOG.error("%s can't be asked, %s: %s", place, goes_on, polled.unasked)
        if polled.refused is not None and polled.refused != last.refused:
            self._runtime.metrics.reloads.labels("refused").inc()
            LOG.error("what is in force on %s is refused, %s:\n%s", place, goes_on, polled.refused)
        if last.unasked is not None and polled.unasked is None and self._turn.mine():
            LOG.warning("%s answers again", place)
        if polled.prices is not None and last.prices is None:
            LOG.error("the refreshed prices are not used: %s", polled.prices)
        stale = polled.unasked is not None or polled.refused is not None
        self._runtime.is_stale(FED, now=stale)

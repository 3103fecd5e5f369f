"""Reads what an observer saw of the fleets, for a router that can't probe: on Lambda nothing runs
between requests, and each environment would ask every engine by itself.

It reads beside requests: one that comes uses what is there, and where that is older than TTL_S has
it read anew meanwhile. Only where nothing that is there still counts (the first request, and one
after a pause) does it wait for the read, WAIT_S at most. What is older than SEEN_FOR_S of a probe
is unknown, never zero; only that a fleet is asleep is known for longer (router.load_items).
"""

import asyncio
import contextlib
import math
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from backends.base import SEEN_FOR_S
from router.ledger.port import LedgerUnavailable
from router.load_items import LoadItem, tell_late
from router.runtime import LOG, Runtime

TTL_S: Final = 3.0
WAIT_S: Final = 0.5  # a Query takes some 5 ms, and 100 with a new connection


class LoadReader:
    """`read` may block; `now` is the wall clock, which items are dated by."""

    def __init__(
        self,
        runtime: Runtime,
        read: Callable[[], Sequence[LoadItem]],
        now: Callable[[], float],
        *,
        ttl_s: float = TTL_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._runtime, self._read, self._now = runtime, read, now
        self._ttl_s, self._wait_s = ttl_s, wait_s
        self._tried_s = self._read_s = -math.inf
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Nothing: it reads when it is asked."""

    async def asked(self) -> None:
        """A request came."""
        now_s = self._runtime.clock()
        if self._reading is None and now_s - self._tried_s >= self._ttl_s:
            self._tried_s = now_s
            self._reading = asyncio.get_running_loop().create_task(self._look())
        if self._reading is not None and now_s - self._read_s >= SEEN_FOR_S:
            await asyncio.wait({self._reading}, timeout=self._wait_s)

    async def aclose(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _look(self) -> None:
        try:
            items = await asyncio.to_thread(self._read)
            self._tell(items)
        except LedgerUnavailable as exc:
            LOG.error("the fleets' loads could not be read: %s", exc)
        except Exception:  # noqa: BLE001  (a bug of ours must not end the reading)
            LOG.error("the fleets' loads were not read: %s", traceback.format_exc(limit=3))
        finally:
            self._reading = None

    def _tell(self, items: Sequence[LoadItem]) -> None:
        generation = self._runtime.generation
        clock_s, now_s = self._runtime.clock(), self._now()
        for item in items:
            if item.fleet in generation.backends:  # else of another catalogue
                age_s = max(0.0, now_s - item.at_ms / 1000)
                tell_late(generation.tracker, item, clock_s, age_s)
        self._read_s = clock_s

"""How the event loop uses the ledger, and other stores that are written beside requests: at once
where it is a file, in threads where every call waits for a network, so that a slow one stops no
other request.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from router.ledger.port import LedgerUnavailable
from router.runtime import LOG

T = TypeVar("T")
THREADS: Final = 32  # calls at once, each over a connection of its own
WAIT_S: Final = 5.0  # a request's, for a thread and for the answer, before it is refused
DRAIN_S: Final = 10.0  # at the end, for what is under way


class Teller:
    """`remote`: whether calls are made in threads; of `what`, for messages. Nothing is begun before
    an event loop runs.
    """

    def __init__(self, *, remote: bool, wait_s: float = WAIT_S, what: str = "the ledger") -> None:
        self._threads = ThreadPoolExecutor(THREADS, what) if remote else None
        self._what = what
        self._wait_s = wait_s
        self._under_way: set[asyncio.Future[Any]] = set()

    async def do(self, work: Callable[[], T]) -> T:
        """Return what the work returns, however long it takes."""
        return work() if self._threads is None else await self._track(self._threads, work)

    async def do_soon(self, work: Callable[[], T], undo: Callable[[T], None]) -> T:
        """Return what the work returns; LedgerUnavailable: it takes too long.

        Work that nobody waits for any more, because it took too long or the waiting was cancelled,
        is not begun, or undone once it is done.
        """
        if self._threads is None:
            return work()
        doing = self._threads.submit(work)
        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.wrap_future(doing)
        except (TimeoutError, asyncio.CancelledError) as exc:
            if not doing.cancel():
                self.later(lambda: undo(doing.result()), lambda _: None)
            if isinstance(exc, TimeoutError):
                raise LedgerUnavailable(f"no answer within {self._wait_s:g} s") from None
            raise

    def later(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do the work without waiting for it; `then` is told on the event loop what it returned."""
        if self._threads is None:
            then(work())
        else:
            self._track(self._threads, work).add_done_callback(partial(self._told, then))

    async def finished(self) -> None:
        """Wait for all that is under way, and for what it tells."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def aclose(self) -> None:
        """Wait for what is under way, DRAIN_S at most: what is left then ends by its lease."""
        if self._threads is None:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.finished()
        except TimeoutError:
            LOG.error("%d calls of %s did not end in time", len(self._under_way), self._what)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _track(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        doing = asyncio.wrap_future(threads.submit(work))
        self._under_way.add(doing)
        doing.add_done_callback(self._under_way.discard)
        return doing

    def _told(self, then: Callable[[T], None], doing: asyncio.Future[T]) -> None:
        if doing.cancelled():
            return
        exc = doing.exception()
        if exc is None:
            then(doing.result())
        elif not isinstance(exc, LedgerUnavailable):  # that was told where it was waited for
            LOG.error("%s: a bug, %s", self._what, type(exc).__name__)

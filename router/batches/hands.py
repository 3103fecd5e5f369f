"""The threads in which files and batches are worked on: the rest of the router waits for none."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

T = TypeVar("T")
SHORT: Final = 4  # calls of the store at a time


def _threads(many: int, what: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(many, f"batches-{what}")


@dataclass(frozen=True, slots=True)
class Hands:
    """`short`: single calls of the store; `checks`: input files, one at a time; `ends`: making
    output files and removing what is over, one at a time.
    """

    short: ThreadPoolExecutor = field(default_factory=lambda: _threads(SHORT, "short"))
    checks: ThreadPoolExecutor = field(default_factory=lambda: _threads(1, "checks"))
    ends: ThreadPoolExecutor = field(default_factory=lambda: _threads(1, "ends"))

    async def do(self, call: Callable[[], T]) -> T:
        return await done(self.short, call)

    def close(self) -> None:
        for threads in (self.short, self.checks, self.ends):
            threads.shutdown(wait=False, cancel_futures=True)


async def done(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, call)

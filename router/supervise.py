"""The parent of a router's workers: it binds, starts them, starts one again that died, and ends
with them. It serves no request, so that nothing which a request can do ends it.

Workers are new processes, not forks: of threads, SQLite and event loops nothing is inherited but
the listening socket and the board. All accept from one queue, so that what waits there outlives any
of them. They lead their own process group: a terminal's Ctrl-C is the parent's to hand on.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from router.board import Board, create
from router.order import Order, Ready, answer_of, to_line
from router.settings import Settings

FIRST_WAIT_S: Final = 1.0  # before a worker is started that died a second time; then doubled
MOST_WAIT_S: Final = 30.0
SOUND_AFTER_S: Final = 60.0  # a worker that lived so long died for the first time
KILL_AFTER_S: Final = 15.0  # beyond the time to drain
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks for it


class WorkersFailed(Exception):  # noqa: N818  (what it says)
    """The router could not start; the message is a worker's, and so is the exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(slots=True)
class _Worker:
    process: Process
    began_s: float


class Supervisor:
    """`say` is told of workers that die. Time is monotonic."""

    def __init__(
        self,
        order: Callable[[int], Order],
        board: Board,
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._order = order
        self._board = board
        self._environment = environment
        self._say = say
        self._running: dict[int, _Worker] = {}
        self._ending = asyncio.Event()

    async def run(self, workers: int, announce: Callable[[Ready], None]) -> None:
        """Run the workers until SIGINT or SIGTERM; raise WorkersFailed if one can't start at first.

        `announce` is called once all of them listen.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._pass_on, number)
        try:
            ready = await self._start(0)  # alone: what is wrong with the settings is told once
            others = [loop.create_task(self._start(slot)) for slot in range(1, workers)]
            await asyncio.gather(*others)
            if ready is not None and not self._ending.is_set():
                announce(ready)
            await asyncio.gather(*(self._tend(slot) for slot in list(self._running)))
        finally:
            self._pass_on(signal.SIGTERM)
            await asyncio.gather(*(worker.process.wait() for worker in self._running.values()))

    async def _start(self, slot: int) -> Ready | None:
        """Start a worker and wait until it listens; None: the router ends. Raises WorkersFailed."""
        if self._ending.is_set():
            return None
        order = self._order(slot)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "router.cli.worker"),
            stdin=PIPE,
            stdout=PIPE,
            env={**self._environment, METRICS: str(order.metrics)},
            pass_fds=(order.listen, order.board),
            process_group=0,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._running[slot] = _Worker(process, time.monotonic())
        if self._ending.is_set():
            process.terminate()
        with contextlib.suppress(ConnectionError):  # it is dead: that is told below
            process.stdin.write(to_line(order))
            await process.stdin.drain()
        answer = answer_of(await process.stdout.readline())
        if isinstance(answer, Ready):
            return answer
        code = await process.wait()
        if self._ending.is_set():
            return None
        if answer is None:
            raise WorkersFailed(f"a worker {_how(code)} before it listened")
        raise WorkersFailed(answer.message, answer.exit_code)

    async def _tend(self, slot: int) -> None:
        """Start the worker again whenever it dies, until the router ends."""
        deaths = 0
        while True:
            worker = self._running[slot]
            code = await worker.process.wait()
            self._board.clear(slot)
            if self._ending.is_set():
                return
            deaths = 1 if time.monotonic() - worker.began_s > SOUND_AFTER_S else deaths + 1
            wait_s = min(MOST_WAIT_S, FIRST_WAIT_S * 2 ** (deaths - 2)) if deaths > 1 else 0.0
            self._say(
                f"worker {slot} (process {worker.process.pid}) {_how(code)}; "
                + (f"it is started again in {wait_s:.0f} s" if wait_s else "it is started again")
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), wait_s)
            try:
                await self._start(slot)
            except WorkersFailed as exc:
                self._say(f"worker {slot} can't be started: {exc}")

    def _pass_on(self, number: int) -> None:
        """End the workers; a second SIGINT lets them drop what still runs."""
        again = self._ending.is_set()
        if not again:
            drain_s = self._order(0).drain_s
            asyncio.get_running_loop().call_later(drain_s + KILL_AFTER_S, self._kill)
        self._ending.set()
        for worker in self._running.values():
            if worker.process.returncode is None:
                sent = signal.SIGINT if again and number == signal.SIGINT else signal.SIGTERM
                worker.process.send_signal(sent)

    def _kill(self) -> None:
        for worker in self._running.values():
            if worker.process.returncode is None:
                worker.process.kill()


def supervise(
    settings: Settings,
    sock: socket.socket,
    workers: int,
    drain_s: int,
    announce: Callable[[Ready], None],
    say: Callable[[str], None],
) -> None:
    """Run so many workers on this socket until the router is stopped. Raises WorkersFailed."""
    board = create(workers)
    metrics = Path(tempfile.mkdtemp(prefix="sluice-metrics-"))

    def order(slot: int) -> Order:
        return Order(settings, slot, workers, sock.fileno(), board.fd, metrics, drain_s)

    async def run() -> None:
        await Supervisor(order, board, settings.environment, say).run(workers, announce)

    try:
        asyncio.run(run())
    finally:
        sock.close()
        shutil.rmtree(metrics, ignore_errors=True)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was killed by {signal.Signals(-code).name}"

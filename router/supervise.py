"""The parent of a router's workers: it binds, starts them, starts one again that died, and ends
with them. It serves no request, so that nothing which a request can do ends it.

Workers are new processes, not forks: of threads, SQLite and event loops nothing is inherited but a
socket and the board. They lead their own process group: a terminal's Ctrl-C is the parent's to hand
on.

Each worker has its own queue of the one port (SO_REUSEPORT), into which the kernel deals new
connections evenly. It listens when it can serve, and no longer than it lives.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from router.board import Board, create
from router.order import Order, Ready, answer_of, to_line
from router.settings import Settings

FIRST_WAIT_S: Final = 1.0  # before a worker is started that died a second time; then doubled
MOST_WAIT_S: Final = 30.0
SOUND_AFTER_S: Final = 60.0  # a worker that lived so long died for the first time
KILL_AFTER_S: Final = 15.0  # beyond the time to drain
COUNTS: Final = "workers-"  # a folder of the state's, while the router runs
METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks for it


class WorkersFailed(Exception):  # noqa: N818  (what it says)
    """The router could not start; the message is a worker's, and so is the exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Supervisor:
    """`say` is told of workers that die. `shared`: the board, and the descriptor that says that the
    folder of counts is in use.
    """

    def __init__(
        self,
        order: Callable[[int, socket.socket], Order],
        port: "SharedPort",
        shared: tuple[Board, int],
        environment: Mapping[str, str],
        ends_within_s: int,
        say: Callable[[str], None],
    ) -> None:
        self._order = order
        self._port = port
        self._board, self._in_use = shared
        self._environment = environment
        self._ends_within_s = ends_within_s
        self._say = say
        self._running: dict[int, Process] = {}
        self._began_s: dict[int, float] = {}
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
            await asyncio.gather(*(worker.wait() for worker in self._running.values()))

    async def _start(self, slot: int) -> Ready | None:
        """Start a worker and wait until it listens; None: the router ends. Raises WorkersFailed."""
        if self._ending.is_set():
            return None
        self._began_s[slot] = time.monotonic()
        try:
            process = await self._spawn(slot)
        except OSError as exc:
            raise WorkersFailed(f"a worker can't be started: {exc.strerror}") from None
        self._running[slot] = process
        assert process.stdin is not None
        assert process.stdout is not None
        if self._ending.is_set():
            process.terminate()
        with contextlib.suppress(ConnectionError):  # it is dead: that is told below
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

    async def _spawn(self, slot: int) -> Process:
        with self._port.another() as sock:
            order = self._order(slot, sock)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "router.cli.worker"),
                stdin=PIPE,
                stdout=PIPE,
                env={**self._environment, METRICS: str(order.metrics)},
                pass_fds=(order.listen, order.board, self._in_use),
                process_group=0,
            )
        assert process.stdin is not None
        process.stdin.write(to_line(order))
        return process

    async def _tend(self, slot: int) -> None:
        """Start the worker again whenever it dies, until the router ends."""
        deaths = 0
        while True:
            process = self._running[slot]
            code = await process.wait()
            self._board.clear(slot)
            if self._ending.is_set():
                return
            deaths = 1 if time.monotonic() - self._began_s[slot] > SOUND_AFTER_S else deaths + 1
            wait_s = min(MOST_WAIT_S, FIRST_WAIT_S * 2 ** (deaths - 2)) if deaths > 1 else 0.0
            self._say(
                f"worker {slot} (process {process.pid}) {_how(code)}; "
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
            asyncio.get_running_loop().call_later(self._ends_within_s + KILL_AFTER_S, self._kill)
        self._ending.set()
        for worker in self._running.values():
            if worker.returncode is None:
                sent = signal.SIGINT if again and number == signal.SIGINT else signal.SIGTERM
                worker.send_signal(sent)

    def _kill(self) -> None:
        for worker in self._running.values():
            if worker.returncode is None:
                worker.kill()


class SharedPort:
    """A port that is kept as long as this is open, whoever of the workers listens."""

    def __init__(self, listening: socket.socket) -> None:
        """Take the port over from a socket that has it alone: so nobody else was there before."""
        self._family, self._address = listening.family, listening.getsockname()
        listening.close()
        self.sock = self.another()

    def another(self) -> socket.socket:
        """Return one more socket of the port, which doesn't listen yet. Raises OSError."""
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(self._address)
        sock.setblocking(False)
        return sock


def supervise(
    settings: Settings,
    port: SharedPort,
    workers: int,
    announce: Callable[[Ready], None],
    say: Callable[[str], None],
) -> None:
    """Run so many workers on this port until the router is stopped. Raises WorkersFailed."""
    board = create(workers)
    with counts_folder(settings.state) as (metrics, in_use):

        def order(slot: int, sock: socket.socket) -> Order:
            return Order(settings, slot, workers, sock.fileno(), board.fd, metrics)

        shared, ends_within_s = (board, in_use), settings.unready_s + settings.drain_s
        supervisor = Supervisor(order, port, shared, settings.environment, ends_within_s, say)
        try:
            asyncio.run(supervisor.run(workers, announce))
        finally:
            port.sock.close()


@contextlib.contextmanager
def counts_folder(state: Path) -> Iterator[tuple[Path, int]]:
    """Make the folder where workers count, and remove those that nobody uses any more.

    It is in use as long as the descriptor is open anywhere, so each worker has it too.
    """
    state.mkdir(parents=True, exist_ok=True)
    for old in state.glob(f"{COUNTS}*"):
        held = os.open(old, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(held)
    folder = Path(tempfile.mkdtemp(prefix=COUNTS, dir=state)).absolute()
    in_use = os.open(folder, os.O_RDONLY)
    fcntl.flock(in_use, fcntl.LOCK_EX)
    try:
        yield folder, in_use
    finally:
        os.close(in_use)
        shutil.rmtree(folder, ignore_errors=True)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was killed by {signal.Signals(-code).name}"

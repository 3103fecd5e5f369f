"""One worker of a router: ``python -m router.cli.worker``, started by ``router.supervise`` alone.

It ends when its parent does, however that dies: its standard input is a pipe of the parent's.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from router import entry, metrics
from router.app import App
from router.board import Board
from router.cli import own_address
from router.cli.errors import INVALID, Ends, told
from router.order import Answer, CannotStart, Order, Ready, answer_line, from_line
from router.settings import environment
from router.sources import unproved

STDIN, STDOUT = 0, 1
GRACE_S = 5.0  # beyond the time to drain: then a worker without a parent is ended as it is


def main() -> None:
    """Serve as the order on standard input says, until SIGTERM or until the parent is gone."""
    order = from_line(_line(), environment())
    orphaned = threading.Event()
    parted = threading.Thread(target=_end_with_parent, args=(order, orphaned), daemon=True)
    parted.start()
    metrics.count_in_files(order.slot)
    shared = entry.Shared(Board(order.board, order.workers, order.slot), order.metrics)
    sock = socket.socket(fileno=order.listen)
    try:
        app = _built(order, shared, sock)
    except Ends as exc:
        _answer(CannotStart(exc.message, exc.exit_code))
        sys.exit(exc.exit_code)
    world = app.runtime.generation.world
    policy = f"{world.policy.name} {world.hash_and_version}"
    ready = Ready(policy, unproved(app.sources, world))
    settings = order.settings
    entry.serve(
        app,
        sock,
        lambda: _answer(ready),
        drain_s=settings.drain_s,
        unready_s=settings.unready_s,
        keep_alive_s=settings.keep_alive_s,
    )
    if orphaned.is_set():
        _tidy(order.metrics, order.slot)


def _built(order: Order, shared: entry.Shared, sock: socket.socket) -> App:
    """Build the app as `sluice serve` does for one process. Raises Ends."""
    with told():
        app = entry.build(order.settings, shared)
    world = app.runtime.generation.world
    own = own_address.objection((on.fleet for on in world.fleets), sock)
    if own is not None:
        raise Ends(own, INVALID)
    return app


def _line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(STDIN, 65536)
        if not part:
            sys.exit("a worker is started by `sluice serve --workers N`")
        line += part
    return line


def _answer(answer: Answer) -> None:
    os.write(STDOUT, answer_line(answer))


def _end_with_parent(order: Order, orphaned: threading.Event) -> None:
    while os.read(STDIN, 1):
        pass
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(order.settings.unready_s + order.settings.drain_s + GRACE_S)
    _tidy(order.metrics, order.slot)
    os._exit(1)


def _tidy(folder: Path, slot: int) -> None:
    """Remove this worker's counts, and the last one the folder: no parent will."""
    for path in folder.glob(f"*_{slot}.db"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


if __name__ == "__main__":
    main()

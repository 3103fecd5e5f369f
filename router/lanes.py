"""The local lanes of ``sluice up``: a real llama-server and the emulated fleets, as processes."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from backends.engines import llama_cpp, tiny_model

CPU_PORT, ACCELERATOR_PORT = 8081, 8082  # as the embedded catalogue has them
SLOTS, CONTEXT_TOKENS = 4, 8192  # of all slots together; the catalogue says 2048 for one
READY_WITHIN_S = 30.0
LOOK_EVERY_S = 0.5
HOST = "127.0.0.1"
OK = 200


class LaneFailed(Exception):  # noqa: N818  (what it says)
    """A lane can't be started; the message says why and what to do."""


@dataclass(slots=True)
class Lane:
    """A process of ours. `again` is the command that starts it by hand."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path
    told_dead: bool = False

    @property
    def again(self) -> str:
        arguments = self.process.args
        assert isinstance(arguments, list)
        words = [str(word) for word in arguments]
        return " ".join(words[words.index("--") + 1 :] if "--" in words[:4] else words)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def check_port(port: int, what: str, other: str) -> None:
    """Raise LaneFailed where `what` can't listen on the port; `other` says how to choose one."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as exc:
        raise LaneFailed(
            f"port {port} can't be used for {what}: {exc.strerror}; stop what listens there, "
            f"or choose another port with {other}"
        ) from None


def start_cpu(engine: Path, port: int, threads: int, logs: Path) -> Lane:
    """Start the real llama-server with the tiny model; it is ready when this returns."""
    server = llama_cpp.start(
        engine,
        tiny_model(),
        port=port,
        alias="qwen3-tiny",
        slots=SLOTS,
        threads=threads,
        ctx=CONTEXT_TOKENS,
        log_path=logs / "llama-server.log",
    )
    return Lane("cpu", server.process, server.log_path)


def start_accelerator(fleets: Path, port: int, state: Path, logs: Path) -> Lane:
    """Start the emulated fleets of this catalogue; they are ready when this returns."""
    command = [sys.executable, "-m", "backends.engines.emulator"]
    command += ["--fleets", str(fleets), "--state", str(state), "--port", str(port)]
    setpriv = shutil.which("setpriv")  # ends the child with its parent, however that dies
    log_path = logs / "emulator.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  (our own program)
            [*([setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for us: the lanes stop after the router has drained
        )
    lane = Lane("accelerator", process, log_path)
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > deadline_s:
            lane.stop()
            raise LaneFailed(f"the emulated fleets did not start: {_last_line(log_path)}")
        time.sleep(0.05)
    return lane


def watch(lanes: list[Lane], say: Callable[[str], None], stopped: threading.Event) -> None:
    """Say once of every lane that it died, and how to start it again."""
    while not stopped.wait(LOOK_EVERY_S):
        for lane in lanes:
            status = lane.process.poll()
            if status is None or lane.told_dead:
                continue
            lane.told_dead = True
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            say(
                f"lane {lane.name} {how}; requests go to the other lanes (log: {lane.log_path})\n"
                f"  start it again: {lane.again}"
            )


def _healthy(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"it logged nothing ({path})"

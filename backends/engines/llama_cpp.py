"""The real llama-server: found on this machine, started for one model, watched, stopped."""

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from backends.engines import EngineNotStarted, EngineUnusable
from backends.engines.llama_build import Say, build, cached

__all__ = ["LlamaServer", "Say", "build", "find", "free_port", "start"]

HOST = "127.0.0.1"
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 5.0
POLL_S = 0.02
CHECK_WITHIN_S = 20.0
LOG_TAIL_BYTES = 4096


def find(explicit: str | None, cache_dir: Path) -> Path | None:
    """Find the llama-server to use: the explicit one, else PATH's, else the cached, else None.

    raises EngineUnusable if `explicit` is given and can't be used
    """
    if explicit:
        return _explicit(explicit)
    on_path = shutil.which("llama-server")
    for candidate in (Path(on_path) if on_path else None, cached(cache_dir)):
        if candidate and _objection(candidate) is None:
            return candidate
    return None


def _explicit(given: str) -> Path:
    what_to_do = (
        "; SLUICE_LLAMA_SERVER must name a working llama-server, "
        "or be unset to use the one on PATH or the cached build"
    )
    found = shutil.which(given)
    if found is None:
        there = "is not executable" if Path(given).is_file() else "there is no such program"
        raise EngineUnusable(f"`{given}`: {there}{what_to_do}")
    if objection := _objection(Path(found)):
        raise EngineUnusable(f"`{given}`: {objection}{what_to_do}")
    return Path(found)


def _objection(program: Path) -> str | None:
    """Why this program can't be the engine, or None."""
    try:
        asked = subprocess.run(  # noqa: S603 (the program that the user or PATH names)
            [program, "--version"],
            capture_output=True,
            timeout=CHECK_WITHIN_S,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as exc:
        return f"does not run: {exc.strerror}"
    except subprocess.TimeoutExpired:
        return f"does not answer `--version` within {CHECK_WITHIN_S:.0f} s"
    said = (asked.stdout + asked.stderr).strip()
    if asked.returncode:
        last = said.splitlines()[-1] if said else "it says nothing"
        return f"`--version` fails with status {asked.returncode}: {last}"
    return None if "version:" in said else "is no llama-server (its `--version` names another)"


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """A running llama-server; stop it by `stop`, or it ends with the process that started it."""

    url: str  # its OpenAI address, ending in /v1
    alias: str
    log_path: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def ended(self) -> str | None:
        """What to tell the user if the engine has died, or None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"llama-server for `{self.alias}` {how}: {_last_line(self.log_path)}"

    def stop(self) -> None:
        """End the engine, gently at first; once it has ended, nothing."""
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(
    binary: Path,
    model: Path,
    *,
    port: int,
    alias: str,
    slots: int,
    threads: int,
    ctx: int,
    log_path: Path,
    ready_within_s: float = READY_WITHIN_S,
) -> LlamaServer:
    """Start llama-server on the loopback and wait until it serves; the slots share `ctx` tokens.

    Call it from a thread that lives as long as the engine should: the kernel ends the engine with
    the thread that started it (where `setpriv` is installed, as util-linux does on Linux;
    elsewhere an engine outlives a parent that is killed with SIGKILL).

    raises EngineNotStarted
    """
    if not model.is_file():
        raise EngineNotStarted(f"`{model}`: there is no such model file")
    _check_port(port)
    options = {"--host": HOST, "--port": port, "--alias": alias, "-np": slots, "-t": threads}
    options |= {"-c": ctx, "--model": model}
    command = [*_ends_with_parent(), str(binary), "--metrics", "--slots", "--props", "--jinja"]
    command += [str(part) for option in options.items() for part in option]
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (our own arguments, no shell)
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C at the terminal is for us; we stop the engine in our order
        )
    server = LlamaServer(f"http://{HOST}:{port}/v1", alias, log_path, process)
    try:
        _wait_until_ready(server, port, ready_within_s)
    except BaseException:  # Ctrl-C while it loads, too
        server.stop()
        raise
    return server


def free_port() -> int:
    """Pick a port of the loopback that nobody listens on now."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _check_port(port: int) -> None:
    try:
        socket.create_server((HOST, port)).close()
    except OSError as exc:
        raise EngineNotStarted(
            f"port {port} can't be used for llama-server: {exc.strerror}; "
            f"stop what listens there (`ss -ltnp 'sport = :{port}'` names it) or use another port"
        ) from exc


def _ends_with_parent() -> list[str]:
    # prctl through a preexec_fn is not safe in a program with threads; setpriv does it after fork
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _wait_until_ready(server: LlamaServer, port: int, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        healthy = _is_healthy(port)
        if ended := server.ended:
            raise EngineNotStarted(f"{ended} (all of it: `{server.log_path}`)")
        if healthy:
            return
        time.sleep(POLL_S)
    raise EngineNotStarted(
        f"llama-server for `{server.alias}` is not ready after {within_s:g} s: "
        f"{_last_line(server.log_path)} (all of it: `{server.log_path}`)"
    )


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200  # noqa: PLR2004 (OK; 503 while it loads)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log_path: Path) -> str:
    with log_path.open("rb") as log:
        log.seek(max(0, log.seek(0, 2) - LOG_TAIL_BYTES))
        lines = log.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it logged nothing")

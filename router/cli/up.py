"""``sluice up``: local lanes and the router on one machine, and what to try."""

import json
import re
import shlex
import shutil
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click
from click.core import ParameterSource

from backends import files
from backends.engines import EngineError
from router import entry, lanes
from router.cli import lock, options
from router.cli.engine import engine
from router.cli.errors import FAILED, INVALID, Ends, told
from router.identity import RIGHTS, Key
from router.settings import DEFAULT_PORT, DEFAULT_STATE, Settings, cores, environment
from router.sources import DEMO_FLEETS, Sources
from router.store import open_keys

DRAIN_S = 3  # a demo ends quickly
PORT = click.IntRange(1, 65535)
TICKETS = (
    "Classify this ticket as billing, technical or shipping: I was charged twice for my order",
    "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了",
)
PROOF = "Prove that there are infinitely many primes congruent to 3 mod 4, then generalise it"


@click.command("up")
@click.option("--port", type=PORT, default=DEFAULT_PORT, show_default=True, help="Of the router.")
@click.option("--cpu-port", type=PORT, default=lanes.CPU_PORT, show_default=True)
@click.option("--accelerator-port", type=PORT, default=lanes.ACCELERATOR_PORT, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="Of the llama-server (default: half).")
@options.fleets
@options.policy
@options.state
@options.ledger
@options.calibration
@options.router_on
def command(
    port: int,
    cpu_port: int,
    accelerator_port: int,
    threads: int | None,
    fleets: Path | None,
    policy: Path | None,
    state: Path,
    store: str,
    calibration: Path | None,
    router_on: str,
) -> None:
    """Start the embedded lanes (or use those of --fleets) and the router, until Ctrl-C."""
    if fleets is not None:
        _refuse_lane_options(click.get_current_context())
    with told():  # what is wrong with the policy is told before anything is started
        Sources(state, fleets, policy).policies(files.catalogue(fleets, state, router_on))
    given = fleets
    with ExitStack() as running, told():
        if fleets is None:
            running.enter_context(lock.held(state))
        sock = running.enter_context(entry.listen("127.0.0.1", port, _another("--port")))
        if fleets is None:
            fleets = state / DEMO_FLEETS
            started = _start_lanes(running, fleets, cpu_port, accelerator_port, threads, state)
            stopped = threading.Event()
            running.callback(stopped.set)
            watcher = threading.Thread(
                target=lanes.watch, args=(started, _say, stopped), daemon=True
            )
            watcher.start()
        settings = Settings(
            state,
            fleets,
            policy,
            port=port,
            calibration=calibration,
            ledger=store,
            router_on=router_on,
            environment=environment(),
        )
        app = entry.build(settings)
        key = _demo_key(store, state)
        world = app.runtime.generation.world
        running_policy = f"{world.policy.name} ({world.hash_and_version})"
        why = _why(policy, given, state, calibration, router_on)
        entry.serve(
            app,
            sock,
            lambda: _hello(entry.address(sock), running_policy, key, state, why),
            drain_s=DRAIN_S,
        )
        click.echo("stopping")


def _refuse_lane_options(context: click.Context) -> None:
    for name in ("cpu_port", "accelerator_port", "threads"):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise Ends(
                f"`{option}` is of the embedded lanes: with `--fleets` none is started", INVALID
            )


def _start_lanes(
    running: ExitStack,
    fleets: Path,
    cpu_port: int,
    accelerator_port: int,
    threads: int | None,
    state: Path,
) -> list[lanes.Lane]:
    logs = state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    if cpu_port == accelerator_port:
        raise Ends("`--cpu-port` and `--accelerator-port` are the same: two servers start", INVALID)
    try:
        lanes.check_port(cpu_port, "the llama-server", _another("--cpu-port"))
        lanes.check_port(accelerator_port, "the emulated fleets", _another("--accelerator-port"))
        binary = engine()
        cpu = lanes.start_cpu(binary, cpu_port, threads or max(1, cores() // 2), logs)
        running.callback(cpu.stop)
        click.echo(f"lane cpu: llama-server with the tiny Qwen3 on port {cpu_port}")
        # Only now: a start that fails must not change what a running router reads.
        _write_catalogue(fleets, cpu_port, accelerator_port)
        accelerator = lanes.start_accelerator(fleets, accelerator_port, state, logs)
    except (EngineError, lanes.LaneFailed) as exc:
        raise Ends(str(exc), FAILED) from None
    running.callback(accelerator.stop)
    click.echo(
        f"lane accelerator: emulated fleets on port {accelerator_port} (no model runs there)"
    )
    return [cpu, accelerator]


def _another(option: str) -> str:
    """Return how another port is chosen; `make` hands options on by ARGS."""
    if "MAKELEVEL" not in environment():
        return f"`{option}`"
    return f"`{option}` (make up ARGS='--port N --cpu-port N --accelerator-port N')"


def _write_catalogue(path: Path, cpu_port: int, accelerator_port: int) -> None:
    """Write the embedded catalogue with the chosen ports; the router watches that file."""
    ports = {lanes.CPU_PORT: cpu_port, lanes.ACCELERATOR_PORT: accelerator_port}
    pattern = re.compile(rf"(?<=127\.0\.0\.1:)({'|'.join(map(str, ports))})\b")
    text = pattern.sub(lambda port: str(ports[int(port[0])]), files.embedded_fleets().text)
    path.write_text(text, "utf-8")


def _demo_key(setting: str, state: Path) -> str:
    """Return the demo's key: made once, kept readable by its owner alone."""
    path = state / "demo.key"
    store = open_keys(setting, state, environment(), time.monotonic)
    now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
    try:
        if path.exists():
            key = path.read_text("utf-8").strip()
            if store.find(key, now) is not None:
                return key
        key = store.create(
            Key(id="", tenant="demo", allowed_tags=("*",), may=RIGHTS, admin=True), now
        )
    finally:
        store.close()
    path.touch(mode=0o600)
    path.write_text(key + "\n", "utf-8")
    return key


def _why(
    policy: Path | None, fleets: Path | None, state: Path, calibration: Path | None, router_on: str
) -> str:
    """Return the command that tells how this router decides about hard work."""
    options = {
        "--policy": policy,
        "--fleets": fleets,
        "--state": None if state == DEFAULT_STATE else state,
        "--calibration": calibration,
        "--router-on": None if router_on == "local" else router_on,
    }
    given = [word for name, at in options.items() if at is not None for word in (name, str(at))]
    sluice = shutil.which("sluice") or sys.argv[0]
    return shlex.join([sluice, "route", PROOF, *given])


def _hello(address: str, policy: str, key: str, state: Path, why: str) -> None:
    lines = [
        "",
        f"sluice is up: {address}/v1",
        f"policy: {policy}",
        f"key: {key}",
        "",
        "try it, in English and in Chinese (simple work: the CPU lane answers):",
        *(_curl(address, key, text) for text in TICKETS),
        "",
        f"hard work goes to an accelerator; see why: {why}",
        f"every decision leaves a receipt in {state / 'receipts'}; Ctrl-C stops everything",
    ]
    click.echo("\n".join(lines))


def _curl(address: str, key: str, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    body = {"model": "auto", "temperature": 0, "messages": messages}  # 0: the same label each time
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return (
        f"\ncurl -i -w '\\n' {address}/v1/chat/completions -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d {data}"
    )


def _say(line: str) -> None:
    click.echo(line, err=True)

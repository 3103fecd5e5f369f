"""`make soak`: many streams for minutes, while model servers and the router's workers are killed.

Two real llama-servers with the shipped model and an emulated lane stand behind a real `sluice serve
--workers 2`. At random moments a llama-server or a worker gets SIGKILL; a llama-server is started
again. One worker is spared, so that its memory and descriptors can be compared over the whole run.

A request is lost before its first token where it got no content and its failure was a fleet's (any
5xx that is no `come back later`), or where its connection broke and two more tries (what SDKs do)
did not help. What a killed worker takes with it is counted apart: connections that broke before
content, which their callers made again, and streams that broke in their middle.

    python tools/soak.py [--minutes 10] [--streams 50] [--seed 7]

Exit code 1: something of what is held did not hold. It ends only processes that it started.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backends import open_files
from backends.base import BackendError
from backends.engines import llama_cpp, tiny_model
from backends.engines.llama_cpp import LlamaServer
from backends.http1 import Client
from router.cli.engine import engine
from router.identity import Key
from router.keys import KeyStore
from router.ledger.audit import violations
from router.ledger.sqlite import SqliteLedger

WORKERS = 2
TRIES = 3  # of a caller whose connection broke: as OpenAI's SDK, the first included
WARM_UP = 0.2  # of the time, before memory and descriptors are looked at first
QUIET_S = 2.0  # without a request, before they are
KILL_EVERY_S = (3.0, 9.0)
AWAY_S = (0.5, 3.0)  # of a killed llama-server, before it is started again
TO_A_WORKER = 0.35  # of the kills
EXPLAINED_S = 5.0  # a connection that breaks so soon after a worker was killed was that worker's
MOST_GROWTH = 0.05
MORE_DESCRIPTORS = 3
AFTER_ALL_LEASES_S = 4e9
ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
PROMPTS = (
    "Classify this ticket as billing, technical or shipping: I was charged twice for my order",
    "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了",
)

FLEETS = """
version: 1
models:
  - {{id: qwen3-tiny, context_tokens: 2048}}
  - {{id: llama-4-scout, context_tokens: 100000}}
fleets:
  - {{id: llama-a, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http, url: "{a}",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b, replicas: {{min: 1, max: 1, concurrency_each: 8}}}}
  - {{id: llama-b, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http, url: "{b}",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b, replicas: {{min: 1, max: 1, concurrency_each: 8}}}}
  - {{id: emulated, model: llama-4-scout, lane: accelerator, engine: emulated, kind: emulated, url: "{emulator}/emulated/v1",
     instance: p5.48xlarge, region: us-east-1, profile: p5.48xlarge/llama-4-scout, replicas: {{min: 1, max: 1, concurrency_each: 256}}}}
"""  # noqa: E501  (a fleet is a line or two)
POLICY = """
version: 1
name: soak
baseline: llama-4-scout@emulated
defaults:
  quality_floor: 0
  slo: {ttft_p95_ms: null, e2e_p95_ms: null}
  limits: {deadline_ms: 40000, ttft_timeout_ms: 12000, inter_chunk_timeout_ms: 8000, attempts: 3,
           breaker: {failures: 2, open_ms: 1000}}
rules:
  - {id: to-the-cpu, when: {tags: {lane: cpu}}, use: {in_order: [cpu, accelerator]}}
  - {id: rest, use: {in_order: [accelerator, cpu]}}
budgets:
  - {id: all, match: {}, usd: 1000, per: month, when_spent: reject}
  - {id: scarce, match: {team: scarce}, usd: SCARCE, per: month, when_spent: reject}
"""
SCARCE_USD = 0.0004  # soon spent: what the scarce team is refused then is no loss


@dataclass
class Tally:
    """What became of requests; `costs` of answered ones by request id, as their callers saw it."""

    ends: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    costs: dict[str, str] = field(default_factory=dict)
    first_token_s: list[float] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    worker_killed_s: float = -1e9


@dataclass
class Arena:
    """The running parts. `spared` is the worker that is never killed."""

    router: "subprocess.Popen[str]"
    url: str
    state: Path
    keys: tuple[str, str]  # of the team that has money, and of the one that soon has none
    llamas: dict[str, LlamaServer]
    restart: "Restart"
    ports: set[int]  # of the fleets
    spared: int = 0


@dataclass
class Restart:
    binary: Path
    logs: Path

    def __call__(self, name: str, port: int) -> LlamaServer:
        return llama_cpp.start(
            self.binary,
            tiny_model(),
            port=port,
            alias="qwen3-tiny",
            slots=4,
            threads=1,
            ctx=8192,
            log_path=self.logs / f"{name}.log",
        )


# -- the parts -------------------------------------------------------------------------------------


@contextmanager
def started(command: list[str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    with (
        log.open("w") as told,
        subprocess.Popen(  # noqa: S603  (our own programs)
            command, stdout=subprocess.PIPE, stderr=told, text=True, process_group=0
        ) as running,
    ):
        try:
            yield running
        finally:
            if running.poll() is None:
                running.terminate()
                try:
                    running.wait(60)
                except subprocess.TimeoutExpired:
                    running.kill()


def first_line(running: "subprocess.Popen[str]", log: Path) -> str:
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        raise SystemExit(f"it did not start: {log.read_text('utf-8')}")
    return line


def build(stack: ExitStack, folder: Path) -> Arena:
    restart = Restart(engine(), folder)
    llamas = {}
    for name in ("llama-a", "llama-b"):
        llamas[name] = restart(name, llama_cpp.free_port())
    stack.callback(stop_all, llamas)
    urls = {"a": llamas["llama-a"].url, "b": llamas["llama-b"].url}
    fleets, policy = folder / "fleets.yaml", folder / "policy.yaml"
    fleets.write_text(FLEETS.format(**urls, emulator="http://127.0.0.1:1"), "utf-8")
    command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0"]
    command += ["--fleets", str(fleets), "--time-scale", "4"]  # 32 ms a token: not all of the core
    log = folder / "emulator.log"
    emulator = first_line(stack.enter_context(started(command, log)), log).split()[-1]
    fleets.write_text(FLEETS.format(**urls, emulator=emulator), "utf-8")
    policy.write_text(POLICY.replace("SCARCE", f"{SCARCE_USD:.12f}"), "utf-8")
    state = folder / "state"
    state.mkdir()
    store = KeyStore(state, time.monotonic)
    rich, poor = (
        store.create(
            Key(id="", tenant="soak", team=team, allowed_tags=("lane",)), "2026-01-01T00:00:00Z"
        )
        for team in ("rich", "scarce")
    )
    store.close()
    command = [sys.executable, "-m", "router.cli", "serve", "--port", "0", "--state", str(state)]
    command += ["--fleets", str(fleets), "--policy", str(policy), *workers_option()]
    log = folder / "router.log"
    router = stack.enter_context(started(command, log))
    url = first_line(router, log).split()[3]
    ports = {port_of(u) for u in (*urls.values(), emulator)}
    return Arena(router, url, state, (rich, poor), llamas, restart, ports)


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/", maxsplit=1)[0])


def stop_all(llamas: dict[str, LlamaServer]) -> None:
    for server in llamas.values():
        server.stop()


def workers_option() -> list[str]:
    """Ask for workers where this version has them."""
    told = subprocess.run(
        [sys.executable, "-m", "router.cli", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return ["--workers", str(WORKERS)] if "--workers" in told.stdout else []


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def resident_kb(pid: int) -> int:
    said = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(said[1]) if said else 0


def descriptors(pid: int, ports: set[int]) -> tuple[int, int]:
    """Return how many descriptors it holds: kept connections to these ports, and all others."""
    open_to_ports = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, *rest = line.split()
        if int(remote.split(":")[1], 16) in ports:
            open_to_ports.add(f"socket:[{rest[5]}]")
    kept = others = 0
    for name in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held = str(name.readlink()) in open_to_ports
        except FileNotFoundError:  # closed while they were listed
            continue
        kept, others = kept + held, others + (not held)
    return kept, others


# -- callers ---------------------------------------------------------------------------------------


class Callers:
    """So many callers, each with one stream after the other; `go` cleared: they wait."""

    def __init__(self, arena: Arena, tally: Tally, seed: int) -> None:
        self.arena, self.tally, self.seed = arena, tally, seed
        self.go = asyncio.Event()
        self.go.set()
        self.busy = 0
        self.ended = False

    async def caller(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)  # noqa: S311  (which prompt, which lane)
        poor = number % 10 == 0
        while not self.ended:
            await self.go.wait()
            self.busy += 1
            try:
                self.tally.ends[await self.request(chance, poor=poor)] += 1
            finally:
                self.busy -= 1
            await asyncio.sleep(chance.uniform(0.0, 0.2) + (1.0 if poor else 0.0))

    async def request(self, chance: random.Random, *, poor: bool) -> str:
        """Make a request as a caller with an SDK does; return what became of it."""
        body = json.dumps(
            {
                "model": "auto",
                "stream": True,
                "max_tokens": chance.choice((8, 32, 64)),
                "messages": [{"role": "user", "content": chance.choice(PROMPTS)}],
                "ignore_eos": True,
            }
        ).encode()
        tags = {"x-sluice-tags": f"lane={chance.choice(('cpu', 'accelerator'))}"}
        headers = {"authorization": f"Bearer {self.arena.keys[poor]}", **tags}
        again = ""
        for _ in range(TRIES):
            end = await self.stream(headers, body)
            if end not in ("disconnected", "come back later"):
                return end + again
            again = " after another try"
            await asyncio.sleep(chance.uniform(0.5, 1.0))
        return f"lost: {end}"

    async def stream(self, headers: dict[str, str], body: bytes) -> str:
        # A connection of its own each time, so that none is made again but by `request`.
        client = Client(f"{self.arena.url}/v1", headers, max_idle=0)
        began, content = time.monotonic(), False
        raw = b""
        try:
            response = await client.request(
                "POST", "/chat/completions", body, whole=False, timeout_s=60.0
            )
            if response.status != 200:
                return self.refused(response.status, await response.body(10.0))
            while part := await response.read(60.0):
                raw += part
                if not content and b'"content":"' in raw.replace(b'"content":""', b""):
                    content = True
                    self.tally.first_token_s.append(time.monotonic() - began)
        except BackendError as exc:
            self.tally.codes[exc.code] += 1
            explained = time.monotonic() - self.tally.worker_killed_s < EXPLAINED_S
            if not explained:
                return "lost: a connection broke, and no worker had been killed"
            return "cut by a worker's death" if content else "disconnected"
        finally:
            await client.aclose()
        if b'"stream_broken"' in raw:
            return "cut by a fleet's death, and told" if content else "lost: no content"
        if raw.count(b"data: [DONE]") != 1 or raw.count(b'"role":"assistant"') > 1:
            return "wrong: an end without [DONE], or two beginnings"
        cost = re.search(rb": x-sluice-cost-usd ([0-9.]+)\n", raw)
        if cost:
            self.tally.costs[response.headers[b"x-sluice-request-id"].decode()] = cost[1].decode()
        return "answered"

    def refused(self, status: int, raw: bytes) -> str:
        code = json.loads(raw)["error"]["code"]
        self.tally.codes[f"{status} {code}"] += 1
        if status == 402:
            return "refused: its budget is spent"
        return "come back later" if status in (429, 503) else f"lost: {status} {code}"

    async def quiet(self) -> None:
        """Let what runs end, and nothing new begin."""
        self.go.clear()
        while self.busy:  # noqa: ASYNC110  (fifty callers, once or twice a run)
            await asyncio.sleep(0.05)
        await asyncio.sleep(QUIET_S)


async def kill_at_random(
    arena: Arena, tally: Tally, chance: random.Random, stop: asyncio.Event
) -> None:
    """Kill one after the other; what was killed runs again when this returns."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), chance.uniform(*KILL_EVERY_S))
        if stop.is_set():
            return
        others = [pid for pid in children(arena.router.pid) if pid != arena.spared]
        if others and chance.random() < TO_A_WORKER:
            tally.worker_killed_s = time.monotonic()
            os.kill(chance.choice(others), signal.SIGKILL)
            tally.kills["router's workers"] += 1
            continue
        name = chance.choice(sorted(arena.llamas))
        server = arena.llamas[name]
        server.process.kill()
        server.process.wait()
        tally.kills["llama-servers"] += 1
        await asyncio.sleep(chance.uniform(*AWAY_S))
        arena.llamas[name] = await asyncio.to_thread(arena.restart, name, port_of(server.url))


# -- the run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Held:
    """What one process holds while nobody asks: kept connections to fleets, other descriptors."""

    kb: int
    kept: int
    descriptors: int


async def run(arena: Arena, tally: Tally, given: argparse.Namespace) -> tuple[Held, Held]:
    """Put it under load for the minutes; return what the spared process held early and late."""
    workers = children(arena.router.pid)
    arena.spared = min(workers, default=arena.router.pid)
    callers = Callers(arena, tally, given.seed)
    asking = [asyncio.create_task(callers.caller(n)) for n in range(given.streams)]

    async def load(seconds: float, seed: int) -> Held:
        stop = asyncio.Event()
        chance = random.Random(seed)  # noqa: S311  (when whom to kill)
        killing = asyncio.create_task(kill_at_random(arena, tally, chance, stop))
        callers.go.set()
        await asyncio.wait([killing], timeout=seconds)  # sooner only where it failed
        stop.set()
        await killing
        await callers.quiet()
        return Held(resident_kb(arena.spared), *descriptors(arena.spared, arena.ports))

    seconds = given.minutes * 60
    early = await load(seconds * WARM_UP, given.seed)
    late = await load(seconds * (1 - WARM_UP), given.seed + 1)
    callers.ended = True
    callers.go.set()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return early, late


def audit(state: Path, tally: Tally) -> tuple[list[str], list[str]]:
    """Return what is wrong with the books, and what they say."""
    ledger = SqliteLedger(state)
    try:
        leases = ledger.expire(AFTER_ALL_LEASES_S).leases
        books = ledger.books()
        rows = list(ledger.entries(*ALWAYS))
    finally:
        ledger.close()
    wrong = list(violations(books))
    wrong += [f"{held} is held after all leases ended" for held in books.held]
    charged = Counter[str]()
    for row in rows:
        charged[row.request_id] += row.nano
    for request_id, usd in tally.costs.items():
        if f"{charged[request_id] / 1e9:.9f}" != usd:
            wrong.append(
                f"{request_id}: its caller saw {usd}, the ledger has {charged[request_id]}"
            )
    said = [f"{len(rows)} rows; leases of killed workers that had yet to run out: {leases}"]
    said += [
        f"{scope.name}: limit {scope.limit} = avail {scope.avail} + reserved {scope.reserved} "
        f"+ spent {scope.spent} nano-USD"
        for scope in books.scopes.values()
    ]
    return wrong, said


def report(
    tally: Tally, held: tuple[Held, Held], books: tuple[list[str], list[str]], streams: int
) -> list[str]:
    """Print the summary; return what did not hold."""
    early, late = held
    wrong, said = books
    growth = late.kb / early.kb - 1
    lost = {end: n for end, n in tally.ends.items() if end.startswith(("lost", "wrong"))}
    broken = [f"{n} x {end}" for end, n in lost.items()] + wrong
    if growth > MOST_GROWTH:
        broken.append(f"memory grew by {growth:.1%}")
    if late.descriptors > early.descriptors + MORE_DESCRIPTORS:
        broken.append(f"descriptors went from {early.descriptors} to {late.descriptors}")
    if late.kept > streams:
        broken.append(f"{late.kept} connections to fleets are kept, of {streams} streams")
    first = sorted(tally.first_token_s)
    for end, n in tally.ends.most_common():
        print(f"  {n:7}  {end}")
    print(f"  {sum(lost.values()):7}  lost before the first token, or wrong")
    print("  killed: " + ", ".join(f"{n} {what}" for what, n in tally.kills.items()))
    print("  seen by callers: " + ", ".join(f"{n} x {c}" for c, n in tally.codes.most_common()))
    print(
        f"  first token: p50 {statistics.median(first) * 1e3:.0f} ms, "
        f"p99 {first[len(first) * 99 // 100] * 1e3:.0f} ms"
    )
    print(f"  memory: {early.kb / 1024:.1f} -> {late.kb / 1024:.1f} MB ({growth:+.1%})")
    print(
        f"  descriptors: {early.descriptors} -> {late.descriptors}, and connections to fleets that "
        f"are kept: {early.kept} -> {late.kept}"
    )
    print(f"  {len(tally.costs)} costs that callers saw, each as the ledger has it: {not wrong}")
    for line in said:
        print(f"  {line}")
    print("all of it held" if not broken else "NOT HELD:\n  " + "\n  ".join(broken[:20]))
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    if given.minutes <= 0 or given.streams <= 0:
        parser.error("--minutes and --streams are more than 0")
    open_files.allow_many()
    folder = Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    tally = Tally()
    with ExitStack() as stack:
        arena = build(stack, folder)
        workers = len(children(arena.router.pid))
        print(
            f"{given.minutes:g} minutes, {given.streams} streams, seed {given.seed}, "
            f"{workers or 'no'} workers, 2 llama-servers, 1 emulated lane",
            flush=True,
        )
        held = asyncio.run(run(arena, tally, given))
    broken = report(tally, held, audit(arena.state, tally), given.streams)
    if broken:
        print(f"its logs are in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

"""`make reality`: a load through a real router, and the replay of its own receipts beside it.

    python -m tools.replay.reality [--emulated] [--engine] [--runs 3] [--rate 3] [--seconds 15]

Emulated: `sluice serve` over two emulated fleets, of which the cheap one has too few places, so
that who waits and who is sent elsewhere is part of what is predicted. Engine: over a real
llama-server with the shipped model, which `sluice fleet measure` measured just before. Requests
come open-loop (Poisson); what their caller saw is `measured`. Then the router's receipts are
replayed with the same catalogue and policy: `predicted`. Times are those of this machine now.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from backends.engines import llama_cpp, tiny_model
from router.cli.engine import engine
from router.replay.outcome import SERVED
from router.replay.run import replay
from router.sources import Sources
from router.traces.opening import open_trace
from tools.replay.real_load import Asked, Seen, prompts, sent

NANO = 1_000_000_000
POLICY = """
version: 1
name: reality
baseline: llama-4-scout@large
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules:
  - id: simple
    when: {tier: simple}
    use: {in_order: [cpu, accelerator]}
    slo: {ttft_p95_ms: 1500}
    relax: []
  - {id: rest, use: {in_order: [accelerator, cpu]}}
"""
EMULATED = """
version: 1
models: [{{id: qwen3-tiny, context_tokens: 32000}}, {{id: llama-4-scout, context_tokens: 32000}}]
fleets:
  - {{id: small, model: qwen3-tiny, lane: cpu, engine: emulated, kind: emulated,
     profile: reality/small, url: "{emulator}/small/v1", instance: c8g.xlarge,
     region: us-east-1, usd_per_hour: 0.16,
     replicas: {{min: 1, max: 1, concurrency_each: 4}}}}
  - {{id: large, model: llama-4-scout, lane: accelerator, engine: emulated, kind: emulated,
     profile: reality/large, url: "{emulator}/large/v1", instance: g6e.48xlarge, region: us-east-1,
     usd_per_hour: 20, replicas: {{min: 1, max: 1, concurrency_each: 12}}}}
"""
PROFILES = """
version: 1
profiles:
  - {id: reality/small, model: qwen3-tiny, instance: c8g.xlarge, source: made up, mark: assumed,
     tokens_in: 200, ttft_ms: 400,
     points: [{concurrency: 1, tok_s: 50}, {concurrency: 4, tok_s: 120}]}
  - {id: reality/large, model: llama-4-scout, instance: g6e.48xlarge, source: made up,
     mark: assumed, tokens_in: 200, ttft_ms: 250,
     points: [{concurrency: 1, tok_s: 60}, {concurrency: 12, tok_s: 400}]}
"""
ENGINE = """
version: 1
models: [{{id: qwen3-tiny, context_tokens: 4096}}]
fleets:
  - {{id: large, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http, url: "{url}",
     instance: here, region: local, context_tokens: 2048, usd_per_hour: 0.1,
     {profile} replicas: {{min: 1, max: 1, concurrency_each: 2}}}}
"""
ENGINE_POLICY = """
version: 1
name: reality
baseline: qwen3-tiny@large
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules: [{id: all, use: cpu}]
"""
MEASURED_AT = ("--concurrency", "1,2", "--tokens", "300+200", "--tokens", "900+200")
CHARS, TOKENS_OUT = (600, 1500), (150, 300)  # of the requests to the engine


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of a load, predicted or measured. `usd`: all charges. `fleets`: of each request,
    in the order of their arrival; None: nobody answered.
    """

    fleets: tuple[str | None, ...]
    ttft_ms: tuple[float, ...]
    e2e_ms: tuple[float, ...]
    usd: float


@dataclass(frozen=True, slots=True)
class Run:
    """`drift`: how many times slower the machine itself was after the load than before; 1: it is
    no machine's time (the emulator's is a clock's).
    """

    predicted: Figures
    measured: Figures
    drift: float = 1.0


@dataclass(frozen=True, slots=True)
class Compared:
    """One line: `error` is relative, but for shares, where it is the difference."""

    what: str
    predicted: float
    measured: float

    @property
    def is_share(self) -> bool:
        return self.what.startswith("share")

    @property
    def error(self) -> float:
        if self.is_share:
            return self.predicted - self.measured
        return self.predicted / self.measured - 1


# -- predicted and measured ------------------------------------------------------------------------


def predicted(state: Path, fleets: Path, policy: Path) -> Figures:
    """Replay the receipts of a router's state with its own catalogue and policy."""
    world = Sources(state, fleets, policy, "local").load()
    trace = open_trace(str(state))
    run = replay(world, trace)
    served = [i for i in range(len(trace)) if run.outcome[i] == SERVED]
    return Figures(
        tuple(run.fleets[place].fleet if place >= 0 else None for place in run.fleet),
        tuple(run.ttft_ms[i] for i in served),
        tuple(run.e2e_ms[i] for i in served),
        sum(nano for nano in run.usd_nano if nano > 0) / NANO,
    )


def measured(state: Path, seen: Sequence[Seen]) -> Figures:
    """Return what callers saw, and what the receipts say of fleets and charges."""
    receipts = [
        json.loads(line)
        for path in sorted((state / "receipts").glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]
    receipts.sort(key=lambda receipt: str(receipt["at"]))
    return Figures(
        tuple(r["attempts"][-1]["fleet"] if r["attempts"] else None for r in receipts),
        tuple(one.ttft_ms for one in seen if one.fleet),
        tuple(one.e2e_ms for one in seen if one.fleet),
        sum(receipt["charge"].get("usd") or 0.0 for receipt in receipts),
    )


def compared(run: Run) -> list[Compared]:
    """Return the table's lines."""
    said, found = run.predicted, run.measured
    lines = [Compared("requests answered", len(said.e2e_ms), len(found.e2e_ms))]
    shares = Counter(said.fleets), Counter(found.fleets)
    for fleet in sorted({name for name in (*said.fleets, *found.fleets) if name}):
        of = [count[fleet] / len(found.fleets) for count in shares]
        lines.append(Compared(f"share of {fleet}", *of))
    for name in ("ttft_ms", "e2e_ms"):
        for share, told in ((0.5, "p50"), (0.95, "p95")):
            pair = [quantile(getattr(figures, name), share) for figures in (said, found)]
            lines.append(Compared(f"{name} {told}", *pair))
    lines.append(Compared("usd charged", said.usd, found.usd))
    return lines


def agreed(run: Run) -> float:
    """Return the share of requests that went to the fleet that was predicted for them."""
    pairs = list(zip(run.predicted.fleets, run.measured.fleets, strict=True))
    return sum(one == other for one, other in pairs) / len(pairs)


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


# -- the loads -------------------------------------------------------------------------------------


@contextmanager
def running(*command: object) -> Iterator[str]:
    """Run a process of ours; yield its first line; end it after."""
    with subprocess.Popen(  # noqa: S603  (ours)
        [sys.executable, "-m", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def router(state: Path, fleets: Path, policy: Path) -> Iterator[str]:
    command = ("router.cli", "serve", "--auth", "none", "--port", 0, "--state", state)
    with running(*command, "--fleets", fleets, "--policy", policy) as line:
        assert "listens on" in line, line
        yield line.split()[3]


def emulated_run(folder: Path, asked: Sequence[Asked]) -> Run:
    """Send the load over emulated fleets; return what was predicted and what was measured."""
    state, fleets, policy = folder / "state", folder / "fleets.yaml", folder / "policy.yaml"
    (state / "profiles").mkdir(parents=True)
    (state / "profiles" / "reality.yaml").write_text(PROFILES)
    policy.write_text(POLICY)
    fleets.write_text(EMULATED.format(emulator="http://127.0.0.1:1"))
    options = ("--fleets", fleets, "--state", state, "--port", 0)
    with running("backends.engines.emulator", *options) as line:
        fleets.write_text(EMULATED.format(emulator=line.split()[-1]))
        with router(state, fleets, policy) as url:
            seen = sent(url, asked)
    return Run(predicted(state, fleets, policy), measured(state, seen))


def engine_run(folder: Path, url: str, asked: Sequence[Asked], requests: int = 6) -> Run:
    """Measure the llama-server at `url` with so many requests a load, send it the load, and
    measure it again.
    """
    state, fleets, policy = folder / "state", folder / "fleets.yaml", folder / "policy.yaml"
    state.mkdir(parents=True)
    policy.write_text(ENGINE_POLICY)
    fleets.write_text(ENGINE.format(url=url, profile=""))
    before = profiled(state, fleets, state / "profiles" / "here.yaml", requests)
    fleets.write_text(ENGINE.format(url=url, profile="profile: here/qwen3-tiny,"))
    with router(state, fleets, policy) as served:
        seen = sent(served, asked)
    said = predicted(state, fleets, policy)
    after = profiled(state, fleets, folder / "after.yaml", requests)
    drift = statistics.median(late / early for early, late in zip(before, after, strict=True))
    return Run(said, measured(state, seen), drift)


def profiled(state: Path, fleets: Path, out: Path, requests: int) -> list[float]:
    """Measure fleet `large` into this profile file; return the median time of each load, in ms."""
    command: tuple[object, ...]
    command = ("fleet", "measure", "--fleet", "large", "--fleets", fleets, "--state", state)
    command += ("--requests", requests, "--out", out)
    out.parent.mkdir(exist_ok=True)
    subprocess.run(  # noqa: S603  (ours)
        [sys.executable, "-m", "router.cli", *map(str, command), *MEASURED_AT],
        check=True,
        capture_output=True,
    )
    points = yaml.safe_load(out.read_text())["profiles"][0]["points"]
    return [point["e2e_ms"]["p50"] for point in points]


# -- the report ------------------------------------------------------------------------------------


def printed(name: str, runs: Sequence[Run]) -> None:
    """Print the table: of several runs the medians, and the largest error among them."""
    tables = [compared(run) for run in runs]
    count = len(runs[0].measured.fleets)
    print(f"\n{name}: {len(runs)} runs of {count} requests or so\n")
    print("| | predicted | measured | error | largest error |\n|---|---|---|---|---|")
    names = dict.fromkeys(line.what for table in tables for line in table)
    for what in names:
        lines = [line for table in tables for line in table if line.what == what]
        errors = [line.error for line in lines]
        middle = statistics.median_low(errors)
        line = lines[errors.index(middle)]
        worst = max(errors, key=abs)
        form = f"{line.predicted:,.4g} | {line.measured:,.4g}"
        print(f"| {what} | {form} | {middle:+.1%} | {worst:+.1%} |")
    same = [agreed(run) for run in runs]
    print(f"\nRequests sent to the fleet that was predicted: {min(same):.0%} or more")
    drifts = [f"{run.drift:.2f}" for run in runs if run.drift != 1]
    if drifts:
        print(f"The machine itself, after against before: {', '.join(drifts)} times as slow")


def repeated(runs: int, run: Callable[[Path, int], Run]) -> list[Run]:
    found = []
    for seed in range(1, runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(Path(folder), seed))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulated", action="store_true", help="only the emulated fleets")
    parser.add_argument("--engine", action="store_true", help="only the real llama-server")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second, emulated")
    parser.add_argument("--engine-rate", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    both = given.emulated == given.engine
    if both or given.emulated:

        def emulated(folder: Path, seed: int) -> Run:
            return emulated_run(folder, prompts(given.rate, given.seconds, seed))

        printed("Emulated fleets", repeated(given.runs, emulated))
    if both or given.engine:
        with ExitStack() as stack:
            url = stack.enter_context(llama())

            def real(folder: Path, seed: int) -> Run:
                asked = prompts(given.engine_rate, given.seconds, seed, CHARS, TOKENS_OUT)
                return engine_run(folder, url, asked)

            printed("A real llama-server", repeated(given.runs, real))


@contextmanager
def llama() -> Iterator[str]:
    """Yield the url of a llama-server with the shipped model, two slots, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        server = llama_cpp.start(
            engine(),
            tiny_model(),
            port=llama_cpp.free_port(),
            alias="qwen3-tiny",
            slots=2,
            threads=1,
            ctx=4096,
            log_path=Path(folder) / "log",
        )
        try:
            yield server.url
        finally:
            server.stop()


if __name__ == "__main__":
    main()

"""How many requests a second a replay decides and serves on one core.

    python tools/bench_replay.py [--requests 200000] [--million]

Seven fleets, CPU time (`time.process_time`): the packaged default policy beside the same requests
through plain `router.decide.decide`, then the example policies, and which of them is the slowest.
With --million also the peak memory of a million requests.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import time
from array import array
from importlib import resources

from backends import files, parse
from backends.load import Load
from backends.parse import Source
from policies.model import Facts
from policies.parse import parse as parse_policy
from router.decide import decide
from router.replay.outcome import SERVED, Replayed
from router.replay.run import replay
from router.sources import names_of
from router.traces.trace import Trace
from router.world import World, world

SEVEN = (
    ("c8g", "m", "cpu", "c8g.xlarge/qwen3-0.6b", 8, 4),
    ("c7g", "m", "cpu", "c7g.xlarge/qwen3-0.6b", 8, 4),
    ("p5-scout", "llama-4-scout", "accelerator", "p5.48xlarge/llama-4-scout", 1, 1076),
    ("p4d-scout", "llama-4-scout", "accelerator", "p4d.24xlarge/llama-4-scout", 1, 1037),
    ("trn2-scout", "llama-4-scout", "accelerator", "trn2.48xlarge/llama-4-scout", 1, 1120),
    ("inf2-scout", "llama-4-scout", "accelerator", "inf2.48xlarge/llama-4-scout", 1, 1255),
    ("g6e-scout", "llama-4-scout", "accelerator", "g6e.48xlarge/llama-4-scout", 1, 986),
)
EXAMPLES = resources.files("policies").joinpath("examples")
RATES = (20.0, 100.0, 400.0)
START_S = 1_795_255_200.0


def seven(*policy: str) -> World:
    """Return seven fleets, two in the CPU lane, under a packaged policy (the default one)."""
    rows = [
        {
            "id": name,
            "model": model,
            "lane": lane,
            "engine": "vllm",
            "kind": "openai_http",
            "url": "http://127.0.0.1:9/v1",
            "instance": "box",
            "region": "local",
            "usd_per_hour": 1 + 10 * place,
            "profile": profile,
            "replicas": {"min": least, "max": 4 * least, "concurrency_each": each},
            "wake": {"seconds": 300, "min_run_seconds": 600},
        }
        for place, (name, model, lane, profile, least, each) in enumerate(SEVEN)
    ]
    models = [
        {
            "id": "m",
            "context_tokens": 8192,
            "abilities": ["json", "logprobs"],
            "quality": "qwen3-0.6b",
        },
        {"id": "llama-4-scout", "context_tokens": 100_000, "quality": "llama-4-scout"},
    ]
    text = json.dumps({"version": 1, "models": models, "fleets": rows})
    shelf = files.library()
    catalogue = parse.catalogue(Source("seven", text), shelf, files.router("local"))
    source = files.packaged("policies", *(policy or ("default.yaml",)))
    # No judge is among the seven, and a replay asks none.
    text = "".join(line for line in source.text.splitlines(True) if not line.startswith("shadow:"))
    return world(parse_policy(text, source.name, names_of(catalogue)), catalogue)


def trace(requests: int, rate: float) -> Trace:
    draw, now_s = random.Random(1), 0.0  # noqa: S311  (traffic, no secrets)
    columns = {
        name: array(code)
        for name, code in (
            ("at_s", "d"),
            ("tokens_in", "l"),
            ("tokens_out", "l"),
            ("expected", "l"),
            ("complexity", "d"),
            ("p_small", "d"),
            ("acceptable", "b"),
            ("kind", "l"),
        )
    }
    for _ in range(requests):
        now_s += draw.expovariate(rate)
        simple = draw.random() < 0.6
        expected = round(draw.lognormvariate(math.log(150), 0.6))
        row = (
            now_s,
            round(draw.lognormvariate(math.log(300), 0.8)) + 1,
            max(1, round(expected * draw.lognormvariate(0, 0.4))),
            max(1, expected),
            draw.random(),
            0.95 if simple else 0.3,
            int(simple),
            int(not simple),
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    kinds = tuple(
        Facts("", "shop", "search", "k", {}, task, tier, 0.0, 0.0, "en", 0, 0)
        for task, tier in (("classification", "simple"), ("code", "heavy"))
    )
    return Trace("bench", START_S, kinds=kinds, **columns)  # type: ignore[arg-type]


def plainly(found: World, asked: Trace, many: int) -> float:
    """Return requests a second that `decide` alone decides, at loads that don't change."""
    loads = [Load(in_flight=1, replicas=max(1, on.fleet.replicas.min)) for on in found.fleets]
    began_s = time.process_time()
    for i in range(many):
        decide(found, asked.facts(i), loads)
    return many / (time.process_time() - began_s)


def measured(requests: int) -> None:
    found = seven()
    for rate in RATES:
        asked = trace(requests, rate)
        out, per_s = timed(found, asked)
        served = out.outcome.count(SERVED) / requests
        plain = plainly(found, asked, 3000)
        busy = ", ".join(f"{run.fleet} {run.requests:,}" for run in out.fleets if run.requests)
        print(
            f"{rate:5g} requests/s: {per_s:9,.0f} replayed a second of CPU, {per_s / plain:4.1f} x "
            f"plain decide() ({plain:,.0f}); served {served:.1%} ({busy})",
            flush=True,
        )


def timed(found: World, asked: Trace) -> tuple[Replayed, float]:
    """Return what became of all, and how many were replayed a second of CPU."""
    began_s = time.process_time()
    out = replay(found, asked)
    return out, len(asked) / (time.process_time() - began_s)


def examples(requests: int) -> None:
    """Print how fast each example policy is at its slowest rate, the slowest policy last."""
    lines = []
    for name in sorted(entry.name for entry in EXAMPLES.iterdir() if entry.name.endswith(".yaml")):
        found = seven("examples", name)
        runs = [(rate, *timed(found, trace(requests, rate))) for rate in RATES]
        rate, out, per_s = min(runs, key=lambda run: run[-1])
        lines.append((per_s, f"{name} at {rate:g}/s: {per_s:,.0f}; {out.relaxed:,} relaxed"))
        print(lines[-1][1], flush=True)
    print(f"the slowest example: {min(lines)[1]}")


def million() -> None:
    """Replay a million requests in a process of its own, and print its peak memory."""
    code = (
        "import sys; sys.path.insert(0, 'tools'); import bench_replay as b; "
        "found, asked = b.seven(), b.trace(1_000_000, 100.0); b.replay(found, asked); b.peak()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603  (ours)


def peak() -> None:
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"a million requests: {mb:,.0f} MB, {time.process_time():,.1f} s of CPU, all told")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--million", action="store_true")
    given = parser.parse_args()
    measured(given.requests)
    examples(given.requests // 4)
    if given.million:
        million()


if __name__ == "__main__":
    main()

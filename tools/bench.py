"""`make bench`: where the microseconds of one request go, and the ratio to a direct call.

Everything runs on loopback, direct and routed in turn within one run, so that a ratio is between
figures taken within the same second. Absolute figures are this machine's at this moment.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from backends.http1 import Client
from backends.load import Load
from router import wire
from router.classify import Judge, Judgement, judge_by
from router.classify.artefact import from_json, packaged, to_json
from router.decide import decide
from router.estimate import estimate
from router.facts import facts_of
from router.features import read
from router.identity import NOBODY
from router.receipt import Outcome, receipt
from router.sources import Sources
from router.world import World

ROUNDS, BATCH = 12, 150
PROMPTS = {
    "English, 200 bytes": "Classify this ticket as billing, technical or shipping, one word only: "
    "I was charged twice for my order last week and nobody answers my mails, please help me to get "
    "my money back as soon as possible",
    "Chinese, 200 bytes": "把这条工单分类为 billing、technical 或 shipping，只回一个词：我的订单"
    "被重复扣款了两次，发了好几封邮件都没有人回复，请尽快帮我把钱退回来",
}
FLEETS = """
version: 1
models:
  - {id: m, context_tokens: 100000, abilities: [json]}
  - {id: llama-4-scout, context_tokens: 100000}
fleets:
  - {id: c8g, model: m, lane: cpu, engine: llama.cpp, kind: openai_http, url: "http://127.0.0.1:PORT/v1",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b,
     replicas: {min: 1, max: 1, concurrency_each: 64}}
  - {id: p5-scout, model: llama-4-scout, lane: accelerator, engine: vllm, kind: openai_http,
     url: "http://127.0.0.1:PORT/v1", instance: p5.48xlarge, region: us-east-1,
     profile: p5.48xlarge/llama-4-scout, replicas: {min: 1, max: 1, concurrency_each: 1076}}
"""


def stages() -> None:
    world = Sources(Path(tempfile.mkdtemp())).load()
    print(f"\nstages, CPU microseconds (best of 5), {len(world.fleets)} fleets")
    for name, text in PROMPTS.items():
        print(f"  {name}")
        timed = [
            (stage, min(timeit.repeat(run, number=300, repeat=5)))
            for stage, run in steps(world, text)
        ]
        for stage, seconds in [*timed, ("together", sum(seconds for _, seconds in timed))]:
            print(f"    {stage:<28}{seconds / 300 * 1e6:8.1f}")


def judging() -> None:
    """Print what reading and judging take by size, and what the artefact takes to load."""
    classify = judge_by()
    print("\nread + classify, CPU microseconds (best of 7), by bytes of prompt")
    for name, text in PROMPTS.items():
        language, raw = name.split(",")[0], text.encode()
        shown = [f"  {language:<10}"]
        for size in (200, 1_000, 10_000, 1_000_000):
            whole = (raw * (size // len(raw) + 1))[:size].decode(errors="ignore")
            body = {"messages": [{"role": "user", "content": whole}]}
            took = (
                min(timeit.repeat(lambda b=body, n=size: classify(read(b, n)), number=50, repeat=7))
                / 50
            )
            shown.append(f"{size:>11,}: {took * 1e6:6.1f}")
        print("".join(shown))
    raw_artefact = orjson.dumps(to_json(packaged()))
    load = min(timeit.repeat(lambda: from_json(orjson.loads(raw_artefact)), number=1, repeat=7))
    print(f"  the artefact: {len(raw_artefact):,} bytes, loaded in {load * 1e3:.1f} ms")


def _judged(classify: Judge, body: dict[str, object], size: int) -> Judgement:
    return classify(read(body, size))


def candidates() -> None:
    """Print what one fleet's estimate takes, as a multiple of an empty call in the same run."""
    world = Sources(Path(tempfile.mkdtemp())).load()
    request = wire.parse_chat(b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}')
    reading = read(request.body)
    features, judged = reading.features, judge_by()(reading)
    at = "2026-01-01T00:00:00.000Z"
    facts = facts_of(request, features, judged, NOBODY, wire.NO_HINTS, at)
    loads = [Load(committed=on.fleet.replicas.min) for on in world.fleets]

    def empty(_world: object, _facts: object, _loads: object, _limit: int) -> None:
        return None

    whole, bare = (
        min(timeit.repeat(run, number=2000, repeat=7)) / 2000 * 1e6
        for run in (
            lambda: estimate(world, facts, loads, 4096),
            lambda: empty(world, facts, loads, 4096),
        )
    )
    each = whole / len(world.fleets)
    print(f"\none candidate estimated: {each:.2f} us, {each / bare:.0f} empty calls")


def steps(world: World, text: str) -> list[tuple[str, Callable[[], object]]]:
    """Return the pure stages of one request, each as a call without arguments."""
    loads = [Load(committed=on.fleet.replicas.min) for on in world.fleets]
    at = "2026-01-01T00:00:00.000Z"
    raw = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]}).encode()
    classify = judge_by()
    request = wire.parse_chat(raw)
    reading = read(request.body)
    features, judged = reading.features, classify(reading)
    facts = facts_of(request, features, judged, NOBODY, wire.NO_HINTS, at)
    decision = decide(world, facts, loads)
    edit = wire.Edit(request, decision.plan.attempts[0].candidate.on.fleet, 100, None)
    return [
        ("parse", lambda: wire.parse_chat(raw)),
        ("features", lambda: read(request.body, request.sent_bytes)),
        ("classify", lambda: classify(reading)),
        ("facts", lambda: facts_of(request, features, judged, NOBODY, wire.NO_HINTS, at)),
        ("estimate + evaluate + plan", lambda: decide(world, facts, loads)),
        ("body for the fleet", lambda: wire.upstream_body(edit)),
        ("receipt", lambda: receipt("r", world, decision, Outcome())),
    ]


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        yield running
    finally:
        running.terminate()
        running.wait(10)


def cpu_s(pid: int) -> float:
    """Return the seconds that the process's threads spent on a processor, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def batch(client: Client, path: str, body: bytes, connections: int) -> list[float]:
    """Return the seconds of BATCH requests over so many connections."""
    took: list[float] = []

    async def worker(n: int) -> None:
        for _ in range(n):
            began = time.perf_counter()
            response = await client.request("POST", path, body)
            await response.body()
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(worker(BATCH // connections) for _ in range(connections)))
    return took


async def compare(direct: Client, routed: Client, pid: int) -> None:
    print(f"\nrequests on loopback: {ROUNDS} rounds of {BATCH}, direct and routed in turn")
    print(f"  {'':<26}{'direct p50':>12}{'routed p50':>12}{'added':>10}{'CPU/request':>14}")
    for stream in (False, True):
        for connections in (1, 16):
            body = json.dumps(
                {
                    "model": "auto",
                    "stream": stream,
                    "messages": [{"role": "user", "content": PROMPTS["English, 200 bytes"]}],
                },
                separators=(",", ":"),
            ).encode()
            await batch(routed, "/chat/completions", body, connections)
            direct_s: list[float] = []
            routed_s: list[float] = []
            spent_s = 0.0
            for _ in range(ROUNDS):
                direct_s += await batch(direct, "/chat/completions", body, connections)
                before = cpu_s(pid)
                routed_s += await batch(routed, "/chat/completions", body, connections)
                spent_s += cpu_s(pid) - before
            a, b = statistics.median(direct_s) * 1e6, statistics.median(routed_s) * 1e6
            what = f"{'stream of 50' if stream else 'plain'}, {connections} at once"
            each = spent_s / len(routed_s) * 1e6
            print(f"  {what:<26}{a:9.0f} us{b:9.0f} us{b - a:7.0f} us{each:11.0f} us  x{b / a:.1f}")


def main() -> None:
    stages()
    judging()
    candidates()
    state = Path(tempfile.mkdtemp())
    with process([sys.executable, str(Path(__file__).parent / "bench_upstream.py")]) as upstream:
        assert upstream.stdout is not None
        port = upstream.stdout.readline().strip()
        fleets = state / "fleets.yaml"
        fleets.write_text(FLEETS.replace("PORT", port), "utf-8")
        created = subprocess.run(  # noqa: S603
            [
                sys.executable,
                "-m",
                "router.cli",
                "keys",
                "create",
                "--tenant",
                "bench",
                "--state",
                state,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        command = [sys.executable, "-m", "router.cli", "serve", "--port", "0"]
        command += ["--fleets", str(fleets), "--state", str(state)]
        began = time.perf_counter()
        with process(command) as router:
            assert router.stdout is not None
            url = router.stdout.readline().split()[3]
            headers = {"authorization": f"Bearer {created.stdout.strip()}"}

            async def run() -> None:
                first = Client(f"{url}/v1", headers)
                body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
                response = await first.request(
                    "POST", "/chat/completions", json.dumps(body).encode()
                )
                assert response.status == 200, await response.body()
                print(f"\nfirst answer {time.perf_counter() - began:.2f} s after the start")
                direct = Client(f"http://127.0.0.1:{port}/v1")
                await compare(direct, first, router.pid)
                print(f"\nresident after the load: {resident_mb(router.pid):.0f} MB")
                await first.aclose()
                await direct.aclose()

            asyncio.run(run())


if __name__ == "__main__":
    main()

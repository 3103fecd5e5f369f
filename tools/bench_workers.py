"""Requests a second of one router process and of two workers, in turn within one run.

Upstream and clients share the machine's cores with the router, so the ratio is what this machine
has to give, not what two workers could do; it says so. `make bench` runs it.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import FLEETS, PROMPTS, process

from backends.http1 import Client

ROUNDS, SECONDS, CONNECTIONS = 6, 2.0, 32


@contextmanager
def router(fleets: Path, workers: int) -> Iterator[tuple[str, dict[str, str], int]]:
    state = Path(tempfile.mkdtemp())
    key = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "router.cli", "keys", "create", "--tenant", "b", "--state", state],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    command = [sys.executable, "-m", "router.cli", "serve", "--port", "0", "--fleets", str(fleets)]
    with process([*command, "--state", str(state), "--workers", str(workers)]) as running:
        assert running.stdout is not None
        url = running.stdout.readline().split()[3]
        yield f"{url}/v1", {"authorization": f"Bearer {key}"}, running.pid


async def rate(url: str, headers: dict[str, str], body: bytes) -> float:
    """Return the requests a second over CONNECTIONS connections, each new."""
    client = Client(url, headers)
    ends_s = time.perf_counter() + SECONDS
    done = 0

    async def ask() -> None:
        nonlocal done
        while time.perf_counter() < ends_s:
            response = await client.request("POST", "/chat/completions", body)
            assert response.status == 200, await response.body()
            await response.body()
            done += 1

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    await client.aclose()
    return done / SECONDS


def children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def compare(
    one: tuple[str, dict[str, str], int], two: tuple[str, dict[str, str], int]
) -> None:
    for stream in (False, True):
        messages = [{"role": "user", "content": PROMPTS["English, 200 bytes"]}]
        said = {"model": "auto", "stream": stream, "messages": messages}
        body = json.dumps(said, separators=(",", ":")).encode()
        found: dict[str, list[float]] = {"1": [], "2": []}
        for _ in range(ROUNDS):
            found["1"].append(await rate(*one[:2], body))
            found["2"].append(await rate(*two[:2], body))
        a, b = statistics.median(found["1"]), statistics.median(found["2"])
        what = "streams of 50" if stream else "plain"
        print(f"  {what:<16}{a:9.0f}/s{b:9.0f}/s  x{b / a:.2f}")


def main() -> None:
    with ExitStack() as running:
        upstream = running.enter_context(
            process([sys.executable, str(Path(__file__).parent / "bench_upstream.py")])
        )
        assert upstream.stdout is not None
        fleets = Path(tempfile.mkdtemp()) / "fleets.yaml"
        fleets.write_text(FLEETS.replace("PORT", upstream.stdout.readline().strip()), "utf-8")
        one = running.enter_context(router(fleets, 1))
        two = running.enter_context(router(fleets, 2))
        print(f"\n{CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS:.0f} s in turn")
        print(f"  {'':<16}{'1 process':>11}{'2 workers':>11}")
        asyncio.run(compare(one, two))


if __name__ == "__main__":
    main()

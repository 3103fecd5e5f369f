"""Requests a second of one router process and of two workers, in turn within one run.

The upstream and the client take their part of the same cores, so the ratio says what this machine
has to give; the CPU of a request says what sharing costs. `make bench` runs it.
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

from bench import FLEETS, PROMPTS, cpu_s, process

from backends.http1 import Client
from router.settings import cores

ROUNDS, SECONDS, CONNECTIONS = 6, 2.0, 32


Router = tuple[str, dict[str, str], int]
"""Its url, the headers that open it, and its process."""


@contextmanager
def router(fleets: Path, workers: int) -> Iterator[Router]:
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


async def load(url: str, headers: dict[str, str], body: bytes) -> int:
    """Return the requests that were answered in SECONDS over CONNECTIONS connections, all new."""
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
    return done


def spent_s(pid: int) -> float:
    """Return the CPU of a router, its workers' included."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_s(pid) + sum(cpu_s(int(child)) for child in children)


async def compare(routers: list[Router]) -> None:
    for stream in (False, True):
        messages = [{"role": "user", "content": PROMPTS["English, 200 bytes"]}]
        said = {"model": "auto", "stream": stream, "messages": messages}
        body = json.dumps(said, separators=(",", ":")).encode()
        done: list[list[int]] = [[] for _ in routers]
        cpu = [0.0 for _ in routers]
        for _ in range(ROUNDS):
            for i, (url, headers, pid) in enumerate(routers):
                before = spent_s(pid)
                done[i].append(await load(url, headers, body))
                cpu[i] += spent_s(pid) - before
        one, two = (statistics.median(each) / SECONDS for each in done)
        each = [seconds / sum(n) * 1e6 for seconds, n in zip(cpu, done, strict=True)]
        what = "streams of 50" if stream else "plain"
        print(f"  {what:<16}{one:9.0f}/s{two:11.0f}/s   x{two / one:.2f}", end="")
        print(f"{each[0]:12.0f} us{each[1]:9.0f} us")


def main() -> None:
    with ExitStack() as running:
        upstream = running.enter_context(
            process([sys.executable, str(Path(__file__).parent / "bench_upstream.py")])
        )
        assert upstream.stdout is not None
        fleets = Path(tempfile.mkdtemp()) / "fleets.yaml"
        fleets.write_text(FLEETS.replace("PORT", upstream.stdout.readline().strip()), "utf-8")
        routers = [running.enter_context(router(fleets, workers)) for workers in (1, 2)]
        print(f"\none process and two workers, {CONNECTIONS} connections, on {cores()} cores that")
        print(f"client and upstream share; {ROUNDS} rounds of {SECONDS:.0f} s, in turn")
        print(f"  {'':<16}{'1 process':>11}{'2 workers':>13}{'CPU/request: 1':>24}{'2':>12}")
        asyncio.run(compare(routers))


if __name__ == "__main__":
    main()

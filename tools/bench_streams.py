"""Delay of a chunk through the router: 500 streams at 10 tokens a second, router on one core.

The upstream stamps every chunk with the time at which it wrote it, the caller reads the stamp: what
lies between is the way through the router, or the direct one. Both go in turn, at the same pace,
within one run, with upstream and caller in one process on the other core. The router's CPU time a
chunk is counted beside it. Absolute figures are this machine's at this moment.

    python tools/bench_streams.py [--streams 500] [--rate 10] [--seconds 6] [--rounds 3] [--profile]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from backends import open_files
from router.identity import Key
from router.keys import KeyStore

FLEETS = """
version: 1
models: [{id: m, context_tokens: 100000}]
fleets:
  - {id: one, model: m, lane: cpu, engine: vllm, kind: openai_http, url: "http://127.0.0.1:PORT/v1",
     instance: p5.48xlarge, region: us-east-1, fallback_usd_per_mtok: 0.5,
     replicas: {min: 1, max: 1, concurrency_each: 2000}}
"""
POLICY = """
version: 1
name: bench
baseline: m@one
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules: [{id: all, use: cpu}]
"""
SETTLE_S = 1.0  # from the first chunk on: all streams are being opened
TICKS = os.sysconf("SC_CLK_TCK")  # a second, of a process's times
STAMP = b'"at":'  # what it stands behind, and its end
END = b"}"


# -- the upstream ----------------------------------------------------------------------------------


class Upstream(asyncio.Protocol):
    """Answers every POST with a stream of stamped chunks, `every_s` apart, until `ends_s`."""

    every_s = 0.1
    chunks = 60

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._held = b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"GET"):  # a probe
            self._held = b""
            self._transport.write(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n")
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._held = b""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        self._next_s = time.monotonic()
        self._send(self.chunks)

    def _send(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if left == 0:
            usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":%d}}\n\n'
            last = usage % self.chunks + b"data: [DONE]\n\n"
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
            return
        self._next_s += self.every_s
        # As engines write them, 230 bytes; the stamp is a field that nobody but the caller knows.
        chunk = (
            b'data: {"id":"chatcmpl-4cGQxyz0123456789","object":"chat.completion.chunk","created":'
            b'1795211328,"model":"m","choices":[{"index":0,"delta":{"content":" ship"},"logprobs":'
            b'null,"finish_reason":null}],"at":%.6f}\n\n' % time.monotonic()
        )
        self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, self._next_s - time.monotonic()), self._send, left - 1)


# -- the caller ------------------------------------------------------------------------------------


@dataclass
class Delays:
    """Seconds from written to read of the chunks of one round, once all streams run."""

    begins_s: float
    found: list[float] = field(default_factory=list)
    ended: int = 0


class Caller(asyncio.Protocol):
    """Asks once, and takes every chunk's delay; as light as can be, as it stands on a core too."""

    def __init__(self, request: bytes, delays: Delays, over: asyncio.Future[None]) -> None:
        self._request, self._delays, self._over = request, delays, over
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_s = time.monotonic()
        text = self._tail + data
        at = text.find(STAMP)
        while at >= 0:
            end = text.find(END, at)
            if end < 0:
                break
            written_s = float(text[at + len(STAMP) : end])
            if written_s > self._delays.begins_s:
                self._delays.found.append(now_s - written_s)
            text = text[end:]
            at = text.find(STAMP)
        self._tail = text[-40:] if at < 0 else text[at:]
        if b"[DONE]" in text:
            self._delays.ended += 1
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)


async def round_of(port: int, key: str, given: argparse.Namespace) -> Delays:
    """Open all streams within a second and read them to their ends."""
    body = json.dumps(
        {
            "model": "auto",
            "stream": True,
            "max_tokens": Upstream.chunks + 10,
            "messages": [{"role": "user", "content": "hi"}],
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    loop = asyncio.get_running_loop()
    delays = Delays(time.monotonic() + SETTLE_S + 1.0)
    overs = []
    for _ in range(given.streams):
        over = loop.create_future()
        overs.append(over)
        await loop.create_connection(partial(Caller, request, delays, over), "127.0.0.1", port)
        await asyncio.sleep(SETTLE_S / given.streams)  # their chunks lie evenly apart
    await asyncio.gather(*overs)
    if delays.ended != given.streams:
        raise SystemExit(f"{given.streams - delays.ended} streams did not end well")
    return delays


# -- the run ---------------------------------------------------------------------------------------


@contextmanager
def router_on(core: int | None, port: int, profile: Path | None) -> Iterator[tuple[int, int, str]]:
    """Run a router on one core; yield its process id, its port and a key."""
    folder = Path(tempfile.mkdtemp())
    (folder / "fleets.yaml").write_text(FLEETS.replace("PORT", str(port)), "utf-8")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    store = KeyStore(folder, time.monotonic)
    key = store.create(Key(id="", tenant="bench"), "2026-01-01T00:00:00Z")
    store.close()
    profiling = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *profiling, "-m", "router.cli", "serve", "--port", "0"]
    command += ["--state", str(folder), "--fleets", str(folder / "fleets.yaml")]
    command += ["--policy", str(folder / "policy.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:  # noqa: S603
        try:
            assert running.stdout is not None
            url = running.stdout.readline().split()[3]
            if core is not None:
                os.sched_setaffinity(running.pid, {core})
            yield running.pid, int(url.rpartition(":")[2]), key
        finally:
            running.terminate()
            running.wait(30)


def cpu_s(pid: int) -> tuple[float, float]:
    """Return the seconds of processor that the process took, by itself and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def shown(found: list[float]) -> str:
    ordered = sorted(found)
    points = (ordered[len(ordered) * share // 1000] * 1e3 for share in (500, 900, 990, 999))
    return "".join(f"{point:9.2f}" for point in points)


async def compare(given: argparse.Namespace, cores: list[int]) -> None:
    loop = asyncio.get_running_loop()
    Upstream.every_s, Upstream.chunks = 1 / given.rate, int(given.seconds * given.rate)
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    core = cores[-1] if len(cores) > 1 else None
    profile = Path(tempfile.mkdtemp()) / "profile" if given.profile else None
    with router_on(core, port, profile) as (pid, routed_port, key):
        if core is not None:
            os.sched_setaffinity(0, set(cores[:-1]))
        print(f"{given.streams} streams at {given.rate:g} chunks/s, {given.rounds} rounds in turn;")
        print(f"delay from written to read, ms  {'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}")
        await round_of(routed_port, key, argparse.Namespace(streams=20))
        direct: list[float] = []
        routed: list[float] = []
        spent_s = [0.0, 0.0]
        for _ in range(given.rounds):
            direct += (await round_of(port, key, given)).found
            before_s = cpu_s(pid)
            routed += (await round_of(routed_port, key, given)).found
            spent_s = [s + a - b for s, a, b in zip(spent_s, cpu_s(pid), before_s, strict=True)]
        print(f"  {'direct':<30}{shown(direct)}")
        print(f"  {'through the router':<30}{shown(routed)}")
        chunks = given.rounds * given.streams * Upstream.chunks
        own, kernel = (seconds / chunks * 1e6 for seconds in spent_s)
        print(
            f"router: {own:.0f} us a chunk and {kernel:.0f} in the kernel, opening and end included"
        )
    server.close()
    if profile is not None:
        print(f"its profile: python -m pstats {profile}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="run the router under cProfile")
    given = parser.parse_args()
    if min(given.streams, given.rate, given.seconds, given.rounds) <= 0:
        parser.error("streams, rate, seconds and rounds are more than 0")
    open_files.allow_many()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compare(given, sorted(os.sched_getaffinity(0))))


if __name__ == "__main__":
    main()

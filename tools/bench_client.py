#!/usr/bin/env python3
"""CPU time of one request in the HTTP client alone: ours beside httpx, in one run.

Both send the same small chat body to a loopback server in a process of its own, over one kept
connection or many, in turn within each round. What carries over to another machine is the ratio.

    python tools/bench_client.py [--requests 1000] [--rounds 5] [--json]
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import httpx
import uvloop

from backends.base import Call
from backends.openai_http import OpenAIHTTP

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 200}]}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "positive"}}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 1, "total_tokens": 61},
    }
).encode()
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" ship"}}],"id":"chatcmpl-1"}\n\n'
EVENTS = 32
CONNECTIONS = (1, 32)

Once = Callable[[], Awaitable[object]]


class _Server(asyncio.Protocol):
    """Answers whatever ends with a whole body; `/stream` gets events, one a write."""

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._got.endswith(BODY):
            return
        streamed, self._got = b"/stream" in self._got.partition(b"\r\n")[0], b""
        if streamed:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            self._event(EVENTS)
        else:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
            )

    def _event(self, still: int) -> None:
        if still == 0:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        asyncio.get_running_loop().call_later(0.0005, self._event, still - 1)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _cpu_us(once: Once, requests: int, connections: int) -> float:
    async def some() -> None:
        for _ in range(requests // connections):
            await once()

    await once()
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(some())
    return (time.process_time() - began) / (requests // connections * connections) * 1e6


async def _ours(url: str, requests: int, connections: int) -> float:
    backend = OpenAIHTTP([url])
    try:
        return await _cpu_us(
            lambda: backend.send(Call(BODY, timeout_s=20.0)), requests, connections
        )
    finally:
        await backend.aclose()


async def _httpx(url: str, requests: int, connections: int) -> float:
    async def once() -> None:
        answer = await client.post(f"{url}/chat/completions", content=BODY)
        answer.json()

    async with httpx.AsyncClient(headers={"content-type": "application/json"}) as client:
        return await _cpu_us(once, requests, connections)


async def _our_stream(url: str, requests: int, connections: int) -> float:
    async def once() -> None:
        stream = await backend.stream(Call(BODY, path="/stream", timeout_s=20.0))
        while await stream.read(15.0):
            pass

    backend = OpenAIHTTP([url])
    try:
        return await _cpu_us(once, requests, connections)
    finally:
        await backend.aclose()


def measure(requests: int = 1000, rounds: int = 5) -> dict[str, float]:
    """Return the median CPU microseconds of each row, and httpx's ratios to ours."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(  # noqa: S603 (this very file)
        command, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            return _rows(url, requests, rounds)
        finally:
            server.terminate()


def _rows(url: str, requests: int, rounds: int) -> dict[str, float]:
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    seen: dict[str, list[float]] = {}
    for _ in range(rounds):
        for loop, factory in loops.items():
            for n in CONNECTIONS:
                for name, run in (("sluice", _ours), ("httpx", _httpx)):
                    with asyncio.Runner(loop_factory=factory) as runner:
                        us = runner.run(run(url, requests, n))
                    seen.setdefault(f"{loop}/{n}/{name}_us", []).append(us)
            with asyncio.Runner(loop_factory=factory) as runner:
                us = runner.run(_our_stream(url, requests // 10, 10))
            seen.setdefault(f"{loop}/stream_of_{EVENTS}/sluice_us", []).append(us)
    rows = {name: statistics.median(values) for name, values in seen.items()}
    ratios = {
        name.replace("httpx_us", "httpx_to_sluice"): us / rows[name.replace("httpx", "sluice")]
        for name, us in rows.items()
        if name.endswith("httpx_us")
    }
    return rows | ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
        return
    rows = measure(given.requests, given.rounds)
    if given.json:
        print(json.dumps(rows))
        return
    for name, value in sorted(rows.items()):
        print(f"{name:34} {value:8.1f}")


if __name__ == "__main__":
    main()

"""Two hundred callers who read a byte a second: the router holds little for them, others go on."""

import asyncio
import contextlib
import json
import socket
import statistics
import threading
import time

import pytest
from fault_cells import in_flight, resident_kb
from ledger_support import wrong
from support import ROLE, USAGE_EVENT, Upstream, catalogue, chunk, fleet, plain, policy, wait_until

from router.ledger.sqlite import SqliteLedger

READERS = 200
WATCHED = 4  # bytes that each of them reads meanwhile
# What of a stream is held before its fleet has to wait (64 kB, and what one read brings, 256 kB),
# four times on its way through; never the answer, of which each of them is sent 60 MB.
MOST_KB_EACH = 2000
BIG = chunk("x" * 20_000)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
LIMITS = ", limits: {deadline_ms: 120000, inter_chunk_timeout_ms: 100000}"


class Gusher:
    """A fleet that sends as fast as it is read, 60 MB a stream; `sent` of all."""

    def __init__(self):
        self.sent = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        self._server = self._run(asyncio.start_server(self._serve, sock=listening))

    def stop(self):
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    writer.write(HEAD + ROLE)
                    for _ in range(3000):
                        writer.write(BIG)
                        await writer.drain()
                        self.sent += len(BIG)
                    writer.write(USAGE_EVENT)
            except asyncio.CancelledError:  # the test is over
                return
            finally:
                writer.close()


@pytest.fixture
def gusher():
    server = Gusher()
    yield server
    server.stop()


@pytest.fixture
def quick():
    server = Upstream()
    server.answers(plain())
    yield server
    server.stop()


class Readers:
    """So many callers of streams, who read a byte a second until they are stopped."""

    def __init__(self, router, number):
        body = {
            "model": "auto",
            "stream": True,
            "max_tokens": 3000,
            "messages": [{"role": "user", "content": "hi"}],
        }
        data = json.dumps(body).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-sluice-tags: to=gusher\r\n"
            f"authorization: Bearer {router.key}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        self.read = 0
        self._sockets = [self._one(router, head.encode() + data) for _ in range(number)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._reading)
        self._thread.start()

    @staticmethod
    def _one(router, request):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", int(router.url.rpartition(":")[2])))
        sock.sendall(request)
        return sock

    def _reading(self):
        while not self._stopped.wait(1):
            for sock in self._sockets:
                self.read += len(sock.recv(1))

    def stop(self):
        self._stopped.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()


def settled(number):
    """Wait until a number stays as it is for a second."""
    seen = [(-1, 0.0)]

    def stays():
        now = time.monotonic()
        if number() != seen[0][0]:
            seen[0] = (number(), now)
        return now - seen[0][1] > 1

    wait_until(stays, within_s=60)


def test_two_hundred_readers_of_a_byte_a_second_fill_no_memory_and_slow_nobody(
    start_router, gusher, quick
):
    fleets = catalogue(
        fleet("gusher", gusher.url).replace("concurrency_each: 8", "concurrency_each: 400"),
        fleet("quick", quick.url, lane="accelerator"),
    )
    rules = (
        "  - {id: gusher, when: {tags: {to: gusher}}, use: cpu}\n  - {id: rest, use: accelerator}\n"
    )
    written = policy(rules=rules, baseline="m@quick", defaults=LIMITS)
    router = start_router(fleets, written, allowed_tags=("to",))
    pid = router.process.pid

    def took_s():
        began = time.monotonic()
        assert router.chat(max_tokens=1).headers["x-sluice-fleet"] == "quick"
        return time.monotonic() - began

    for _ in range(50):
        took_s()
    without_s, without_kb = statistics.median(took_s() for _ in range(100)), resident_kb(pid)
    readers = Readers(router, READERS)
    try:
        wait_until(lambda: gusher.sent > READERS * len(BIG))
        settled(lambda: gusher.sent)
        filled_kb = resident_kb(pid)
        assert filled_kb - without_kb < READERS * MOST_KB_EACH
        with_s = statistics.median(took_s() for _ in range(100))
        began = readers.read
        wait_until(lambda: readers.read >= began + READERS * WATCHED)  # slowly
        assert resident_kb(pid) < filled_kb * 1.05  # flat, while they read
        assert with_s < 4 * without_s + 0.2
    finally:
        readers.stop()
    wait_until(lambda: in_flight(router) == [])
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: ledger.books().held == [])
        assert wrong(ledger) == []
        rows = list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()
    left = [row for row in rows if row.fleet == "gusher"]
    assert [row.outcome for row in left] == ["client_closed"] * READERS

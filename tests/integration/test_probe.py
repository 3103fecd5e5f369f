"""One probe of one url, by real sockets: what it asks, what it makes of every kind of server."""

import asyncio
import contextlib
import socket
import threading
import time
import tracemalloc

import pytest
from support import plain

from backends.base import Seen
from backends.dialects import DIALECTS
from backends.probe import PROBE_BYTES, PROBE_S, Probe

VLLM = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n"


def page(body, status=200, headers=""):
    head = f"HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\n{headers}"
    return head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body


def looks(url, engine="vllm", *, times=1, in_flight=0, headers=None, model="m"):
    """Return what a new probe sees, so many times."""

    async def main():
        probe = Probe(url, headers or {}, DIALECTS[engine], model)
        try:
            return [await probe.look(lambda: in_flight) for _ in range(times)]
        finally:
            await probe.aclose()

    return asyncio.run(main())


def look(url, engine="vllm", **options):
    (seen,) = looks(url, engine, **options)
    return seen


def test_the_page_of_the_engine_is_asked_below_the_server_s_root_with_the_fleet_s_key(upstream):
    upstream.pages["/metrics"] = page(VLLM)
    seen = look(upstream.url, headers={"authorization": "Bearer sk-secret"})
    assert seen == Seen("up", running=3, waiting=2, others=5, kv_used=0.5)
    ((path, head),) = upstream.got
    assert path == "/metrics"
    assert b"authorization: Bearer sk-secret\r\n" in head


def test_our_own_requests_are_not_others(upstream):
    upstream.pages["/metrics"] = page(VLLM)
    assert look(upstream.url, in_flight=4).others == 1
    assert look(upstream.url, in_flight=9).others == 0


@pytest.mark.parametrize("counts", [(5, 0), (0, 5)], ids=["ends", "begins"])
def test_a_request_of_ours_that_ends_or_begins_during_the_probe_is_nobody_else_s(upstream, counts):
    upstream.pages["/metrics"] = page(VLLM)
    ours = iter(counts)

    async def main():
        probe = Probe(upstream.url, {}, DIALECTS["vllm"], "m")
        seen = await probe.look(lambda: next(ours))
        await probe.aclose()
        return seen.others

    assert asyncio.run(main()) == 0


def test_ollama_is_asked_which_models_are_loaded(upstream):
    upstream.pages["/api/ps"] = page(b'{"models":[{"name":"m:latest"}]}')
    assert look(upstream.url, "ollama") == Seen("up", warm=True)


def test_a_llama_server_without_metrics_is_asked_for_its_slots(upstream):
    upstream.pages["/metrics"] = plain({"error": {"code": 501}}, 501)
    upstream.pages["/slots"] = page(b'[{"is_processing":true},{"is_processing":true}]')
    assert look(upstream.url, "llama.cpp") == Seen("up", running=2, others=2)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 501])
def test_a_server_that_tells_nothing_is_there_and_its_load_unknown(upstream, status):
    upstream.pages["/metrics"] = plain({}, status)
    assert look(upstream.url) == Seen("up")


def test_a_redirect_is_not_followed(upstream, second_upstream):
    there = f"location: {second_upstream.url}\r\n"
    upstream.pages["/metrics"] = page(b"", 302, there)
    assert look(upstream.url) == Seen("up")
    assert second_upstream.got == []


def test_a_server_that_loads_its_model_is_not_there_yet(upstream):
    upstream.pages["/metrics"] = upstream.pages["/health"] = plain({}, 503)
    assert look(upstream.url, "llama.cpp") == Seen("loading")


def test_a_503_of_the_status_page_alone_says_nothing(upstream):
    upstream.pages["/metrics"] = plain({}, 503)
    upstream.pages["/health"] = plain({})
    assert look(upstream.url) == Seen("up")


def test_a_refused_connection_is_down_at_once(closed_port):
    assert look(f"http://127.0.0.1:{closed_port}/v1") == Seen("down")


def test_a_name_without_an_address_is_down_the_second_time():
    assert looks("http://nobody.invalid:1/v1", times=2) == [Seen("unknown"), Seen("down")]


@contextlib.contextmanager
def raw_server(play):
    """Play to every connection in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection):
            with contextlib.suppress(OSError), connection:
                connection.recv(65536)
                play(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)


def drip(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def hang(connection):
    connection.recv(1)


@pytest.mark.parametrize("play", [hang, drip])
def test_a_server_that_takes_too_long_is_left_in_time_and_nothing_is_learnt(play):
    with raw_server(play) as url:
        began = time.monotonic()
        assert look(url) == Seen("unknown")
        assert time.monotonic() - began < PROBE_S + 30  # of all the time that there is


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\x01 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"]
)
def test_a_server_that_answers_with_no_http_teaches_nothing(answer):
    with raw_server(lambda connection: connection.sendall(answer)) as url:
        assert look(url) == Seen("unknown")


def test_an_endless_answer_is_cut_and_memory_stays_flat():
    def endless(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x: 1\n" * 20_000)

    with raw_server(endless) as url:
        tracemalloc.start()
        assert looks(url, times=10) == [Seen("up")] * 10
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 6 * PROBE_BYTES


@pytest.mark.engine
def test_the_real_llama_server_tells_its_load(tiny):
    assert look(tiny, "llama.cpp") == Seen("up", running=0, waiting=0, others=0)

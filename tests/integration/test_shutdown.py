"""SIGTERM: what runs goes on to its end within the drain, else it is told, recorded and charged."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    DONE,
    EVENTS,
    ROLE,
    START_S,
    catalogue,
    chunk,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.ledger.sqlite import SqliteLedger

LIMITS = ", limits: {deadline_ms: 60000, ttft_timeout_ms: 50000, inter_chunk_timeout_ms: 50000}"


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as running:
        yield running


@pytest.fixture
def go_on(upstream):
    """The fleet answers half of everything, and the rest once this is set."""
    event = threading.Event()

    def script(body, send, gone):
        if not body.get("stream"):
            event.wait(START_S)
            send(plain())
            return "keep"
        send(stream_head() + ROLE + chunk("he"))
        event.wait(START_S)
        send(chunk("llo") + chunk(finish="stop") + DONE)
        return "close"

    upstream.script = script
    yield event
    event.set()


def start(start_router, upstream, *arguments, places=8):
    text = fleet("one", upstream.url).replace("each: 8", f"each: {places}")
    return start_router(catalogue(text), policy(defaults=LIMITS), *arguments)


def terminate(router):
    router.process.send_signal(signal.SIGTERM)


def exit_code(router, within_s=60):
    code = router.process.wait(within_s)
    assert "Traceback" not in router.log()
    return code


def entries(router):
    ledger = SqliteLedger(router.state)
    try:
        return list(ledger.entries("2000", "2100"))
    finally:
        ledger.close()


def refuses_connections(router):
    try:
        httpx.get(f"{router.url}/healthz")
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_running_answer_goes_on_to_its_end(start_router, upstream, go_on, pool, stream):
    router = start(start_router, upstream)
    asked = pool.submit(router.chat, stream=stream)
    wait_until(lambda: upstream.bodies)
    terminate(router)
    wait_until(lambda: refuses_connections(router))
    assert not asked.done()
    go_on.set()
    response = asked.result()
    assert response.status_code == 200
    if stream:
        assert response.content.endswith(DONE)
    assert exit_code(router) == 0
    (receipt,) = router.receipts()
    assert receipt["attempts"][0]["outcome"] == "ok"
    assert [entry.outcome for entry in entries(router)] == ["ok"]


def test_a_stream_that_the_drain_does_not_wait_for_is_told_so_and_charged_once(
    start_router, upstream, go_on, pool
):
    router = start(start_router, upstream, "--drain-s", "1")
    spoke = threading.Event()
    asked = pool.submit(router.stream, spoke=spoke)
    assert spoke.wait(START_S)
    terminate(router)
    _, content = asked.result()
    assert chunk("he") in content
    assert DONE not in content
    *_, last = content.strip().split(b"\n\n")
    assert b'"code":"stream_broken"' in last
    assert b"shuts down" in last
    assert exit_code(router) == 0
    (receipt,) = router.receipts()
    assert receipt["attempts"][0]["outcome"] == "shutdown"
    assert receipt["charge"]["usd"] > 0
    (entry,) = entries(router)
    assert (entry.outcome, entry.estimated) == ("shutdown", True)


def test_a_plain_answer_that_the_drain_does_not_wait_for_is_a_503(
    start_router, upstream, go_on, pool
):
    router = start(start_router, upstream, "--drain-s", "0")
    asked = pool.submit(router.chat)
    wait_until(lambda: upstream.bodies)
    terminate(router)
    response = asked.result()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")
    assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
    assert exit_code(router) == 0
    (receipt,) = router.receipts()
    assert receipt["id"] == response.headers["x-sluice-request-id"]
    assert receipt["attempts"][0]["outcome"] == "shutdown"
    assert len(entries(router)) == 1


def test_who_waits_for_a_place_is_sent_elsewhere_at_once(start_router, upstream, go_on, pool):
    router = start(start_router, upstream, places=1)
    running = pool.submit(router.chat)
    wait_until(lambda: upstream.bodies)
    waits = pool.submit(router.chat)
    wait_until(lambda: 'sluice_waiting{service_class="standard"} 1' in _metrics(router))
    terminate(router)
    response = waits.result()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")
    assert response.headers["connection"] == "close"
    go_on.set()
    assert running.result().status_code == 200
    assert exit_code(router) == 0


def _metrics(router):
    return router.http.get("/metrics").text


def test_before_the_drain_readyz_is_down_and_everything_is_served(start_router, upstream):
    upstream.streams(*EVENTS, DONE)
    router = start(start_router, upstream, "--unready-s", "600")
    assert router.http.get("/readyz").status_code == 200
    terminate(router)
    wait_until(lambda: router.http.get("/readyz").status_code == 503)
    ready = router.http.get("/readyz")
    assert (ready.json()["status"], ready.headers["connection"]) == ("draining", "close")
    response = router.chat(stream=True)
    assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert response.content.endswith(DONE)
    terminate(router)
    assert exit_code(router) == 0


def test_a_second_signal_spares_the_wait_before_the_drain(start_router, upstream):
    router = start(start_router, upstream, "--unready-s", "600")
    terminate(router)
    wait_until(lambda: router.http.get("/readyz").status_code == 503)
    terminate(router)
    assert exit_code(router) == 0  # within the minute that is waited for it


def test_a_caller_who_reads_nothing_does_not_hold_the_end_up(start_router, upstream, pool):
    def endless(body, send, gone):
        send(stream_head() + ROLE)
        while not gone(0.001):
            send(chunk("x" * 20_000) * 5)
        return "close"

    upstream.script = endless
    router = start(start_router, upstream, "--drain-s", "1")
    with router.http.stream(
        "POST",
        "/v1/chat/completions",
        json={
            "model": "auto",
            "stream": True,
            "max_tokens": 3000,
            "messages": [{"role": "user", "content": "hi"}],
        },
    ):
        wait_until(lambda: upstream.bodies)
        terminate(router)
        assert exit_code(router) == 0
    (receipt,) = router.receipts()
    assert receipt["attempts"][0]["outcome"] == "shutdown"
    assert len(entries(router)) == 1

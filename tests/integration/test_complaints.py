"""What users of other gateways complain about, one test each: none of it happens here."""

import contextlib
import json
import socket
import statistics
import threading
import time

import pytest
from fault_cells import error_in, in_flight
from ledger_support import wrong
from support import (
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    START_S,
    Upstream,
    catalogue,
    chunk,
    event,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.ledger.sqlite import SqliteLedger

LIMITS = (
    ", limits: {deadline_ms: 20000, ttft_timeout_ms: 2500, inter_chunk_timeout_ms: 2500,"
    " attempts: 2, breaker: {failures: 3, open_ms: 60000}}"
)
TIMEOUT_MS = 2500
TOKENS = 5
CANCEL_S = 0.1  # within which the fleet is told that its caller has gone
TRIES = 9


@pytest.fixture
def two(start_router, upstream, second_upstream):
    """`one` first, then `two`, which would answer anything with all its events."""
    fleets = catalogue(
        fleet("one", upstream.url), fleet("two", second_upstream.url, lane="accelerator")
    )
    second_upstream.script = lambda body, send, gone: (
        send(stream_head() + b"".join(EVENTS) + DONE) if body.get("stream") else send(plain()),
        "close",
    )[1]
    return start_router(fleets, policy(BOTH, defaults=LIMITS))


def bodies(upstream):
    """What chat requests came, without the router's probes."""
    return len(upstream.bodies)


def ledger_rows(router):
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: ledger.books().held == [])
        assert wrong(ledger) == []
        return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()


def closes(send, gone):
    pass


def is_silent(send, gone):
    gone()


def says_so(send, gone):
    send(event(error={"message": "out of memory", "code": 500}))


def tears(send, gone):
    send(chunk("torn")[:-25])


BREAKS = {f.__name__: f for f in (closes, is_silent, says_so, tears)}


def test_fallback_after_the_first_sse_event_is_there_until_content_and_never_after(
    two, upstream, second_upstream
):
    """The role chunk is an event, and says nothing: the next fleet takes over, unseen."""

    def breaks_after(*sent):
        spoke = threading.Event()

        def script(body, send, gone):
            send(stream_head() + b"".join(sent))
            if sent[-1] != ROLE:
                spoke.wait(START_S)
            return "close"

        upstream.script = script
        response, content = two.stream(spoke=spoke)
        return response, content

    before, content = breaks_after(ROLE)
    assert before.headers["x-sluice-fleet"] == "two"
    assert b"".join(EVENTS) in content
    assert content.count(b'"role"') == 1
    after, content = breaks_after(ROLE, chunk("he"))
    assert after.headers["x-sluice-fleet"] == "one"
    assert b"stream_broken" in content
    assert [a["fleet"] for a in two.receipt(after)["attempts"]] == ["one"]
    assert bodies(second_upstream) == 1


@pytest.mark.parametrize("after", ["nothing", "its head", "its role", "content"])
def test_a_silent_upstream_is_given_up_in_the_time_of_its_next_token(two, upstream, after):
    said = {"nothing": [], "its head": [b""], "its role": [ROLE], "content": [ROLE, chunk("he")]}

    def script(body, send, gone):
        for part in said[after]:
            send(stream_head() + part if part is said[after][0] else part)
        gone()
        return "close"

    upstream.script = script
    response = two.chat(stream=True)
    silent, *rest = two.receipt(response)["attempts"]
    assert silent["outcome"] == "timed_out"
    # Its first token's time and its next one's; of a deadline of 20 s.
    assert TIMEOUT_MS - 50 < silent["e2e_ms"] < 2 * TIMEOUT_MS + 5000
    if after == "content":
        assert rest == []
        assert b"stream_broken" in response.content
    else:
        assert [a["outcome"] for a in rest] == ["ok"]
    wait_until(lambda: upstream.hung_up == 1)


def told_after_s(upstream, url, path, headers, *, stream):
    """Ask, hang up once the fleet is at it, and return how long it took until the fleet knew."""
    began, known = threading.Event(), []

    def script(body, send, gone):
        if stream:
            send(stream_head() + ROLE)
            for _ in range(TOKENS):
                send(chunk("x"))
        began.set()
        assert gone(30)
        known.append(time.monotonic())
        return "close"

    upstream.script = script
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    data = json.dumps({**body, "max_tokens": 500}).encode()
    lines = [f"POST {path}/chat/completions HTTP/1.1", "host: x", f"content-length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) as caller:
        caller.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        assert began.wait(30)
        got = b""
        while stream and got.count(b'"x"') < TOKENS:  # the caller has what was produced
            got += caller.recv(65536)
        left = time.monotonic()
    wait_until(lambda: known)
    return known[0] - left


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_an_abandoned_request_is_billed_once_for_what_was_produced_and_ended_at_the_fleet(
    two, upstream, second_upstream, stream
):
    direct, routed = [], []
    for _ in range(TRIES):  # in turn, so that a busy machine is as busy for both
        direct.append(told_after_s(upstream, upstream.url, "/v1", {}, stream=stream))
        routed.append(told_after_s(upstream, two.url, "/v1", two.headers(), stream=stream))
    assert statistics.median(routed) < statistics.median(direct) + CANCEL_S
    wait_until(lambda: in_flight(two) == [])
    wait_until(lambda: len(two.receipts()) == TRIES)
    rows = {row.request_id: row for row in ledger_rows(two)}
    assert len(ledger_rows(two)) == len(rows) == TRIES
    for receipt in two.receipts():
        (attempt,) = receipt["attempts"]
        row = rows[receipt["id"]]
        assert attempt["outcome"] == row.outcome == "client_closed"
        assert round(receipt["charge"]["usd"] * 1e9) == row.nano
        if stream:
            assert row.tokens_out == TOKENS
    assert bodies(second_upstream) == 0


def test_one_dead_backend_hangs_nobody_else(start_router, second_upstream):
    """A host that accepts and never answers, with callers stuck at it."""
    second_upstream.script = lambda body, send, gone: send(plain()) or "keep"
    dead = Upstream()
    dead.script = lambda body, send, gone: gone(60) and "close"
    rules = (
        "  - {id: dead, when: {tags: {to: dead}}, use: cpu}\n"
        "  - {id: both, when: {tags: {to: both}}, use: {in_order: [cpu, accelerator]}}\n"
        "  - {id: rest, use: accelerator}\n"
    )
    fleets = catalogue(
        fleet("one", dead.url), fleet("two", second_upstream.url, lane="accelerator")
    )
    limits = LIMITS.replace("2500", "9000")
    router = start_router(fleets, policy(rules=rules, defaults=limits), allowed_tags=("to",))

    def took_s(**headers):
        began = time.monotonic()
        response = router.chat(headers=headers, max_tokens=1)
        assert response.headers["x-sluice-fleet"] == "two"
        return time.monotonic() - began

    def stuck():
        with contextlib.suppress(OSError):
            router.chat(headers={"x-sluice-tags": "to=dead"}, max_tokens=1)

    try:
        took_s()
        before = statistics.median(took_s() for _ in range(30))
        callers = [threading.Thread(target=stuck) for _ in range(40)]
        for caller in callers:
            caller.start()
        wait_until(lambda: bodies(dead) >= 8)  # its places; others may wait for one
        during = statistics.median(took_s() for _ in range(30))
        assert any(caller.is_alive() for caller in callers)
        assert during < 4 * before + 0.5  # of the 9 s that the stuck ones wait
        for caller in callers:
            caller.join()
        # Its circuit is open by now: whoever would have tried it first doesn't wait for it either.
        asked = bodies(dead)
        assert took_s(**{"x-sluice-tags": "to=both"}) < 9
        assert bodies(dead) == asked
    finally:
        dead.stop()


@pytest.mark.parametrize("how", BREAKS)
def test_partial_output_is_never_followed_by_a_restart(two, upstream, second_upstream, how):
    spoke = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("par") + chunk("tial"))
        spoke.wait(START_S)
        BREAKS[how](send, gone)
        return "close"

    upstream.script = script
    _, content = two.stream(spoke=spoke)
    *before, last = [part for part in content.split(b"\n\n") if part]
    assert b"".join(part + b"\n\n" for part in before) == ROLE + chunk("par") + chunk("tial")
    assert error_in(last)["code"] == "stream_broken"
    assert content.count(b'"role"') == 1
    assert b"[DONE]" not in content
    assert bodies(second_upstream) == 0
    (row,) = ledger_rows(two)
    assert (row.fleet, row.tokens_out, row.estimated) == ("one", 2, True)


def test_half_a_plain_answer_is_never_seen_and_both_attempts_are_charged(two, upstream):
    upstream.answers(plain()[:-20], then="close")
    response = two.chat()
    assert response.json() == json.loads(plain().partition(b"\r\n\r\n")[2])
    assert response.headers["x-sluice-fleet"] == "two"
    assert [row.fleet for row in ledger_rows(two)] == ["one", "two"]

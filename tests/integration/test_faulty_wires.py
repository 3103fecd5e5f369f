"""Faults between hosts: what a network does to a fleet's connections, and to a caller's."""

import json
import socket

import httpx
import pytest
from fault_cells import connections, error_in, in_flight
from fault_proxy import WELL, Fault, proxying
from ledger_support import wrong
from support import (
    ANSWER,
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    USAGE_EVENT,
    Upstream,
    catalogue,
    chunk,
    plain,
    policy,
    stream_head,
    wait_until,
)
from support import fleet as probed_fleet

from router.ledger.sqlite import SqliteLedger

LIMITS = (
    ", limits: {deadline_ms: 20000, ttft_timeout_ms: 2500, inter_chunk_timeout_ms: 2500,"
    " attempts: 2, breaker: {failures: 100, open_ms: 1000}}"
)
HEAD_BYTES = len(stream_head() + ROLE) + 5  # the first content token is not whole by then
MID_BYTES = len(stream_head() + ROLE + EVENTS[1]) + 5
PLAIN_HALF = len(plain()) - 20

# What the wire between router and fleet does, and what the caller gets of a stream and of a plain
# answer: the fleet's own answer (whole), the next fleet's (next), a part and an error event (cut).
TO_A_FLEET = {
    "delays both ways": (Fault(delay_s=0.1), Fault(delay_s=0.1), "whole", "whole"),
    "carries the request slowly": (Fault(bytes_per_s=2000), WELL, "whole", "whole"),
    "carries the answer slowly": (WELL, Fault(bytes_per_s=2000), "whole", "whole"),
    "drops the request": (Fault(after=0, then="drop"), WELL, "next", "next"),
    "drops the rest of the request": (Fault(after=150, then="drop"), WELL, "next", "next"),
    "drops the answer": (WELL, Fault(after=0, then="drop"), "next", "next"),
    "drops the answer's head": (WELL, Fault(after=20, then="drop"), "next", "next"),
    "drops before the first token": (WELL, Fault(after=HEAD_BYTES, then="drop"), "next", None),
    "drops mid-answer": (WELL, Fault(after=MID_BYTES, then="drop"), "cut", None),
    "drops mid-body": (WELL, Fault(after=PLAIN_HALF, then="drop"), None, "next"),
    "half-closes the request's way": (Fault(after=0, then="half-close"), WELL, "next", "next"),
    "half-closes the answer": (WELL, Fault(after=0, then="half-close"), "next", "next"),
    "half-closes in the head": (WELL, Fault(after=20, then="half-close"), "next", "next"),
    "half-closes mid-answer": (WELL, Fault(after=MID_BYTES, then="half-close"), "cut", None),
    "half-closes mid-body": (WELL, Fault(after=PLAIN_HALF, then="half-close"), None, "next"),
    "resets at once": (Fault(after=0, then="reset"), WELL, "next", "next"),
    "resets in the request": (Fault(after=150, then="reset"), WELL, "next", "next"),
    "resets before the answer": (WELL, Fault(after=0, then="reset"), "next", "next"),
    "resets before the first token": (WELL, Fault(after=HEAD_BYTES, then="reset"), "next", None),
    "resets mid-answer": (WELL, Fault(after=MID_BYTES, then="reset"), "cut", None),
    "resets mid-body": (WELL, Fault(after=PLAIN_HALF, then="reset"), None, "next"),
}
CASES = [
    pytest.param(name, stream, expected, id=f"{name.replace(' ', '_')}-{way}")
    for name, (_, _, *ways) in TO_A_FLEET.items()
    for (way, stream), expected in zip([("stream", True), ("plain", False)], ways, strict=True)
    if expected
]


def fleet(name, url, **more):
    """A fleet that no probe asks: what comes over its wire are requests alone."""
    line = probed_fleet(name, url, **more)
    return line.replace("engine: vllm, kind: openai_http", "engine: emulated, kind: emulated")


def answering(name):
    """A fleet that answers well, and says who it is; it gives its reader time for each event."""

    def script(body, send, gone):
        if not body.get("stream"):
            message = {"role": "assistant", "content": name}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            send(plain({**ANSWER, "choices": [choice]}))
            return "keep"
        send(stream_head())
        for event in [ROLE, chunk(name), chunk(name), chunk(name), chunk(finish="stop")]:
            send(event)
            gone(0.02)
        send(USAGE_EVENT + DONE)
        return "close"

    return script


def content_of(response):
    if not response.headers["content-type"].startswith("text/event-stream"):
        return response.json()["choices"][0]["message"]["content"]
    events = [e for e in response.content.split(b"\n\n") if e.startswith(b"data: {")]
    choices = [c for e in events for c in json.loads(e[6:]).get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def books(router, response=None):
    """Return the ledger's rows, of one request or of all, once all is settled and right."""
    wait_until(lambda: in_flight(router) == [])
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: ledger.books().held == [])
        assert wrong(ledger) == []
        rows = ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
        wanted = response and response.headers["x-sluice-request-id"]
        return [row for row in rows if wanted in (None, row.request_id)]
    finally:
        ledger.close()


# -- between the router and a fleet ----------------------------------------------------------------


@pytest.fixture(scope="module")
def wired(start_shared_router):
    """A router with two fleets, the first of them behind a wire."""
    one, two = Upstream(), Upstream()
    try:
        with proxying(one.url) as wire:
            fleets = catalogue(
                fleet("one", f"{wire.url}/v1"), fleet("two", two.url, lane="accelerator")
            )
            router = start_shared_router(fleets, policy(BOTH, defaults=LIMITS))
            one.script, two.script = answering("one"), answering("two")
            yield router, wire, one
    finally:
        one.stop()
        two.stop()


@pytest.mark.parametrize(("name", "stream", "expected"), CASES)
def test_a_wire_to_a_fleet_that(wired, name, stream, expected):
    router, wire, _ = wired
    wire.up, wire.down, *_ = TO_A_FLEET[name]
    wire.cut()
    response = router.chat(stream=stream, max_tokens=4)
    receipt = router.receipt(response)
    served = {"whole": ["one"], "next": ["one", "two"], "cut": ["one"]}[expected]
    assert [attempt["fleet"] for attempt in receipt["attempts"]] == served
    assert response.status_code == 200
    if expected == "cut":
        *before, last = [event for event in response.content.split(b"\n\n") if event]
        assert error_in(last)["code"] == "stream_broken"
        assert b"[DONE]" not in response.content
        assert b"".join(event + b"\n\n" for event in before).startswith(ROLE + chunk("one"))
        assert content_of(response) in ("one", "oneone")
    else:
        assert content_of(response) == served[-1] * (3 if stream else 1)
    *failed, last = receipt["attempts"]
    assert last["outcome"] == "ok" or expected == "cut"
    assert {attempt["outcome"] for attempt in failed} <= {"timed_out", "broken", "unreachable"}
    sent = [a["fleet"] for a in receipt["attempts"] if a["outcome"] != "unreachable"]
    rows = books(router, response)
    assert [row.fleet for row in rows] == sent
    assert sum(row.nano for row in rows) == round(receipt["charge"]["usd"] * 1e9)
    kept = expected == "whole"
    wait_until(lambda: connections(router.process.pid, wire.port) <= kept)


def test_a_wire_that_drops_everything_costs_no_more_than_the_first_tokens_time(wired):
    router, wire, one = wired
    wire.up, wire.down = WELL, Fault(after=0, then="drop")
    wire.cut()
    before, one.script = one.hung_up, lambda body, send, gone: gone() and "close"
    first, second = router.receipt(router.chat(stream=True))["attempts"]
    assert first["outcome"] == "timed_out"
    assert 2450 < first["e2e_ms"] < 2500 + 5000  # of a deadline of 20 s
    assert second["outcome"] == "ok"
    wait_until(lambda: one.hung_up == before + 1)  # and the fleet was told


# -- between a caller and the router ---------------------------------------------------------------


@pytest.fixture
def router(start_router, upstream):
    limits = LIMITS.replace("20000", "8000").replace("2500", "8000")
    return start_router(catalogue(fleet("one", upstream.url)), policy(defaults=limits))


def endless(body, send, gone):
    send(stream_head() + ROLE)
    while not gone(0.01):
        send(chunk("x" * 20_000))
    return "close"


def through(wire, router, **body):
    """A caller's request on a wire of its own, and the socket to it."""
    messages = [{"role": "user", "content": "hi"}]
    data = json.dumps({"model": "auto", "messages": messages, **body}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    caller = socket.create_connection(("127.0.0.1", wire.port))
    caller.sendall(head.encode() + data)
    return caller


SLOW = {
    "delays both ways": (Fault(delay_s=0.1), Fault(delay_s=0.1)),
    "carries the request slowly": (Fault(bytes_per_s=2000), WELL),
    "carries the answer slowly": (WELL, Fault(bytes_per_s=2000)),
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("name", SLOW)
def test_a_caller_behind_a_bad_wire_gets_all_of_it_where_it(router, upstream, name, stream):
    upstream.script = answering("one")
    with proxying(router.url) as wire:
        wire.up, wire.down = SLOW[name]
        with httpx.Client(base_url=wire.url, headers=router.headers(), timeout=60) as http:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            response = http.post("/v1/chat/completions", json={**body, "stream": stream})
        assert content_of(response) == "one" * (3 if stream else 1)
        assert len(books(router)) == 1


ENDS = {
    "resets at the first byte of the answer": (WELL, Fault(after=1, then="reset")),
    "resets the caller's side": (WELL, Fault(after=2000, then="reset")),
    "half-closes what the caller sends": (Fault(after=400, then="half-close"), WELL),
    "drops what is sent to the caller": (WELL, Fault(after=2000, then="drop")),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_fleet_is_freed_and_charged_once_where_the_wire_to_the_caller(router, upstream, name):
    """Dropped, it is as with a caller who reads nothing: until the deadline."""
    upstream.script = endless
    with proxying(router.url) as wire:
        wire.up, wire.down = ENDS[name]
        with through(wire, router, stream=True, max_tokens=3000, user="x" * 400):
            wait_until(lambda: upstream.bodies or "half-close" in name)
            rows = books(router)
        if not rows:  # half-closed within the request: it never was one
            assert upstream.bodies == []
            return
        (row,) = rows
        (receipt,) = router.receipts()
        assert row.nano == round(receipt["charge"]["usd"] * 1e9) > 0
        wait_until(lambda: upstream.hung_up == 1)
    upstream.script = answering("one")
    assert router.chat().status_code == 200


def test_a_caller_who_half_closes_after_the_request_has_gone(router, upstream):
    upstream.script = endless
    with proxying(router.url) as wire, through(wire, router, stream=True) as caller:
        wait_until(lambda: upstream.bodies)
        caller.shutdown(socket.SHUT_WR)
        wait_until(lambda: upstream.hung_up == 1)
        (row,) = books(router)
    assert row.outcome == "client_closed"


def test_half_a_request_that_never_goes_on_blocks_nobody(router, upstream):
    upstream.script = answering("one")
    with proxying(router.url) as wire:
        wire.up = Fault(after=200, then="drop")
        with through(wire, router), through(wire, router, stream=True):
            assert router.chat().status_code == 200
        assert len(upstream.bodies) == 1
    assert len(books(router)) == 1

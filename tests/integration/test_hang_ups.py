"""Callers who go away, read nothing or ask oddly: fleets are freed, nobody else is harmed."""

import socket
import time

import pytest
from support import (
    DONE,
    EVENTS,
    ROLE,
    catalogue,
    chunk,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

LONG = ", limits: {ttft_timeout_ms: 100000, inter_chunk_timeout_ms: 100000}"


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy(defaults=LONG))


def idle(router):
    return 'sluice_in_flight{fleet="one"} 0.0' in router.http.get("/metrics").text


def endless(body, send, gone):
    send(stream_head() + ROLE)
    while not gone(0.0001):
        send(chunk("x" * 20_000) * 5)
    return "close"


def test_a_caller_who_reads_nothing_holds_a_fleet_no_longer_than_the_deadline(
    start_router, upstream
):
    limits = ", limits: {deadline_ms: 4000, ttft_timeout_ms: 4000, inter_chunk_timeout_ms: 4000}"
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=limits))
    upstream.script = endless
    with router.calling(stream=True, max_tokens=3000):
        wait_until(lambda: upstream.bodies)
        wait_until(lambda: idle(router))  # while the caller is still there
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    assert receipt["attempts"][0]["outcome"] != "bug"
    upstream.streams(*EVENTS, DONE)
    assert router.chat(stream=True).status_code == 200  # the fleet was not blamed


def test_a_stream_behind_an_answer_that_nobody_reads_is_freed_when_the_caller_goes(
    router, upstream
):
    big = {"choices": [{"message": {"content": "x" * 12_000_000}}]}

    def script(body, send, gone):
        if not body.get("stream"):
            send(plain(big))
            return "keep"
        send(stream_head() + ROLE + chunk("he"))
        gone(60)
        return "close"

    upstream.script = script
    with router.calling() as caller:
        caller.sendall(router.request(stream=True))
        wait_until(lambda: upstream.bodies)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    # It has closed with a reset.
    wait_until(lambda: idle(router))
    assert router.chat().status_code == 200


def test_the_deadline_is_one_for_all_attempts_of_a_stream(start_router, upstream, second_upstream):
    fleets = catalogue(fleet("one", upstream.url), fleet("two", second_upstream.url))
    limits = ", limits: {deadline_ms: 6000, ttft_timeout_ms: 3000, inter_chunk_timeout_ms: 3000}"
    router = start_router(fleets, policy(defaults=limits))

    def hang(body, send, gone):
        gone(60)
        return "close"

    def drip(body, send, gone):
        send(stream_head() + ROLE)
        for _ in range(200):
            send(chunk("x"))
            if gone(0.1):
                break
        return "close"

    # Whichever fleet is tried first hangs; the other drips for longer than the deadline.
    order = []

    def by_turn(body, send, gone):
        order.append(1)
        return (hang if len(order) == 1 else drip)(body, send, gone)

    upstream.script = second_upstream.script = by_turn
    content = router.chat(stream=True).content
    (receipt,) = router.receipts()
    spent_ms = sum(attempt["e2e_ms"] for attempt in receipt["attempts"])
    assert b"stream_broken" in content
    assert len(receipt["attempts"]) == 2
    assert spent_ms < 6000 + 3000  # not 3000 for the first and 6000 more for the second


def test_a_fleet_that_counts_strictly_still_has_room_for_the_default_limit(start_router, upstream):
    def strict(body, send, gone):
        words = 11  # what the fleet's own template makes of `hi`
        over = words + body["max_tokens"] > 4096
        error = {"error": {"message": "This model's maximum context length is 4096 tokens."}}
        send(plain(error, status=400) if over else plain())

    upstream.script = strict
    fleets = catalogue(fleet("one", upstream.url), context=4096)
    assert start_router(fleets, policy()).chat("hi").status_code == 200


@pytest.mark.parametrize("name", ["n_predict", "num_predict", "max_new_tokens"])
def test_no_other_name_of_the_output_limit_passes_by(router, upstream, name):
    response = router.chat(max_tokens=5, **{name: 60})
    assert (response.status_code, response.json()["error"]["param"]) == (400, name)
    assert upstream.bodies == []


def test_two_output_limits_that_differ_are_refused(router):
    assert router.chat(max_tokens=5, max_completion_tokens=6).status_code == 400
    assert router.chat(max_tokens=5, max_completion_tokens=5).status_code == 200


def test_a_mistyped_hint_is_told_rather_than_ignored(router):
    response = router.chat(headers={"x-sluice-maxusd": "0.1"})
    assert response.status_code == 400
    assert "x-sluice-max-usd" in response.json()["error"]["message"]


@pytest.mark.parametrize("depth", [150, 250, 969, 5000])
def test_deep_nesting_is_passed_on_or_refused_but_never_a_crash(router, depth):
    body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"x":%b1%b}'
    data = body % (b"[" * depth, b"]" * depth)
    response = router.http.post("/v1/chat/completions", content=data)
    assert response.status_code == (200 if depth < 200 else 400)


def test_a_caller_who_is_gone_after_a_while_is_charged_for_that_while(router, upstream):
    def slow(body, send, gone):
        gone(60)
        return "close"

    upstream.script = slow
    with router.calling(max_tokens=100):
        wait_until(lambda: upstream.bodies)
        time.sleep(0.4)  # longer than the fleet is predicted to take to its first token
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    assert receipt["attempts"][0]["outcome"] == "client_closed"
    assert receipt["charge"]["estimated"] is True
    assert receipt["charge"]["usd"] > 0

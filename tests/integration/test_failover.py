"""What happens when fleets fail: the next one in time, else an honest status with the reasons."""

import os

import pytest
from support import (
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    catalogue,
    fleet,
    free_port,
    plain,
    policy,
    stream_head,
    wait_until,
)

LIMITS = ", limits: {deadline_ms: 20000, attempts: 2, breaker: {failures: 3, open_ms: 700}}"
# For what hangs: the fleet that is asked next has as long, and is not late on a busy machine.
SHORT = LIMITS.replace("attempts", "ttft_timeout_ms: 2500, attempts")


def hang(body, send, gone):
    gone()
    return "close"


def hang_in_the_head(body, send, gone):
    send(stream_head() + ROLE)
    gone()
    return "close"


FAULTS = {
    "closes at once": lambda u: u.answers(b"", then="close"),
    "garbage": lambda u: u.answers(b"\x00\x01 no HTTP at all\r\n\r\n", then="close"),
    "not JSON": lambda u: u.answers(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", then="close"
    ),
    "half an answer": lambda u: u.answers(plain()[:-20], then="close"),
    "500": lambda u: u.answers(plain({"error": {"message": "boom"}}, status=500)),
    "429": lambda u: u.answers(plain({"error": {"message": "busy"}}, status=429)),
    "401": lambda u: u.answers(plain({"error": {"message": "no"}}, status=401)),
    "redirect": lambda u: u.answers(plain({}, 302, "location: http://127.0.0.1:1/\r\n")),
    "context": lambda u: u.answers(
        plain({"error": {"type": "exceed_context_size_error", "code": 400}}, status=400)
    ),
}
STREAM_FAULTS = {
    **FAULTS,
    "hangs": lambda u: setattr(u, "script", hang),
    "hangs after the role": lambda u: setattr(u, "script", hang_in_the_head),
    "ends after the role": lambda u: u.streams(ROLE),
}


def two(start_router, upstream, second_upstream, limits=LIMITS):
    fleets = catalogue(
        fleet("one", upstream.url), fleet("two", second_upstream.url, lane="accelerator")
    )
    return start_router(fleets, policy(BOTH, defaults=limits))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_fleet_answers_when_the_first_fails(
    start_router, upstream, second_upstream, fault
):
    router = two(start_router, upstream, second_upstream)
    FAULTS[fault](upstream)
    response = router.chat()
    assert response.status_code == 200
    assert response.headers["x-sluice-fleet"] == "two"
    first, second = router.receipt(response)["attempts"]
    assert (first["fleet"], second["fleet"]) == ("one", "two")
    assert first["outcome"] not in ("ok", "bug")
    assert second["outcome"] == "ok"


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_the_next_fleet_streams_when_the_first_fails_before_its_first_token(
    start_router, upstream, second_upstream, fault
):
    limits = SHORT if "hangs" in fault else LIMITS
    router = two(start_router, upstream, second_upstream, limits)
    STREAM_FAULTS[fault](upstream)
    second_upstream.streams(*EVENTS, DONE)
    response = router.chat(stream=True)
    assert response.headers["x-sluice-fleet"] == "two"
    assert b"".join(EVENTS) in response.content
    assert [a["fleet"] for a in router.receipt(response)["attempts"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("closes at once", 502, "upstream_failed"),
        ("500", 502, "upstream_failed"),
        ("429", 503, "overloaded"),
        ("context", 400, "context_length_exceeded"),
    ],
)
def test_when_nobody_is_left_the_caller_is_told_every_reason(
    start_router, upstream, second_upstream, fault, status, code
):
    router = two(start_router, upstream, second_upstream)
    FAULTS[fault](upstream)
    FAULTS[fault](second_upstream)
    response = router.chat()
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert [reason["fleet"] for reason in error["reasons"]] == ["one", "two"]
    assert ("retry-after" in response.headers) == (status == 503)


def test_fleets_that_hang_are_given_up_in_time(start_router, upstream, second_upstream):
    router = two(start_router, upstream, second_upstream, SHORT)
    upstream.script = second_upstream.script = hang
    response = router.chat(max_tokens=1)
    assert response.status_code == 504
    assert [r["code"] for r in response.json()["error"]["reasons"]] == ["timed_out", "timed_out"]
    wait_until(lambda: upstream.hung_up + second_upstream.hung_up == 2)


def test_a_request_that_the_fleet_rejects_is_not_tried_elsewhere(
    start_router, upstream, second_upstream
):
    router = two(start_router, upstream, second_upstream)
    said = {"error": {"message": "`logit_bias` is wrong", "code": 400}}
    upstream.answers(plain(said, status=400))
    response = router.chat()
    assert (response.status_code, response.json()) == (400, said)
    assert second_upstream.bodies == []
    assert router.receipt(response)["attempts"][0]["outcome"] == "rejected"


def test_a_fleet_that_keeps_failing_is_left_alone_and_tried_again_later(
    start_router, upstream, second_upstream
):
    router = two(start_router, upstream, second_upstream)
    FAULTS["500"](upstream)
    for _ in range(3):
        assert router.chat().headers["x-sluice-fleet"] == "two"

    def left_alone():  # or it was long enough: then it failed again, and is left alone anew
        asked = len(upstream.bodies)
        receipt = router.receipt(router.chat())
        one = next(c for c in receipt["candidates"] if c["fleet"] == "one")
        refused = (one["refused"] or {}).get("code") == "open_circuit"
        assert len(upstream.bodies) == asked + (not refused)
        return refused

    wait_until(left_alone)
    upstream.answers(plain())
    wait_until(lambda: router.chat().headers["x-sluice-fleet"] == "one")


def test_retry_after_is_kept_to(start_router, upstream, second_upstream):
    router = two(start_router, upstream, second_upstream)
    upstream.answers(plain({}, 503, "retry-after: 30\r\n"))
    router.chat()
    router.chat()
    assert len(upstream.bodies) == 1


def test_with_every_circuit_open_the_caller_is_told_when_to_come_back(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=LIMITS))
    upstream.answers(plain({}, 503, "retry-after: 30\r\n"))
    assert router.chat().status_code == 503
    response = router.chat()
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "no_fleet"
    assert 1 <= int(response.headers["retry-after"]) <= 30
    ready = router.http.get("/readyz")
    assert (ready.status_code, ready.json()["fleets"]) == (503, {"one": "open-circuit"})


def test_a_killed_llama_server_is_replaced_by_the_next_lane_until_it_is_back(
    start_router, start_tiny, second_upstream
):
    port = free_port()
    server = start_tiny(port)
    fleets = catalogue(
        fleet("one", server.url, more=", upstream_model: qwen3-tiny"),
        fleet("two", second_upstream.url, lane="accelerator"),
    )
    router = start_router(fleets, policy(BOTH, defaults=LIMITS))
    ticket = "Classify this ticket as billing, technical or shipping: I was charged twice"
    first = router.chat(ticket)
    assert first.headers["x-sluice-fleet"] == "one"
    os.kill(server.process.pid, 9)
    server.process.wait()
    without = router.chat(ticket)
    assert without.headers["x-sluice-fleet"] == "two"
    (*failed, served) = router.receipt(without)["attempts"]  # none, where a probe was the first
    assert [a["outcome"] for a in failed] in ([], ["unreachable"], ["broken"])
    assert (served["fleet"], served["outcome"]) == ("two", "ok")
    again = start_tiny(port)
    try:
        wait_until(lambda: router.chat(ticket).headers["x-sluice-fleet"] == "one")
    finally:
        again.stop()


def test_the_router_takes_no_longer_than_the_deadline(start_router, upstream):
    limits = ", limits: {deadline_ms: 3000, ttft_timeout_ms: 3000, inter_chunk_timeout_ms: 3000}"
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=limits))

    def drip(body, send, gone):
        send(stream_head() + ROLE)
        while not gone(0.1):  # for ever
            send(EVENTS[1])
        return "close"

    upstream.script = drip
    assert b"stream_broken" in router.chat(stream=True).content

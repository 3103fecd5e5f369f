"""A fleet that fails for a moment is asked again, within money, time, its breaker and a budget."""

import time

import pytest
from ledger_support import wrong
from support import DONE, EVENTS, catalogue, fleet, plain, policy, stream_head, wait_until

from router.ledger.sqlite import SqliteLedger

LIMITS = ", limits: {deadline_ms: 20000, attempts: 3"
FAILS = {
    "500": plain({"error": {"message": "boom"}}, status=500),
    "429": plain({"error": {"message": "busy"}}, status=429),
    "nothing": b"",
}


def alone(start_router, upstream, limits="", more="", **rights):
    text = policy(defaults=f"{LIMITS}{limits}}}") + more
    return start_router(catalogue(fleet("one", upstream.url)), text, **rights)


def fails_at_first(upstream, failure, times=1, then=None):
    """Let the first requests fail so, and those that follow be answered."""

    def script(body, send, gone):
        if len(upstream.bodies) <= times:
            send(failure)
            return "close"
        if body.get("stream"):
            send(stream_head() + b"".join([*EVENTS, DONE]))
            return "close"
        send(plain() if then is None else then)
        return "keep"

    upstream.script = script


@pytest.mark.parametrize("failure", FAILS)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_fleet_that_fails_for_a_moment_answers_the_second_time(
    start_router, upstream, failure, stream
):
    router = alone(start_router, upstream)
    fails_at_first(upstream, FAILS[failure])
    response = router.chat(stream=stream)
    assert response.status_code == 200
    attempts = router.receipt(response)["attempts"]
    assert [attempt["fleet"] for attempt in attempts] == ["one", "one"]
    assert attempts[-1]["outcome"] == "ok"
    assert 'sluice_retries_total{fleet="one",outcome="made"} 1.0' in metrics(router)


def test_a_fleet_that_goes_on_failing_is_tried_as_often_as_the_policy_says(start_router, upstream):
    router = alone(start_router, upstream)
    upstream.answers(FAILS["500"])
    response = router.chat()
    assert response.status_code == 502
    assert [r["code"] for r in response.json()["error"]["reasons"]] == ["server_failed"] * 3
    assert len(upstream.bodies) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_what_will_not_pass_is_asked_once(start_router, upstream, status):
    router = alone(start_router, upstream)
    upstream.answers(plain({"error": {"message": "no"}}, status=status))
    assert router.chat().status_code >= 400
    assert len(upstream.bodies) == 1


def test_a_breaker_that_these_failures_open_ends_the_retries(start_router, upstream):
    router = alone(start_router, upstream, ", breaker: {failures: 2, open_ms: 60000}")
    upstream.answers(FAILS["500"])
    response = router.chat()
    assert (response.status_code, len(upstream.bodies)) == (502, 2)
    assert [r["code"] for r in response.json()["error"]["reasons"]] == ["server_failed"] * 2
    assert 'sluice_retries_total{fleet="one",outcome="circuit_open"} 1.0' in metrics(router)


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_told(start_router, upstream):
    router = alone(start_router, upstream)
    fails_at_first(upstream, plain({}, 503, "retry-after: 1\r\nconnection: close\r\n"))
    began = time.monotonic()
    assert router.chat().status_code == 200
    assert time.monotonic() - began >= 1
    upstream.answers(plain({}, 503, "retry-after: 60\r\n"))
    response = router.chat()
    assert response.status_code == 503
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert len(upstream.bodies) == 3


def test_retries_add_a_burst_and_a_tenth_of_the_load_and_no_more(start_router, upstream):
    router = alone(start_router, upstream, ", breaker: {failures: 1000000, open_ms: 1}")
    upstream.answers(FAILS["500"])
    for _ in range(20):
        assert router.chat().status_code == 502
    first, retries = 20, 10 + 1  # the burst; what twenty first tries earn beyond a full one
    assert len(upstream.bodies) <= first + retries
    assert 'outcome="over_budget"' in metrics(router)


BUDGET = "budgets:\n  - {id: all, match: {}, usd: 0.01, per: month, tz: UTC, when_spent: reject}\n"


def test_every_try_is_charged_and_all_were_set_aside(start_router, upstream):
    router = alone(start_router, upstream, more=BUDGET)
    fails_at_first(upstream, FAILS["500"], times=2)
    receipt = router.receipt(router.chat(max_tokens=3))
    nano = [round(attempt["usd"] * 1e9) for attempt in receipt["attempts"]]
    assert len(nano) == 3
    assert min(nano) > 0
    assert round(receipt["charge"]["usd"] * 1e9) == sum(nano)
    assert receipt["charge"]["usd"] <= receipt["reservation"]["usd"]
    assert [row.nano for row in rows(router)] == nano


def rows(router):
    """Return the ledger's rows; the books must add up."""
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: not ledger.books().held)
        assert wrong(ledger) == []
        return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()


def test_a_cap_that_does_not_pay_for_retries_leaves_the_first_try(start_router, upstream):
    router = alone(start_router, upstream)
    probe = router.receipt(router.chat(max_tokens=1))
    with_retries = probe["reservation"]["usd"]
    upstream.answers(FAILS["500"])
    before = len(upstream.bodies)
    cap = {"x-sluice-max-usd": f"{with_retries * 0.9:.12f}"}
    assert router.chat(max_tokens=1, headers=cap).status_code == 502
    assert len(upstream.bodies) - before == 2  # of three, the last prompt is not paid for


def test_a_caller_who_leaves_during_a_pause_is_sent_nowhere(start_router, upstream):
    router = alone(start_router, upstream)
    upstream.answers(plain({}, 503, "retry-after: 15\r\n"))
    with router.calling():
        wait_until(lambda: 'sluice_retries_total{fleet="one",outcome="made"}' in metrics(router))
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["overloaded"]
    assert len(upstream.bodies) == 1
    assert rows(router) == []


def metrics(router):
    return router.http.get("/metrics").text

"""What an attempt that failed is charged: its prompt and what was seen, or nothing if refused."""

import threading

import pytest
from support import (
    ANSWER,
    BOTH,
    ROLE,
    START_S,
    catalogue,
    chunk,
    event,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.ledger.audit import violations
from router.ledger.sqlite import SqliteLedger

# What hangs is given up after so long; the next one has as long, and is not late on a busy machine.
LIMITS = ", limits: {ttft_timeout_ms: 2500, inter_chunk_timeout_ms: 2500, attempts: TRIES}"
ONCE, TWICE = (LIMITS.replace("TRIES", tries) for tries in "12")


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy(defaults=ONCE))


@pytest.fixture
def two(start_router, upstream, second_upstream):
    """One fleet after the other; the first one has a price in us-east-1 only."""

    def start(first_in="us-east-1"):
        first = fleet("one", upstream.url).replace("us-east-1", first_in)
        then = fleet("two", second_upstream.url, lane="accelerator")
        text = policy(BOTH, baseline="m@two", defaults=TWICE)
        return start_router(catalogue(first, then), text)

    return start


def rows(router):
    """Return the ledger's rows, when all is settled; the books must add up."""
    ledger = SqliteLedger(router.state)
    try:
        books = ledger.books()
        assert list(violations(books)) == []
        assert books.held == []
        return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()


def prompt_nano(router, receipt):
    """Return what this request's prompt costs on the fleet `one`, by what an answer to it costs."""
    usage = {"prompt_tokens": receipt["facts"]["tokens_in"], "completion_tokens": 0}
    router.upstream.answers(plain({**ANSWER, "usage": usage}))
    wait_until(lambda: router.chat(max_tokens=2).status_code == 200)  # once its circuit is closed
    return rows(router)[-1].nano


def failure(status, code=None):
    return plain({"error": {"message": "no", "code": code}}, status=status)


def hangs(body, send, gone):
    gone(60)
    return "close"


def hangs_after_its_role(body, send, gone):
    send(stream_head() + ROLE)
    gone(60)
    return "close"


def closes(body, send, gone):
    return "close"


WORKED = {
    "hangs": (hangs, "timed_out"),
    "hangs after its role": (hangs_after_its_role, "timed_out"),
    "closes": (closes, "broken"),
    "408": (lambda body, send, gone: send(failure(408)), "timed_out"),
    "500": (lambda body, send, gone: send(failure(500)), "server_failed"),
    "no JSON": (
        lambda body, send, gone: send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        "garbled",
    ),
}


@pytest.mark.parametrize("fault", WORKED)
def test_what_was_sent_and_may_have_cost_is_charged_its_prompt(router, upstream, fault):
    upstream.script, outcome = WORKED[fault]
    router.upstream = upstream
    stream = fault == "hangs after its role"
    assert router.chat(max_tokens=2, stream=stream).status_code >= 500
    (row,) = rows(router)
    (receipt,) = router.receipts()
    (attempt,) = receipt["attempts"]
    tokens_in = receipt["facts"]["tokens_in"]
    assert (row.outcome, row.tokens_in, row.tokens_out) == (outcome, tokens_in, 0)
    assert (row.estimated, receipt["charge"]["estimated"]) == (True, True)
    assert (attempt["tokens_in"], attempt["tokens_out"]) == (tokens_in, 0)
    assert round(attempt["usd"] * 1e9) == row.nano > 0
    assert row.nano == prompt_nano(router, receipt)


REFUSED = {
    "400": (failure(400), "rejected"),
    "401": (failure(401), "misconfigured"),
    "413": (failure(413), "context_exceeded"),
    "429": (failure(429), "overloaded"),
    "503": (failure(503), "overloaded"),
    "503 in a 200": (plain({"error": {"message": "full", "code": 503}}), "overloaded"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_fleet_refused_costs_nothing_and_leaves_no_row(router, upstream, fault):
    said, outcome = REFUSED[fault]
    upstream.answers(said)
    assert router.chat(max_tokens=2).status_code >= 400
    (receipt,) = router.receipts()
    (attempt,) = receipt["attempts"]
    assert attempt["outcome"] == outcome
    assert (attempt["tokens_in"], attempt["tokens_out"], attempt["usd"]) == (0, 0, 0)
    assert receipt["charge"] == {}
    assert rows(router) == []


@pytest.mark.parametrize("how", ["hangs", "is overloaded"])
def test_what_a_stream_had_sent_before_it_failed_is_charged_as_an_estimate(router, upstream, how):
    spoke = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("he") + chunk("llo") + chunk("!"))
        if how == "hangs":
            gone(60)
        else:
            spoke.wait(START_S)
            send(event(error={"message": "full", "code": 503}))
        return "close"

    upstream.script = script
    _, content = router.stream(spoke=spoke)
    assert b"stream_broken" in content
    (row,) = rows(router)
    (receipt,) = router.receipts()
    assert (row.tokens_in, row.tokens_out) == (receipt["facts"]["tokens_in"], 3)
    assert row.outcome == ("timed_out" if how == "hangs" else "broken")
    assert row.estimated
    assert row.nano > 0


def test_the_fleet_that_hung_and_the_one_that_answered_are_both_charged(two, upstream):
    router = two()
    upstream.script = hangs
    response = router.chat(max_tokens=2)
    assert response.headers["x-sluice-fleet"] == "two"
    first, second = rows(router)
    receipt = router.receipt(response)
    assert (first.fleet, first.tokens_out, first.estimated, first.last) == ("one", 0, True, False)
    assert (second.fleet, second.estimated, second.last) == ("two", False, True)
    assert first.nano > 0
    assert round(receipt["charge"]["usd"] * 1e9) == first.nano + second.nano
    assert receipt["charge"]["estimated"] is True
    assert response.headers["x-sluice-cost-usd"] == f"{receipt['charge']['usd']:.9f}"


def test_a_charge_that_lacks_what_an_attempt_without_a_price_took_says_so(two, upstream):
    router = two(first_in="nowhere")
    upstream.script = hangs
    receipt = router.receipt(router.chat(max_tokens=2))
    assert [attempt["usd"] is None for attempt in receipt["attempts"]] == [True, False]
    assert receipt["charge"]["estimated"] is True


def test_a_fleet_that_counts_only_what_it_made_is_charged_the_prompt_as_well(router, upstream):
    upstream.answers(plain({**ANSWER, "usage": {"completion_tokens": 3}}))
    receipt = router.receipt(router.chat(max_tokens=4))
    (row,) = rows(router)
    assert (row.tokens_in, row.tokens_out) == (receipt["facts"]["tokens_in"], 3)
    assert row.estimated
    assert row.nano > 0

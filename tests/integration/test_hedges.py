"""A late stream gets a second attempt beside it: one answer is seen, both are paid."""

import pytest
from ledger_support import wrong
from support import (
    DONE,
    EVENTS,
    ROLE,
    USAGE_EVENT,
    catalogue,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.ledger.sqlite import SqliteLedger

# Who is not there after 300 ms is hardly there after 310, whatever the profile foretells: so a
# hedge is worth its cost. Where the prediction lies above, the objective gives way.
RULE = (
    "  - {id: all, use: {in_order: [cpu, accelerator]}, slo: {ttft_p95_ms: 310}, "
    "relax: [slo.ttft], limits: {deadline_ms: 20000, ttft_timeout_ms: 5000}, "
    "hedge: {after: 300, spend_up_to_usd: SPEND}}\n"
)
BUDGET = "budgets:\n  - {id: all, match: {}, usd: USD, per: month, tz: UTC, when_spent: reject}\n"


@pytest.fixture
def hedged(start_router, upstream, second_upstream):
    """Start a router with a late fleet and one that answers at once."""
    upstream.script = late
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)

    def start(spend=1, more="", after_ms=300, **rights):
        fleets = catalogue(
            fleet("one", upstream.url), fleet("two", second_upstream.url, lane="accelerator")
        )
        rule = RULE.replace("SPEND", str(spend))
        rule = rule.replace("310", str(after_ms + 10)).replace("300,", f"{after_ms},")
        text = policy(rules=rule) + more
        return start_router(fleets, text, **rights)

    return start


def late(body, send, gone):
    """Show the role, and nothing more until the caller goes."""
    send(stream_head() + ROLE)
    gone()
    return "close"


def slow(after_s):
    def script(body, send, gone):
        send(stream_head() + ROLE)
        if not gone(after_s):
            send(b"".join([*EVENTS[1:], USAGE_EVENT, DONE]))
        return "close"

    return script


def once(true):
    """Show the role, and the rest once that is so."""

    def script(body, send, gone):
        send(stream_head() + ROLE)
        wait_until(true)
        send(b"".join([*EVENTS[1:], USAGE_EVENT, DONE]))
        return "close"

    return script


def outcomes(receipt):
    return [(attempt["fleet"], attempt["outcome"]) for attempt in receipt["attempts"]]


def rows(router):
    """Return the ledger's rows; the books must add up."""
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: not ledger.books().held)
        assert wrong(ledger) == []
        return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()


def test_a_late_stream_is_overtaken_and_both_attempts_are_paid(hedged, upstream):
    router = hedged(more=BUDGET.replace("USD", "1"))
    response = router.chat(stream=True, max_tokens=5)
    assert response.headers["x-sluice-fleet"] == "two"
    assert response.content.count(b"he") == 1
    assert response.content.endswith(DONE)
    wait_until(lambda: upstream.hung_up == 1)
    receipt = router.receipt(response)
    assert outcomes(receipt) == [("one", "hedged_out"), ("two", "ok")]
    nano = [round(attempt["usd"] * 1e9) for attempt in receipt["attempts"]]
    assert min(nano) > 0
    assert round(receipt["charge"]["usd"] * 1e9) == sum(nano)
    assert receipt["charge"]["usd"] <= receipt["reservation"]["usd"]
    first, second = rows(router)
    assert [first.nano, second.nano] == nano
    assert (first.outcome, first.last, second.last) == ("hedged_out", False, True)
    assert first.estimated
    metrics = router.http.get("/metrics").text
    for name in ("one", "two"):
        assert f'sluice_in_flight{{fleet="{name}"}} 0.0' in metrics


def test_a_stream_in_time_is_alone(hedged, upstream, second_upstream):
    router = hedged(after_ms=4000)  # on a busy machine 300 are not many
    upstream.streams(*EVENTS, DONE)
    assert outcomes(router.receipt(router.chat(stream=True))) == [("one", "ok")]
    assert second_upstream.bodies == []


def test_the_late_one_may_still_be_the_first(hedged, upstream, second_upstream):
    router = hedged()
    upstream.script, second_upstream.script = once(lambda: second_upstream.bodies), late
    response = router.chat(stream=True)
    assert response.headers["x-sluice-fleet"] == "one"
    assert outcomes(router.receipt(response)) == [("two", "hedged_out"), ("one", "ok")]
    wait_until(lambda: second_upstream.hung_up == 1)


def test_a_hedge_that_fails_leaves_the_late_one_alone(hedged, upstream, second_upstream):
    router = hedged()
    failed = 'sluice_attempts_total{fleet="two",outcome="server_failed"}'
    upstream.script = once(lambda: failed in router.http.get("/metrics").text)
    second_upstream.answers(plain({"error": {"message": "boom"}}, status=500))
    response = router.chat(stream=True)
    assert response.headers["x-sluice-fleet"] == "one"
    assert outcomes(router.receipt(response)) == [("two", "server_failed"), ("one", "ok")]


def test_a_caller_who_leaves_while_both_run_frees_both_and_pays_both(
    hedged, upstream, second_upstream
):
    router = hedged()
    second_upstream.script = late
    with router.calling(stream=True):
        wait_until(lambda: upstream.bodies and second_upstream.bodies)
    wait_until(lambda: upstream.hung_up + second_upstream.hung_up == 2)
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    assert outcomes(receipt) == [("one", "client_closed"), ("two", "client_closed")]
    assert len(rows(router)) == 2


def test_a_plain_answer_is_not_hedged(hedged, upstream, second_upstream):
    router = hedged()

    def script(body, send, gone):
        gone(0.8)
        send(plain())
        return "close"

    upstream.script = script
    assert outcomes(router.receipt(router.chat())) == [("one", "ok")]
    assert second_upstream.bodies == []


def test_what_may_cost_more_than_the_policy_spends_is_not_sent(hedged, upstream, second_upstream):
    router = hedged(spend=0.000000001)
    upstream.script = slow(0.8)
    assert outcomes(router.receipt(router.chat(stream=True))) == [("one", "ok")]
    assert second_upstream.bodies == []


def test_a_cap_that_pays_for_one_attempt_leaves_the_hedge_out(hedged, upstream, second_upstream):
    router = hedged()
    upstream.script = slow(0.8)
    both = router.receipt(router.chat(stream=True, max_tokens=5))["reservation"]["usd"]
    second_upstream.bodies.clear()
    cap = {"x-sluice-max-usd": f"{both * 0.6:.12f}"}
    receipt = router.receipt(router.chat(stream=True, max_tokens=5, headers=cap))
    assert (outcomes(receipt), receipt["plan"]) == ([("one", "ok")], ["one"])
    assert second_upstream.bodies == []


def test_a_budget_that_downgrades_leaves_the_hedge_out(hedged, upstream, second_upstream):
    budget = (
        "budgets:\n  - {id: soft, match: {}, usd: 0.000000001, hard_usd: 1, per: month, tz: UTC, "
        "when_spent: downgrade}\n"
    )
    router = hedged(more=budget, spend=0.5)
    upstream.script = slow(0.8)
    receipt = router.receipt(router.chat(stream=True))
    assert receipt["facts"]["downgraded"] == ["soft"]
    assert outcomes(receipt)[-1][1] == "ok"
    assert "hedged_out" not in str(receipt["attempts"])

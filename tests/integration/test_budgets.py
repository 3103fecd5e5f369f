"""Budgets over real sockets: what is set aside, charged, refused and told."""

import json
import signal
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    ANSWER,
    BOTH,
    Router,
    catalogue,
    event,
    fleet,
    plain,
    policy,
    process,
    sluice,
    stream_head,
    wait_until,
)

from router.ledger.sqlite import SqliteLedger

DAY = "per: day, when_spent"


def answered(tokens_in=10, tokens_out=2):
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return plain({**ANSWER, "usage": usage})


def budgets(*written):
    return "".join(f"  - {{{budget}}}\n" for budget in written)


def with_budgets(*written, use="cpu", **more):
    return policy(use, **more) + "budgets:\n" + budgets(*written)


def entries(router):
    ledger = SqliteLedger(router.state)
    try:
        return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()


def one(upstream, price=""):
    return catalogue(fleet("one", upstream.url, more=price))


def worst_usd(router):
    """Return what a request to this router sets aside."""
    return router.receipt(router.chat("hi", max_tokens=10))["reservation"]["usd"]


def test_a_request_is_charged_what_it_used_and_leaves_a_row(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: all, match: {{}}, usd: 1, {DAY}: reject")
    router = start_router(one(upstream), text)
    answer = router.chat("hi", max_tokens=10)
    assert answer.status_code == 200
    receipt = router.receipt(answer)
    assert receipt["reservation"]["scopes"][0]["budget"] == "all"
    assert receipt["reservation"]["usd"] > receipt["charge"]["usd"] > 0
    (row,) = entries(router)
    assert (row.request_id, row.kind, row.last) == (receipt["id"], "charge", True)
    assert row.nano == round(receipt["charge"]["usd"] * 1e9)
    assert (row.tokens_in, row.tokens_out, row.fleet, row.rule) == (10, 2, "one", "all")
    assert row.nano_baseline is not None
    assert row.reserved_nano == round(receipt["reservation"]["usd"] * 1e9)


def test_what_a_hard_budget_lets_go_is_said_the_same_by_header_receipt_and_row(
    start_router, upstream
):
    """The fleet makes more than it was asked for."""
    upstream.script = lambda body, send, gone: send(answered(tokens_out=1_000_000))
    text = with_budgets(f"id: all, match: {{}}, usd: 1, {DAY}: reject")
    router = start_router(one(upstream), text)
    answer = router.chat("hi", max_tokens=10)
    receipt = router.receipt(answer)
    (row,) = entries(router)
    assert row.overrun_nano > row.nano == row.reserved_nano
    assert row.nano == round(float(answer.headers["x-sluice-cost-usd"]) * 1e9)
    charge = receipt["charge"]
    assert row.nano == round(charge["usd"] * 1e9)
    assert row.nano_baseline == round(charge["usd_baseline"] * 1e9) == row.nano
    assert charge["usd_saved"] <= 0  # the baseline itself has served


def test_a_request_that_failed_saves_nothing(start_router, upstream):
    upstream.script = lambda body, send, gone: "close"
    router = start_router(one(upstream), policy(defaults=", limits: {attempts: 1}"))
    failed = router.chat("hi", max_tokens=10)
    assert failed.status_code == 502
    (row,) = entries(router)
    assert row.nano > 0
    assert row.nano_baseline == 0


def test_a_spent_budget_is_a_402_that_says_which_and_until_when(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: tiny, match: {{tenant: '*'}}, usd: 0.000001, {DAY}: reject")
    router = start_router(one(upstream), text)
    refused = router.chat("hi", max_tokens=1000)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (
        402,
        "budget_exhausted",
        "budget_exhausted",
    )
    assert error["scope"]["budget"] == "tiny"
    assert error["scope"]["value"].startswith("tenant=")
    assert error["reset"].endswith("T00:00:00Z")
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert upstream.bodies == []
    assert entries(router) == []


def test_other_callers_budgets_do_not_bind(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: ads, match: {{team: ads}}, usd: 0.000001, {DAY}: reject")
    router = start_router(one(upstream), text, team="search")
    assert router.chat("hi", max_tokens=1000).status_code == 200


def test_concurrent_requests_never_spend_more_than_the_budget_and_nearly_all_of_it(
    start_router, upstream
):
    """Each sets aside its worst case, and uses all of it: 24 requests, money for ten."""
    upstream.script = lambda body, send, gone: send(answered(tokens_in=66, tokens_out=10))
    probe = start_router(one(upstream), policy())
    worst = worst_usd(probe)
    usd = worst * 10.5
    text = with_budgets(f"id: all, match: {{}}, usd: {usd:.12f}, {DAY}: reject",
                        defaults=", limits: {attempts: 1}")  # fmt: skip
    router = start_router(one(upstream), text)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: router.chat("hi", max_tokens=10), range(24)))
    codes = sorted(answer.status_code for answer in answers)
    spent = sum(row.nano for row in entries(router)) / 1e9
    assert set(codes) <= {200, 402}
    assert spent <= usd
    assert codes.count(200) == len(entries(router))
    # What is left pays for no further request.
    while router.chat("hi", max_tokens=10).status_code == 200:
        pass
    spent = sum(row.nano for row in entries(router)) / 1e9
    assert usd - worst <= spent <= usd


def test_beyond_its_soft_limit_a_budget_downgrades_to_the_cheapest_lane(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    fleets = catalogue(
        fleet("dear", upstream.url, lane="accelerator", more=", usd_per_hour: 90.0"),
        fleet("one", upstream.url, more=", usd_per_hour: 0.1"),
    )
    text = with_budgets(
        f"id: soft, match: {{}}, usd: 0.00001, {DAY}: downgrade, hard_usd: 1",
        use="{in_order: [accelerator, cpu]}",
    )
    router = start_router(fleets, text)
    answer = router.chat("hi", max_tokens=100)
    assert answer.headers["x-sluice-fleet"] == "one"
    receipt = router.receipt(answer)
    assert receipt["facts"]["downgraded"] == ["soft"]
    refused = {c["fleet"]: c["refused"] for c in receipt["candidates"] if c["refused"]}
    assert refused["dear"]["code"] == "downgraded"


def test_a_budget_that_alerts_refuses_nothing_and_tells_once(start_router, upstream, tmp_path):
    told = []

    def script(body, send, gone):
        if "budget" in body:
            told.append(body)
            send(plain({}))
        else:
            send(answered())

    upstream.script = script
    soft = f"id: soft, match: {{}}, usd: 0.000000001, {DAY}: alert, alert_at: [0.5, 1]"
    text = with_budgets(soft)
    hook = upstream.url.removesuffix("/v1") + "/hook"
    router = start_router(one(upstream), text, "--alerts", hook)
    for _ in range(3):
        assert router.chat("hi").status_code == 200
    wait_until(lambda: len(told) == 2)
    assert [alert["share"] for alert in told] == [0.5, 1.0]
    assert told[0]["budget"] == "soft"
    assert told[0]["spent_usd"] > told[0]["usd"]
    assert "budget soft (all, " in router.log()


def test_a_caller_who_hangs_up_is_charged_for_what_was_produced(start_router, upstream):
    def script(body, send, gone):
        send(stream_head() + event(choices=[{"index": 0, "delta": {"content": "a"}}]))
        gone(20)
        return "close"

    upstream.script = script
    router = start_router(one(upstream), with_budgets(f"id: a, match: {{}}, usd: 1, {DAY}: reject"))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())
    wait_until(lambda: entries(router))
    (row,) = entries(router)
    assert (row.outcome, row.estimated) == ("client_closed", True)
    assert row.nano > 0


def test_attempts_that_failed_before_anything_was_sent_cost_nothing(start_router, upstream):
    text = with_budgets(f"id: a, match: {{}}, usd: 1, {DAY}: reject")
    away = fleet("one", "http://127.0.0.1:9/v1").replace("openai_http", "emulated")  # not probed
    router = start_router(catalogue(away), text)
    assert router.chat("hi").status_code == 502
    assert entries(router) == []
    ledger = SqliteLedger(router.state)
    try:
        assert ledger.expire(4e9).leases == 0  # nothing is set aside any more
    finally:
        ledger.close()


def test_the_same_request_is_not_made_twice(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy())
    with_key = {"idempotency-key": "order-7"}
    first = router.chat("hi", headers=with_key)
    again = router.chat("hi", headers=with_key)
    other = router.chat("ho", headers=with_key)
    assert (first.status_code, again.status_code, other.status_code) == (200, 409, 422)
    error = again.json()["error"]
    assert error["request_id"] == first.headers["x-sluice-request-id"]
    assert error["state"] == "settled"
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert len(upstream.bodies) == 1
    assert router.chat("hi", headers={"idempotency-key": "a b"}).status_code == 400


def test_a_refused_request_may_be_made_again_under_its_key(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: a, match: {{}}, usd: 0.000001, {DAY}: reject")
    router = start_router(one(upstream), text)
    with_key = {"idempotency-key": "order-8"}
    refused = [router.chat("hi", max_tokens=1000, headers=with_key) for _ in range(2)]
    assert [answer.status_code for answer in refused] == [402, 402]


def test_requests_of_one_idempotency_key_at_once_are_made_once(start_router, upstream):
    arrived = threading.Event()

    def script(body, send, gone):
        arrived.wait(5)
        send(answered())

    upstream.script = script
    router = start_router(one(upstream), policy())
    with ThreadPoolExecutor(6) as pool:
        waiting = [
            pool.submit(router.chat, "hi", headers={"idempotency-key": "k"}) for _ in range(6)
        ]
        wait_until(lambda: upstream.bodies)
        arrived.set()
        codes = sorted(answer.result().status_code for answer in waiting)
    assert codes == [200, 409, 409, 409, 409, 409]
    assert len(upstream.bodies) == 1


def test_a_keys_rate_limit_is_a_429_with_the_time_to_wait(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy(), requests_per_min=2)
    first, second, third = (router.chat("hi") for _ in range(3))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert (second.status_code, third.status_code) == (200, 429)
    assert int(third.headers["retry-after"]) > 0
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert third.json()["error"]["type"] == "rate_limit_error"


def test_a_ledger_that_is_gone_sends_nothing(start_router, upstream, tmp_path):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy())
    assert router.chat("hi").status_code == 200

    with sqlite3.connect(router.state / "sluice.db") as db:
        db.execute("DROP TABLE ledger_held")
    refused = router.chat("hi")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "ledger_unavailable"
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize("lane", ["cpu", "accelerator"])
def test_every_attempt_of_a_request_is_charged(start_router, upstream, lane):
    """The first fleet breaks off after content was sent; nothing is tried again, and it is paid."""

    def script(body, send, gone):
        send(stream_head() + event(choices=[{"index": 0, "delta": {"content": "abc"}}]))
        return "close"

    upstream.script = script
    fleets = catalogue(fleet("one", upstream.url), fleet("two", upstream.url, lane="accelerator"))
    use = BOTH if lane == "cpu" else "{in_order: [accelerator, cpu]}"
    router = start_router(fleets, policy(use))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        text = b"".join(answer.iter_bytes())
    assert json.loads(text.rpartition(b"data: ")[2])["error"]["code"] == "stream_broken"
    wait_until(lambda: entries(router))
    (row,) = entries(router)
    assert row.fleet == ("one" if lane == "cpu" else "two")
    assert (row.outcome, row.last) == ("broken", True)
    assert row.nano > 0


def test_a_killed_router_never_lets_its_successor_overspend(start_router, upstream):
    """A storm on a budget for few; SIGKILL in the middle; the next router takes the same folder."""
    upstream.script = lambda body, send, gone: send(answered(tokens_in=66, tokens_out=10))
    probe = start_router(one(upstream), policy())
    usd = worst_usd(probe) * 30.5
    text = with_budgets(f"id: all, match: {{}}, usd: {usd:.12f}, {DAY}: reject",
                        defaults=", limits: {attempts: 1, deadline_ms: 30000}")  # fmt: skip
    router = start_router(one(upstream), text)
    stop = threading.Event()

    def storm(served):
        while not stop.is_set():
            try:
                if served.chat("hi", max_tokens=10).status_code == 402:
                    return
            except httpx.HTTPError:
                return

    with ThreadPoolExecutor(8) as pool:
        storms = [pool.submit(storm, router) for _ in range(8)]
        wait_until(lambda: len(upstream.bodies) > 12)
        router.process.kill()
        stop.set()
        for each in storms:
            each.result()
    before = sum(row.nano for row in entries(router)) / 1e9
    with process(
        sys.executable, "-m", "router.cli", "serve", "--state", router.state, "--port", "0",
        "--fleets", router.state.parent / "fleets.yaml",
        "--policy", router.state.parent / "policy.yaml",
        log=router.state.parent / "second.log",
    ) as second:  # fmt: skip
        stop.clear()
        again = Router(second.first_line.split()[3], router.key, router.state, None)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: storm(again), range(8)))
        assert again.chat("hi", max_tokens=10).status_code == 402
        again.http.close()
    ledger = SqliteLedger(router.state)
    try:
        ledger.expire(4e9)  # what the killed one had set aside is charged in full
    finally:
        ledger.close()
    rows = entries(router)
    spent = sum(row.nano for row in rows) / 1e9
    assert before <= spent <= usd
    assert len({row.request_id for row in rows}) == len(rows)


def test_an_override_lets_a_spent_budget_go_on_for_a_time(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: tiny, match: {{team: '*'}}, usd: 0.000001, {DAY}: reject")
    router = start_router(one(upstream), text, team="search")
    assert router.chat("hi").status_code == 402
    given = ("ledger", "override", "tiny", "team=search", "--usd", "1", "--state", router.state)
    for typo in ("team=*", "all", "search"):
        refused = sluice(*given[:3], typo, *given[4:], "--until", "1h")
        assert (refused.returncode, "(valid: `team=X`, X any name)" in refused.stderr) == (3, True)
    assert sluice(*given, "--until", "1h").returncode == 0
    assert router.chat("hi").status_code == 200
    wrong = sluice("ledger", "override", "tinny", "all", "--usd", "1", "--until", "1h",
                   "--state", router.state)  # fmt: skip
    assert (wrong.returncode, "no router of this ledger" in wrong.stderr) == (3, True)
    past = sluice(*given, "--until", "2020-01-01")
    assert (past.returncode, "`--until 2020-01-01` lies in the past" in past.stderr) == (3, True)
    nowhere = sluice(*given[:-1], router.state / "none", "--until", "1h")
    assert nowhere.returncode == 3


def test_a_policy_that_is_adopted_puts_its_limits_in_force(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    text = with_budgets(f"id: a, match: {{}}, usd: 1, {DAY}: reject")
    router = start_router(one(upstream), text)
    assert router.chat("hi").status_code == 200
    path = router.state.parent / "policy.yaml"
    path.write_text(text.replace("usd: 1,", "usd: 0.000001,"))
    wait_until(lambda: router.chat("hi").status_code == 402)


def test_what_the_fleets_cost_is_written_down_minute_by_minute(start_router, upstream):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy())
    router.chat("hi")
    router.process.send_signal(signal.SIGTERM)
    router.process.wait(60)
    ledger = SqliteLedger(router.state)
    try:
        rows = list(ledger.fleet_times("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
    finally:
        ledger.close()
    assert {row.fleet for row in rows} == {"one"}
    assert all(0 < row.seconds <= 60 and row.replicas == 1 and row.nano_hour > 0 for row in rows)
    report = sluice("ledger", "report", "--by", "team", "--from", "2000-01-01", "--to",
                    "2100-01-01", "--json", "--state", router.state)  # fmt: skip
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)["totals"]["requests"] == 1

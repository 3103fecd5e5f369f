"""Rate limits of a policy over real sockets: who shares them, what comes back, what is kept."""

import json
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    ANSWER,
    Router,
    catalogue,
    event,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.identity import Key
from router.keys import KeyStore
from router.ledger.sqlite import SqliteLedger

SEARCH = "id: search-team, match: {team: search}"
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
DEAR = {"max_tokens": 3000}  # its worst case is above BUDGET
BUDGET = "id: tiny, match: {}, usd: 0.002, per: day, when_spent: reject"


def limited(*limits, budgets=(), use="cpu"):
    text = policy(use)
    for key, listed in (("rate_limits", limits), ("budgets", budgets)):
        text += f"{key}:\n" + "".join(f"  - {{{one}}}\n" for one in listed) if listed else ""
    return text


def one(upstream):
    return catalogue(fleet("one", upstream.url))


@pytest.fixture
def with_key():
    """Return the same router as the holder of another key sees it."""
    opened = []

    def another(router, **identity):
        store = KeyStore(router.state, time.monotonic)
        key = store.create(Key(id="", tenant="acme", **identity), "2026-01-01T00:00:00Z")
        store.close()
        opened.append(Router(router.url, key, router.state, None))
        return opened[-1]

    yield another
    for router in opened:
        router.http.close()


def adopt(router, text):
    """Give the router another policy, and wait until it goes by it."""

    def running():
        return router.http.get("/readyz").json()["policy"]["hash"]

    before = running()
    (router.state.parent / "policy.yaml").write_text(text, "utf-8")
    wait_until(lambda: running() != before)


def test_keys_of_one_team_share_its_limit_and_another_team_is_not_hindered(
    start_router, upstream, with_key
):
    text = limited(f"{SEARCH}, requests_per_min: 3")
    mine = start_router(one(upstream), text, team="search", requests_per_min=100)
    colleague, other = with_key(mine, team="search"), with_key(mine, team="ads")
    first = mine.chat()
    assert first.headers["x-ratelimit-limit-requests"] == "3"  # the tightest of the two
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    assert [colleague.chat().status_code, mine.chat().status_code] == [200, 200]
    refused = colleague.chat("my secret plan")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 20
    error = refused.json()["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
    assert error["message"].startswith(
        "rate limit `search-team` (team=search): 3 requests a minute; try again in "
    )
    assert error["limit"] == {
        "id": "search-team", "value": "team=search", "unit": "requests", "most": 3,
    }  # fmt: skip
    for secret in (mine.key, colleague.key, "secret plan"):
        assert secret not in refused.text
    assert mine.chat().status_code == 429
    free = other.chat()
    assert free.status_code == 200
    assert "x-ratelimit-limit-requests" not in free.headers
    assert len(upstream.bodies) == 4


def test_each_tenant_has_a_limit_of_its_own_and_its_tokens_are_those_that_were_used(
    start_router, upstream
):
    usage = {"prompt_tokens": 9000, "completion_tokens": 200}
    upstream.script = lambda body, send, gone: send(plain({**ANSWER, "usage": usage}))
    text = limited("id: each-tenant, match: {tenant: '*'}, tokens_per_min: 1000")
    router = start_router(one(upstream), text)
    answer = router.chat(max_tokens=10)
    assert answer.status_code == 200
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 900  # expected, not used
    refused = router.chat(max_tokens=10)
    assert "rate limit `each-tenant` (tenant=acme): 1000 tokens a minute" in refused.text
    assert int(refused.headers["retry-after"]) > 400  # the minute's is overdrawn by 8,200


def test_deciding_alone_counts_as_a_request_and_takes_no_tokens(start_router, upstream):
    text = limited("id: all, match: {}, requests_per_min: 2, tokens_per_min: 1000, concurrent: 1")
    router = start_router(one(upstream), text)
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    first, second, third = (router.http.post("/v1/route", json=body) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert second.headers["x-ratelimit-remaining-tokens"] == "1000"


def test_no_more_output_is_expected_than_the_request_allows(start_router, upstream):
    text = limited("id: all, match: {}, tokens_per_min: 100000")
    router = start_router(one(upstream), text)
    answer = router.chat("Write a long essay on the history of tea.", max_tokens=1)
    facts = router.receipt(answer)["facts"]
    assert facts["tokens_out"] > 1
    left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert left == 100_000 - facts["tokens_in"] - 1


def test_a_request_that_a_budget_refuses_was_a_request_and_took_no_tokens(start_router, upstream):
    text = limited(
        "id: all, match: {}, requests_per_min: 2, tokens_per_min: 1000", budgets=[BUDGET]
    )
    router = start_router(one(upstream), text)
    assert router.chat(**DEAR).status_code == 402
    answer = router.http.post("/v1/route", json=ASKED)
    assert answer.headers["x-ratelimit-remaining-tokens"] == "1000"
    assert router.chat().status_code == 429


# -- requests at once ------------------------------------------------------------------------------


def hold(upstream):
    """Let the upstream answer only when the event that is returned is set."""
    released = threading.Event()

    def script(body, send, gone):
        released.wait(20)
        send(plain())

    upstream.script = script
    return released


def test_a_team_at_its_most_requests_at_once_is_told_to_come_back(start_router, upstream, with_key):
    released = hold(upstream)
    mine = start_router(one(upstream), limited(f"{SEARCH}, concurrent: 1"), team="search")
    colleague = with_key(mine, team="search")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(mine.chat)
        wait_until(lambda: upstream.bodies)
        refused = colleague.chat()
        released.set()
        assert running.result().status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "search-team` (team=search): 1 requests at once" in refused.text
    wait_until(lambda: colleague.chat().status_code == 200)


STREAM = {**ASKED, "stream": True}
TOKEN = event(choices=[{"index": 0, "delta": {"content": "a"}}])


def answered(router, upstream):
    assert router.chat(max_tokens=10).status_code == 200


def failed(router, upstream):
    upstream.answers(plain({"error": {"message": "no"}}, 500))
    assert router.chat(max_tokens=10).status_code == 502


def rejected(router, upstream):
    upstream.answers(plain({"error": {"message": "no"}}, 422))
    assert router.chat(max_tokens=10).status_code == 422


def streamed(router, upstream):
    upstream.streams(TOKEN, event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    assert router.http.post("/v1/chat/completions", json=STREAM).status_code == 200


def broken(router, upstream):
    upstream.streams(TOKEN)
    assert "stream_broken" in router.http.post("/v1/chat/completions", json=STREAM).text


def hung_up_in_a_stream(router, upstream):
    def script(body, send, gone):
        send(stream_head() + TOKEN)
        gone(20)
        return "close"

    upstream.script = script
    with router.http.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        next(answer.iter_bytes())
    wait_until(lambda: upstream.hung_up)


def hung_up_before_the_answer(router, upstream):
    def script(body, send, gone):
        gone(20)
        return "close"

    upstream.script = script
    body = json.dumps(ASKED).encode()
    request = httpx.Request(
        "POST", f"{router.url}/v1/chat/completions", headers=router.headers(), content=body
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        wait_until(lambda: upstream.bodies)
    wait_until(lambda: upstream.hung_up)


def without_money(router, upstream):
    refused = router.chat(**DEAR)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "budget_exhausted")


def made_before(router, upstream):
    headers = {"idempotency-key": "order-7"}
    codes = [router.chat(max_tokens=10, headers=headers).status_code for _ in range(2)]
    assert codes == [200, 409]


def without_a_ledger(router, upstream):
    with sqlite3.connect(router.state / "sluice.db") as db:
        db.execute("ALTER TABLE ledger_held RENAME TO gone")
    assert router.chat(max_tokens=10).status_code == 503
    with sqlite3.connect(router.state / "sluice.db") as db:
        db.execute("ALTER TABLE gone RENAME TO ledger_held")


@pytest.mark.parametrize(
    "fate",
    [
        answered,
        failed,
        rejected,
        streamed,
        broken,
        hung_up_in_a_stream,
        hung_up_before_the_answer,
        without_money,
        made_before,
        without_a_ledger,
    ],
)
def test_however_a_request_ends_its_slot_comes_back(start_router, upstream, fate):
    text = limited("id: all, match: {tenant: acme}, concurrent: 1", budgets=[BUDGET])
    router = start_router(one(upstream), text)
    fate(router, upstream)
    upstream.answers(plain())
    wait_until(lambda: router.chat(max_tokens=10).status_code == 200)


# -- another policy --------------------------------------------------------------------------------


def test_a_new_policy_holds_at_once_and_keeps_what_was_taken_of_its_limits(start_router, upstream):
    kept, more = f"{SEARCH}, requests_per_min: 4", "id: all, match: {}, tokens_per_min: 100000"
    router = start_router(one(upstream), limited(kept), team="search")
    assert [router.chat().status_code for _ in range(2)] == [200, 200]
    adopt(router, limited(more, kept))
    after = router.chat()
    assert after.headers["x-ratelimit-limit-tokens"] == "100000"
    # 3 of 4 are taken, and may have refilled while the router looked at its file
    left = int(after.headers["x-ratelimit-remaining-requests"])
    reset_s = float(after.headers["x-ratelimit-reset-requests"].removesuffix("s"))
    assert left < 3
    assert reset_s > 15
    adopt(router, limited(more, f"{SEARCH}, requests_per_min: 1"))
    assert router.chat().status_code == 429


def test_a_wrong_limit_leaves_the_last_good_policy_in_force(start_router, upstream):
    router = start_router(one(upstream), limited(f"{SEARCH}, requests_per_min: 1"), team="search")
    assert router.chat().status_code == 200
    path = router.state.parent / "policy.yaml"
    path.write_text(limited(f"{SEARCH}, requests_per_min: 0"), "utf-8")
    wait_until(lambda: router.http.get("/readyz").json()["policy"]["stale"])
    assert "policy.yaml:8: rate_limits[0].requests_per_min: `0` is below 1" in router.log()
    assert router.chat().status_code == 429


def test_a_policy_that_drops_a_teams_budget_and_limit_leaves_its_open_requests_alone(
    start_router, upstream
):
    released = hold(upstream)
    budget = "id: search-money, match: {team: search}, usd: 1, per: day, when_spent: reject"
    limit = f"{SEARCH}, tokens_per_min: 100000, concurrent: 1"
    router = start_router(one(upstream), limited(limit, budgets=[budget]), team="search")
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(router.chat)
        wait_until(lambda: len(upstream.bodies) == 1)
        adopt(router, limited())
        second = pool.submit(router.chat)  # nothing binds it any more
        wait_until(lambda: len(upstream.bodies) == 2)
        released.set()
        first, second = running.result(), second.result()
    assert (first.status_code, second.status_code) == (200, 200)
    assert "x-ratelimit-limit-tokens" in first.headers
    assert "x-ratelimit-limit-tokens" not in second.headers
    scopes = router.receipt(first)["reservation"]["scopes"]
    assert [scope["budget"] for scope in scopes] == ["search-money"]
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: len(rows(ledger)) == 2)
        charged = {row.request_id: row for row in rows(ledger)}
        assert ledger.expire(4e9).leases == 0  # nothing is left set aside
    finally:
        ledger.close()
    assert charged[first.headers["x-sluice-request-id"]].nano > 0
    adopt(router, limited(limit, budgets=[budget]))
    assert router.chat().status_code == 200  # and its slot came back


def rows(ledger):
    return list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))


def test_a_key_of_a_tenant_that_no_policy_names_is_served_as_anybody(start_router, upstream):
    """There is no list of tenants: a tenant is what keys and policies call it."""
    named = "id: shop, match: {tenant: shop}, requests_per_min: 1"
    router = start_router(one(upstream), limited(named, "id: each, match: {tenant: '*'}, "
                                                 "requests_per_min: 2"))  # fmt: skip
    codes = [router.chat().status_code for _ in range(3)]
    assert codes == [200, 200, 429]

"""What engines say of their load, and what becomes of it: real llama-servers where one can be made
to do it, scripted ones for what other engines say.
"""

import contextlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    ANSWER,
    BOTH,
    catalogue,
    fleet,
    free_port,
    freeze,
    plain,
    policy,
    sluice,
    thaw,
    wait_until,
)
from wake_support import TOO_SOON

from router.ledger.sqlite import SqliteLedger

VLLM = (
    b'vllm:num_requests_running{model_name="m",engine="0"} 5.0\n'
    b'vllm:num_requests_waiting{model_name="m",engine="0"} 2.0\n'
    b'vllm:kv_cache_usage_perc{model_name="m",engine="0"} 0.5\n'
)
SYSTEM = {"role": "system", "content": "You label tickets as billing, technical or shipping. " * 4}
PROFILE = "profile: c8g.xlarge/qwen3-0.6b, "
WAKE = ", wake: {seconds: 300, min_run_seconds: 600}"


def page(body):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def figure(router, name, **labels):
    """Return a metric's value, None where it isn't there."""
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    for line in router.http.get("/metrics").text.splitlines():
        if line.startswith(f"{name}{{{wanted}}} "):
            return float(line.rpartition(" ")[2])
    return None


def load_of(router, name="one"):
    return router.http.post(
        "/v1/route", json={"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    ).json()["load"][name]


# -- what the engine says --------------------------------------------------------------------------


def test_what_the_engine_says_is_in_the_receipt_which_recomputes(start_router, upstream, tmp_path):
    upstream.pages["/metrics"] = page(VLLM)
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    wait_until(lambda: load_of(router)["queued"] == 2)
    response = router.chat()
    receipt = router.receipt(response)
    assert receipt["load"]["one"]["in_flight"] == 7
    assert receipt["candidates"][0]["in_flight"] == 7
    assert not receipt["load"]["one"]["stale"]
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt), "utf-8")
    ran = sluice("route", "--receipt", path, "--state", router.state)
    assert (ran.returncode, "every byte" in ran.stderr) == (0, True), ran.stderr
    assert figure(router, "sluice_engine_requests", fleet="one") == 7
    assert figure(router, "sluice_engine_waiting", fleet="one") == 2
    assert figure(router, "sluice_engine_kv_used", fleet="one") == 0.5
    assert figure(router, "sluice_in_flight", fleet="one") == 0  # ours
    assert figure(router, "sluice_probes_total", fleet="one", state="up") >= 1


def test_a_fleet_that_others_fill_is_left_for_one_that_is_free(
    start_router, upstream, second_upstream
):
    fleets = catalogue(
        fleet("one", upstream.url, more=", usd_per_hour: 0.1"),
        fleet("two", second_upstream.url, more=", usd_per_hour: 0.2"),
    )
    router = start_router(fleets, policy())
    assert router.chat().headers["x-sluice-fleet"] == "one"
    upstream.pages["/metrics"] = page(VLLM.replace(b"5.0", b"80.0"))
    wait_until(lambda: router.chat().headers["x-sluice-fleet"] == "two")


def test_a_fleet_that_tells_nothing_has_no_figures_and_serves(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    wait_until(lambda: figure(router, "sluice_probes_total", fleet="one", state="up"))
    load = load_of(router)
    assert (load["state"], load["queued"], load["stale"]) == ("ready", None, False)
    assert figure(router, "sluice_engine_requests", fleet="one") is None
    assert figure(router, "sluice_engine_waiting", fleet="one") is None
    assert router.chat().status_code == 200


def test_an_emulated_fleet_is_never_probed(start_router, upstream, second_upstream):
    emulated = fleet("two", second_upstream.url).replace("openai_http", "emulated")
    start_router(catalogue(fleet("one", upstream.url), emulated), policy())
    wait_until(lambda: len(upstream.got) >= 2)
    assert second_upstream.got == []


def test_no_request_waits_for_a_probe(start_router, upstream, second_upstream):
    """A server whose pages hang serves requests all the same."""
    upstream.pages["/metrics"] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx"  # and no more
    router = start_router(catalogue(fleet("one", upstream.url)), policy())

    def ended():
        return figure(router, "sluice_probes_total", fleet="one", state="unknown")

    def answered_beside_a_probe():
        begun = len(upstream.got)
        wait_until(lambda: len(upstream.got) > begun)
        before = ended()
        assert router.chat().status_code == 200
        return ended() == before

    wait_until(answered_beside_a_probe)
    wait_until(ended)
    assert load_of(router)["state"] == "ready"


# -- fleets that are away, or asleep ---------------------------------------------------------------


def test_a_fleet_that_is_down_is_not_ready_and_says_so(start_router, upstream, closed_port):
    fleets = catalogue(
        fleet("one", f"http://127.0.0.1:{closed_port}/v1"),
        fleet("two", upstream.url, lane="accelerator"),
    )
    router = start_router(fleets, policy(BOTH))
    wait_until(lambda: load_of(router)["replicas"] == 0)
    assert router.http.get("/readyz").json()["fleets"] == {"one": "open-circuit", "two": "ready"}
    receipt = router.receipt(router.chat())
    assert [attempt["fleet"] for attempt in receipt["attempts"]] == ["two"]
    assert receipt["candidates"][-1]["refused"]["code"] == "open_circuit"


def test_a_sleeping_fleet_is_not_waited_for_and_a_wake_up_is_asked_for(
    start_router, start_tiny, upstream
):
    port = free_port()
    large = fleet("large", f"http://127.0.0.1:{port}/v1", lane="accelerator", more=WAKE)
    large = large.replace("min: 1", "min: 0").replace(PROFILE, "")
    fleets = catalogue(large, fleet("small", upstream.url))
    router = start_router(fleets, policy(baseline="m@large", rules=TOO_SOON))
    wait_until(lambda: load_of(router, "large")["state"] == "cold")
    assert figure(router, "sluice_wake_ups_total", fleet="large") is None  # nobody was sent yet
    for _ in range(3):
        response = router.chat()
        assert response.headers["x-sluice-fleet"] == "small"
    refused = router.receipt(response)["candidates"][-1]
    assert (refused["fleet"], refused["refused"]["code"]) == ("large", "cold")
    assert router.log().count("fleet large is asleep: a wake-up is asked for") == 1
    assert figure(router, "sluice_wake_ups_total", fleet="large") == 1
    assert figure(router, "sluice_asleep_missed_total", fleet="large") == 3
    server = start_tiny(port)
    try:
        wait_until(lambda: router.chat().headers["x-sluice-fleet"] == "large")
    finally:
        server.stop()


def test_where_only_a_sleeping_fleet_may_serve_the_caller_is_told_when_it_wakes(
    start_router, closed_port
):
    away = fleet("one", f"http://127.0.0.1:{closed_port}/v1", more=WAKE)
    router = start_router(catalogue(away), policy())
    wait_until(lambda: load_of(router)["state"] == "cold")
    response = router.chat()
    assert (response.status_code, response.headers["retry-after"]) == (503, "300")
    assert response.json()["error"]["reasons"][0]["code"] == "cold"


def test_a_fleet_that_loads_its_model_is_waking(start_router, upstream):
    upstream.pages["/metrics"] = upstream.pages["/health"] = plain({}, 503)
    router = start_router(catalogue(fleet("one", upstream.url, more=WAKE)), policy())
    wait_until(lambda: load_of(router)["state"] == "waking")
    assert router.chat().status_code == 503
    assert upstream.bodies == []
    upstream.pages.clear()
    wait_until(lambda: router.chat().status_code == 200)


def test_the_time_of_fleets_that_were_seen_is_observed(start_router, upstream, second_upstream):
    seen = fleet("one", upstream.url)
    unseen = fleet("two", second_upstream.url).replace("openai_http", "emulated")
    router = start_router(catalogue(seen, unseen), policy())
    ledger = SqliteLedger(router.state)

    def sources():
        rows = ledger.fleet_times("2000", "2100")
        return {(row.fleet, row.source, row.replicas) for row in rows}

    try:
        wait_until(lambda: sources() >= {("one", "observed", 1), ("two", "assumed", 1)})
    finally:
        ledger.close()


# -- several urls ----------------------------------------------------------------------------------


@pytest.fixture
def servers(start_tiny):
    """Two real llama-servers of two slots each."""
    with contextlib.ExitStack() as running:
        started = []
        for _ in range(2):
            server = start_tiny(free_port())
            running.callback(server.stop)
            started.append(server)
        yield started


def two_urls(servers):
    urls = ", ".join(f'"{server.url}"' for server in servers)
    text = fleet("one", servers[0].url).replace(f'url: "{servers[0].url}"', f"urls: [{urls}]")
    text = text.replace("vllm", "llama.cpp").replace("concurrency_each: 8", "concurrency_each: 2")
    return catalogue(text.replace("c8g.xlarge, region", "c8g.xlarge, upstream_model: t, region"))


def prompt_tokens(server):
    """Return the prompt tokens that this server has read, cached ones left out."""
    text = httpx.get(server.url.removesuffix("/v1") + "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("llamacpp:prompt_tokens_total")]
    return float(lines[0].split()[1])


def ask(router, *turns, **more):
    messages = [SYSTEM, *({"role": "user", "content": turn} for turn in turns)]
    body = {"model": "auto", "messages": messages, "max_tokens": 4, **more}
    return router.http.post("/v1/chat/completions", json=body)


def home_of(router, servers, turn):
    """Return the servers by where this prefix goes: its own one first."""
    before = [prompt_tokens(server) for server in servers]
    assert ask(router, turn).status_code == 200
    asked = [prompt_tokens(s) > n for s, n in zip(servers, before, strict=True)]
    assert sorted(asked) == [False, True]
    return servers if asked[0] else servers[::-1]


@pytest.mark.engine
def test_a_conversation_stays_with_the_server_whose_cache_knows_it(start_router, servers):
    router = start_router(two_urls(servers), policy())
    turn = "I was charged twice"
    _, other = home_of(router, servers, turn)
    before = prompt_tokens(other)
    for said in ("and this?", "and that?", "and what of the refund?"):
        usage = ask(router, turn, said).json()["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] > 20
    assert prompt_tokens(other) == before


@pytest.mark.engine
def test_conversations_are_spread_over_the_servers(start_router, servers):
    router = start_router(two_urls(servers), policy())
    for i in range(16):
        ask(router, f"{i}: I was charged twice")
    assert all(prompt_tokens(server) > 0 for server in servers)


@pytest.mark.engine
def test_a_server_without_a_free_place_leaves_its_conversations_to_the_other(start_router, servers):
    router = start_router(two_urls(servers), policy())
    turn = "I was charged twice"
    home, other = home_of(router, servers, turn)
    before = prompt_tokens(other)
    with ThreadPoolExecutor(2) as pool:
        freeze(home.process.pid)
        try:
            stuck = [pool.submit(ask, router, turn) for _ in range(2)]
            wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 2)
            assert ask(router, turn).status_code == 200
            assert prompt_tokens(other) > before
            assert not any(each.done() for each in stuck)
        finally:
            thaw(home.process.pid)
        assert [each.result().status_code for each in stuck] == [200, 200]


@pytest.mark.engine
def test_a_server_that_is_killed_leaves_its_conversations_to_the_other_until_it_is_back(
    start_router, servers, start_tiny
):
    router = start_router(two_urls(servers), policy())
    turn = "I was charged twice"
    wait_until(lambda: figure(router, "sluice_replicas_ready", fleet="one") == 2)
    home, other = home_of(router, servers, turn)
    os.kill(home.process.pid, signal.SIGKILL)
    home.process.wait()
    for _ in range(3):
        assert ask(router, turn).status_code == 200
    wait_until(lambda: figure(router, "sluice_replicas_ready", fleet="one") == 1)
    before = prompt_tokens(other)
    assert ask(router, turn + " again").status_code == 200
    assert prompt_tokens(other) > before
    again = start_tiny(int(home.url.split(":")[2].removesuffix("/v1")))
    try:
        wait_until(lambda: figure(router, "sluice_replicas_ready", fleet="one") == 2)
        assert ask(router, turn).status_code == 200
        assert prompt_tokens(again) > 0
    finally:
        again.stop()


# -- what answers teach ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "n", "service_ms"),
    [
        ({"timings": {"prompt_ms": 30.0, "predicted_ms": 20.0}}, 1, 50.0),
        ({"timings": {"prompt_ms": 30.0, "predicted_ms": 20.0}}, 2, None),  # of one choice only
        ({}, 1, None),
    ],
)
def test_a_replica_is_busy_for_as_long_as_the_engine_says(
    start_router, upstream, told, n, service_ms
):
    def late(body, send, gone):
        gone(0.3)
        send(plain(ANSWER | told))

    upstream.script = late
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    (attempt,) = router.receipt(router.chat(n=n))["attempts"]
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: list(ledger.entries("2000", "2100")))
        (entry,) = ledger.entries("2000", "2100")
    finally:
        ledger.close()
    if service_ms is None:
        assert attempt["queue_ms"] is None
        assert entry.service_ms == pytest.approx(attempt["e2e_ms"])
    else:
        assert attempt["queue_ms"] == pytest.approx(attempt["e2e_ms"] - service_ms)
        assert entry.service_ms == service_ms


@pytest.mark.engine
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_wait_in_an_engine_s_queue_is_told_and_is_no_service(start_router, tiny, stream):
    text = fleet("one", tiny, more=", upstream_model: qwen3-tiny").replace("vllm", "llama.cpp")
    router = start_router(catalogue(text), policy())
    with ThreadPoolExecutor(8) as pool:
        asked = [
            pool.submit(ask, router, f"{i}?", max_tokens=600, ignore_eos=True, stream=stream)
            for i in range(8)
        ]
        answers = [each.result() for each in asked]
    attempts = [router.receipt(answer)["attempts"][0] for answer in answers]
    waits = sorted(attempt["queue_ms"] for attempt in attempts)
    service = [attempt["e2e_ms"] - attempt["queue_ms"] for attempt in attempts]
    assert waits[-1] > 2 * min(service)  # eight on two slots: the last waited for three others
    assert waits[0] < min(service)
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: len(list(ledger.entries("2000", "2100"))) == 8)
        for entry in ledger.entries("2000", "2100"):
            (attempt,) = [
                a for a, r in zip(attempts, answers, strict=True)
                if r.headers["x-sluice-request-id"] == entry.request_id
            ]  # fmt: skip
            left_ms = attempt["e2e_ms"] - attempt["queue_ms"]
            assert entry.service_ms <= left_ms + 0.001
            assert entry.service_ms < attempt["e2e_ms"]
    finally:
        ledger.close()
    assert figure(router, "sluice_queue_seconds_count", fleet="one") == 8

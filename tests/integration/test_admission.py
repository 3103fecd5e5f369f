"""Full fleets: the next lane serves, then requests wait in their order, and the rest is refused
quickly. Real routers; the fleet is a server that keeps every request until it is told to go on.
"""

import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    BOTH,
    DONE,
    EVENTS,
    catalogue,
    fleet,
    free_port,
    plain,
    policy,
    process,
    sluice,
    wait_until,
)

LIMITS = ", limits: {deadline_ms: 20000, ttft_timeout_ms: 15000}"
CLASSES = ("interactive", "standard", "deferrable")


class Holding:
    """Keeps each request until it is let go; `texts` are what they said, in the order they came."""

    def __init__(self, upstream):
        self.texts, self._go = [], threading.Semaphore(0)

        def script(body, send, gone):
            self.texts.append(body["messages"][-1]["content"])
            self._go.acquire()
            send(plain())

        upstream.script = script

    def let_go(self, times=1):
        self._go.release(times)


def small(name, url, places=1, **more):
    text = fleet(name, url, **more)
    return text.replace("concurrency_each: 8", f"concurrency_each: {places}")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(60) as running:
        yield running


@pytest.fixture
def holding(upstream):
    held = Holding(upstream)
    yield held
    held.let_go(1000)


def figure(router, name, **labels):
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    for line in router.http.get("/metrics").text.splitlines():
        if line.startswith(f"{name}{{{wanted}}} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def waiting(router):
    lines = router.http.get("/metrics").text.splitlines()  # one page: between two somebody moves
    return sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith("sluice_waiting{"))


def ask(pool, router, text, service_class="standard", **more):
    headers = {"x-sluice-service-class": service_class}
    return pool.submit(router.chat, text, headers=headers, **more)


def one_place(start_router, upstream, *arguments):
    return start_router(catalogue(small("one", upstream.url)), policy(defaults=LIMITS), *arguments)


def test_beyond_its_limit_a_fleet_is_passed_over_and_the_receipt_recomputes(
    start_router, upstream, second_upstream, holding, pool, tmp_path
):
    fleets = catalogue(
        small("one", upstream.url), fleet("two", second_upstream.url, lane="accelerator")
    )
    router = start_router(fleets, policy(BOTH, defaults=LIMITS))
    first = ask(pool, router, "first")
    wait_until(lambda: holding.texts)
    second = router.chat("second")
    assert second.headers["x-sluice-fleet"] == "two"
    receipt = router.receipt(second)
    assert receipt["candidates"][-1]["refused"]["code"] == "at_limit"
    assert receipt["load"]["one"]["limit"] == receipt["load"]["one"]["in_flight"] == 1
    assert receipt["waited_ms"] == 0
    assert figure(router, "sluice_limit", fleet="one") == 1
    path = tmp_path / "receipt.json"
    for changed in (False, True):  # an older receipt has no limit, and was decided without one
        if changed:
            for load in receipt["load"].values():
                del load["limit"]
        path.write_text(json.dumps(receipt), "utf-8")
        ran = sluice("route", "--receipt", path, "--state", router.state)
        assert ran.returncode == int(changed), ran.stderr
    holding.let_go()
    assert first.result().headers["x-sluice-fleet"] == "one"


def test_where_all_are_full_the_urgent_go_first_then_who_came_first(
    start_router, upstream, holding, pool
):
    router = one_place(start_router, upstream)
    asked = [ask(pool, router, "running")]
    wait_until(lambda: holding.texts)
    order = [("d1", "deferrable"), ("s1", "standard"), ("s2", "standard"), ("i1", "interactive")]
    for count, (text, service_class) in enumerate(order, 1):
        asked.append(ask(pool, router, text, service_class))
        wait_until(lambda count=count: waiting(router) == count)
    assert len(holding.texts) == 1  # nobody was sent
    assert figure(router, "sluice_waiting", service_class="standard") == 2
    for sent in (3, 4, 5):  # after the first answer the limit is two
        holding.let_go()
        wait_until(lambda sent=sent: len(holding.texts) == sent)
    holding.let_go(2)
    assert set(holding.texts[1:3]) == {"i1", "s1"}
    assert holding.texts[3:] == ["s2", "d1"]
    answers = [each.result() for each in asked]
    assert [each.status_code for each in answers] == [200] * 5
    waits = [router.receipt(each)["waited_ms"] for each in answers]
    assert waits[0] == 0 < min(waits[1:])
    wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 0)


def test_a_full_queue_pushes_out_the_least_urgent_newest(start_router, upstream, holding, pool):
    router = one_place(start_router, upstream, "--queue", "2")
    running = ask(pool, router, "running")
    wait_until(lambda: holding.texts)
    old = ask(pool, router, "old", "deferrable")
    wait_until(lambda: waiting(router) == 1)
    new = ask(pool, router, "new", "deferrable")
    wait_until(lambda: waiting(router) == 2)
    urgent = ask(pool, router, "urgent", "interactive")
    refused = new.result()
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "overloaded")
    assert [reason["code"] for reason in error["reasons"]] == ["at_limit"]
    assert int(refused.headers["retry-after"]) >= 1
    late = router.chat("late", headers={"x-sluice-service-class": "deferrable"})
    assert (late.status_code, late.json()["error"]["code"]) == (503, "overloaded")
    holding.let_go(3)
    assert [each.result().status_code for each in (running, old, urgent)] == [200] * 3
    assert set(holding.texts) == {"running", "urgent", "old"}
    assert figure(router, "sluice_turned_away_total", why="pushed_out") == 1
    assert figure(router, "sluice_turned_away_total", why="full") == 1
    assert [r["charge"] for r in router.receipts() if not r["plan"]] == [{}, {}]


def test_who_waits_too_long_is_refused_and_told_so(start_router, upstream, holding, pool):
    router = one_place(start_router, upstream, "--queue-s", "0.3")
    running = ask(pool, router, "running")
    wait_until(lambda: holding.texts)
    refused = router.chat("waits")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert "0.3 s" in refused.json()["error"]["message"]
    assert router.receipt(refused)["waited_ms"] > 299  # timers tick in milliseconds
    assert waiting(router) == 0
    holding.let_go()
    assert running.result().status_code == 200


def test_the_wait_is_a_part_of_the_deadline(start_router, upstream, holding, pool):
    limits = ", limits: {deadline_ms: 7000, ttft_timeout_ms: 7000, inter_chunk_timeout_ms: 7000}"
    router = start_router(catalogue(small("one", upstream.url)), policy(defaults=limits))
    running = ask(pool, router, "running")
    wait_until(lambda: holding.texts)
    second = ask(pool, router, "second")
    wait_until(lambda: waiting(router) == 1)
    time.sleep(3.5)
    holding.let_go()
    assert second.result().status_code == 504  # it was sent, and nobody answered in time
    assert running.result().status_code == 200
    receipt = router.receipt(second.result())
    assert receipt["waited_ms"] > 3400
    # Not 7000 more once it was sent.
    assert receipt["waited_ms"] + receipt["attempts"][0]["e2e_ms"] < 7000 + 3400


def test_a_caller_who_hangs_up_while_waiting_leaves_the_queue_at_once(
    start_router, upstream, holding, pool
):
    router = one_place(start_router, upstream)
    running = ask(pool, router, "running")
    wait_until(lambda: holding.texts)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "gone"}]})
    with socket.create_connection(("127.0.0.1", int(router.url.rpartition(":")[2]))) as caller:
        caller.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}"
            f"\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_until(lambda: waiting(router) == 1)
    wait_until(lambda: waiting(router) == 0)
    holding.let_go()
    assert running.result().status_code == 200
    holding.let_go()
    assert router.chat("next").status_code == 200
    assert holding.texts == ["running", "next"]
    assert figure(router, "sluice_turned_away_total", why="left") == 1


def test_who_could_not_be_served_even_with_a_place_does_not_wait(
    start_router, upstream, holding, pool
):
    router = one_place(start_router, upstream)
    running = ask(pool, router, "running")
    wait_until(lambda: holding.texts)
    dear = router.chat("dear", headers={"x-sluice-max-usd": "0.000000001"})
    assert (dear.status_code, dear.json()["error"]["code"]) == (402, "max_usd_exceeded")
    assert waiting(router) == 0
    holding.let_go()
    assert running.result().status_code == 200


def test_no_more_requests_come_in_than_the_process_may_hold(start_router, upstream, holding, pool):
    router = one_place(start_router, upstream, "--in-flight", "2")
    asked = [ask(pool, router, "one")]
    wait_until(lambda: holding.texts)
    asked.append(ask(pool, router, "two"))
    wait_until(lambda: waiting(router) == 1)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}\r\n"
        "content-length: 5000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(router.url.rpartition(":")[2]))) as caller:
        caller.sendall(head.encode())  # and not a byte of its body
        answer = caller.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    assert router.http.get("/readyz").status_code == 200  # who only looks is let in
    holding.let_go(2)
    assert [each.result().status_code for each in asked] == [200, 200]
    holding.let_go()
    assert router.chat("three").status_code == 200


def test_bodies_in_flight_are_bounded_in_bytes(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=LIMITS))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}\r\n"
        "content-length: 6000000\r\n\r\n"
    )
    address = ("127.0.0.1", int(router.url.rpartition(":")[2]))
    callers = []
    try:
        for _ in range(44):
            callers.append(socket.create_connection(address))
            callers[-1].sendall(head.encode())
        wait_until(lambda: router.chat("a" * 5_000_000).status_code == 503)
        assert router.chat("small").status_code == 200
    finally:
        for caller in callers:
            caller.close()
    wait_until(lambda: router.chat("a" * 5_000).status_code == 200)


def test_a_fleet_that_says_it_has_too_much_is_sent_less(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=LIMITS))
    upstream.answers(plain({}, 429))
    assert router.chat().status_code == 503
    assert figure(router, "sluice_limit", fleet="one") == 5
    upstream.answers(plain({}, 500))
    router.chat()
    upstream.answers(plain({}, 400))
    router.chat()
    assert figure(router, "sluice_limit", fleet="one") == 5


def test_a_burst_at_a_half_open_circuit_sends_exactly_one(
    start_router, upstream, second_upstream, pool
):
    limits = LIMITS[:-1] + ", breaker: {failures: 2, open_ms: 400}}"
    fleets = catalogue(
        fleet("one", upstream.url), fleet("two", second_upstream.url, lane="accelerator")
    )
    router = start_router(fleets, policy(BOTH, defaults=limits))
    upstream.answers(plain({}, 500))
    router.chat()
    router.chat()
    holding = Holding(upstream)
    wait_until(lambda: router.http.get("/readyz").json()["fleets"]["one"] == "ready")
    asked = [ask(pool, router, f"{i}") for i in range(20)]
    wait_until(lambda: sum(each.done() for each in asked) == 19)
    assert len(holding.texts) == 1
    holding.let_go()
    fleets = [each.result().headers["x-sluice-fleet"] for each in asked]
    assert sorted(fleets) == ["one"] + ["two"] * 19


@pytest.fixture
def four_places(tmp_path):
    """The catalogue of an emulated fleet with four places."""
    port = free_port()
    text = fleet("one", f"http://127.0.0.1:{port}/one/v1").replace("openai_http", "emulated")
    text = catalogue(text.replace("concurrency_each: 8", "concurrency_each: 4"))
    path = tmp_path / "emulated.yaml"
    path.write_text(text, "utf-8")
    command = [sys.executable, "-m", "backends.engines.emulator", "--fleets", path, "--port", port]
    with process(*command, "--time-scale", "0.2"):
        yield text


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_ten_times_what_fits_is_served_by_urgency_or_refused_quickly(
    start_router, four_places, pool, stream
):
    router = start_router(four_places, policy(defaults=LIMITS), "--queue", "12", "--queue-s", "15")
    router.http.close()
    router.http = httpx.Client(
        base_url=router.url,
        headers=router.headers(),
        timeout=60,
        limits=httpx.Limits(max_connections=60),
    )
    classes = [CLASSES[i % 3] for i in range(45)]
    more = {"max_tokens": 30, "stream": stream}
    asked = [ask(pool, router, "Tell a long story", each, **more) for each in classes]
    most = 0
    while not all(each.done() for each in asked):
        most = max(most, waiting(router))
        time.sleep(0.05)
    answers = [each.result() for each in asked]
    served = [each for each, a in zip(classes, answers, strict=True) if a.status_code == 200]
    refused = [a for a in answers if a.status_code != 200]
    assert len(served) >= 16
    assert {(a.status_code, a.json()["error"]["code"]) for a in refused} == {(503, "overloaded")}
    assert all("retry-after" in a.headers for a in refused)
    assert served.count("interactive") > served.count("deferrable")
    assert 0 < most <= 12
    wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 0)
    assert waiting(router) == 0
    wait_until(lambda: len(router.receipts()) == 45)
    assert sum(receipt["charge"] != {} for receipt in router.receipts()) == len(served)


def test_streams_hold_their_place_to_their_end(start_router, upstream, pool):
    router = one_place(start_router, upstream)
    upstream.streams(*EVENTS, DONE)
    asked = [ask(pool, router, f"{i}", stream=True) for i in range(12)]
    assert all(b"".join(EVENTS) in each.result().content for each in asked)
    wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 0)
    assert waiting(router) == 0
    httpx.get(f"{router.url}/readyz").raise_for_status()

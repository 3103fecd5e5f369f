"""`sluice serve --workers N`: what holds across workers, and what happens when one dies. Real
processes, real sockets; every request is a connection of its own, so that any worker may get it.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ledger_support import dynamo_client, dynamo_process, wrong
from support import (
    DONE,
    EVENTS,
    START_S,
    catalogue,
    fleet,
    plain,
    policy,
    process,
    sluice,
    stream_head,
    wait_until,
)
from wake_support import TOO_SOON

from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition
from router.ledger.sqlite import SqliteLedger

ALWAYS = ("2000", "2100")
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
BREAKER = ", limits: {attempts: 1, breaker: {failures: 3, open_ms: 1500}}"
LONG = BREAKER.replace("1500", "600000")


def one(upstream):
    return catalogue(fleet("one", upstream.url))


def limited(**limits):
    said = ", ".join(f"{name}: {most}" for name, most in limits.items())
    return f"{policy()}rate_limits:\n  - {{id: all, match: {{}}, {said}}}\n"


def budgeted(usd):
    text = f"{policy()}budgets:\n  - {{id: all, match: {{}}, usd: {usd}, per: day, "
    return text + "when_spent: reject}\n"


def ask(router, **more):
    """Ask over a connection of its own; None: it was broken off."""
    headers = router.headers() | more.pop("headers", {})
    url = f"{router.url}/v1/chat/completions"
    try:
        return httpx.post(url, json=ASKED | more, headers=headers, timeout=START_S)
    except httpx.TransportError:
        return None


def ask_many(router, times, at_once=16, **more):
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda _: ask(router, **more), range(times)))


def codes(answers):
    return [None if answer is None else answer.status_code for answer in answers]


def pids_of(router):
    pid = router.process.pid
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def figure(router, name, **labels):
    """Return the sum of a metric's series with these labels, as one scrape shows it."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    text = httpx.get(f"{router.url}/metrics").text
    lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(w in line for w in wanted))


def kill(router, pid):
    """Kill a worker, and wait until another is there in its place and serves."""
    before = set(pids_of(router))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in pids_of(router) and len(pids_of(router)) == len(before))
    (new,) = set(pids_of(router)) - before
    wait_until(lambda: listens(router, new))


def listens(router, pid):
    """Return whether this process has a listening socket of the router's port."""
    port = f":{int(router.url.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "0A"}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(path.readlink()) in inodes:
                    return True
    return False


class Held:
    """An upstream whose answers wait until they are let go."""

    def __init__(self, upstream):
        self.go, self.waiting, self._lock = threading.Event(), 0, threading.Lock()

        def script(body, send, gone):
            with self._lock:
                self.waiting += 1
            self.go.wait(START_S)
            send(plain())

        upstream.script = script


# -- what holds across workers ---------------------------------------------------------------------


def test_the_line_comes_once_and_when_all_workers_listen(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "3")
    assert len(pids_of(router)) == 3
    assert all(listens(router, pid) for pid in pids_of(router))
    assert not listens(router, router.process.pid)  # the parent takes no connection
    assert {httpx.get(f"{router.url}/readyz").status_code for _ in range(12)} == {200}


def test_new_connections_are_dealt_to_all_workers(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    host, port = router.url.removeprefix("http://").split(":")

    def sockets(pid):
        names = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
        return sum(name.startswith("socket:") for name in names)

    before = [sockets(pid) for pid in pids_of(router)]
    with contextlib.ExitStack() as open_:
        for _ in range(100):
            open_.enter_context(socket.create_connection((host, int(port))))

        def dealt():
            now = [sockets(pid) for pid in pids_of(router)]
            return [n - b for n, b in zip(now, before, strict=True)]

        wait_until(lambda: sum(dealt()) == 100)
        assert min(dealt()) >= 25  # of fair coins once in 10 million runs less


def test_a_limit_of_requests_is_one_for_all_workers(start_router, upstream):
    router = start_router(one(upstream), limited(requests_per_min=12), "--workers", "2")
    assert sorted(codes(ask_many(router, 40))) == [200] * 12 + [429] * 28


def test_a_limit_of_tokens_is_one_for_all_workers(start_router, upstream):
    """A request counts as what it used, 15 tokens, once it is done."""
    router = start_router(one(upstream), limited(tokens_per_min=100), "--workers", "2")
    answers = [ask(router) for _ in range(12)]
    served = codes(answers).count(200)
    assert set(codes(answers)) == {200, 429}
    assert 5 <= served <= 7
    left = [int(a.headers["x-ratelimit-remaining-tokens"]) for a in answers[:served]]
    assert left == sorted(left, reverse=True)


def test_a_limit_of_requests_at_once_is_one_for_all_workers(start_router, upstream):
    held = Held(upstream)
    router = start_router(one(upstream), limited(concurrent=4), "--workers", "2")
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, router) for _ in range(20)]
        wait_until(lambda: held.waiting == 4 and sum(a.done() for a in asked) == 16)
        held.go.set()
    assert sorted(codes(a.result() for a in asked)) == [200] * 4 + [429] * 16
    assert sorted(codes(ask_many(router, 4, at_once=4))) == [200] * 4  # all of it was given back


def test_a_keys_own_limit_is_one_for_all_workers(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2", requests_per_min=5)
    assert sorted(codes(ask_many(router, 20))) == [200] * 5 + [429] * 15


def test_a_circuit_that_one_worker_opened_is_open_for_all(start_router, upstream):
    upstream.answers(plain({}, 500))
    router = start_router(one(upstream), policy(defaults=LONG), "--workers", "2")
    for _ in range(3):
        assert ask(router).status_code in (502, 503)
    tried = len(upstream.bodies)
    assert tried == 3
    assert {httpx.get(f"{router.url}/readyz").status_code for _ in range(20)} == {503}
    assert set(codes(ask_many(router, 20))) == {503}
    assert len(upstream.bodies) == tried


def test_a_half_open_circuit_is_tried_by_one_request_of_all_workers(start_router, upstream):
    upstream.answers(plain({}, 500))
    router = start_router(one(upstream), policy(defaults=BREAKER), "--workers", "2")
    for _ in range(3):
        ask(router)
    held = Held(upstream)
    wait_until(lambda: ask_ready(router))
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, router) for _ in range(20)]
        wait_until(lambda: sum(a.done() for a in asked) == 19)
        assert held.waiting == 1
        held.go.set()
    assert sorted(codes(a.result() for a in asked)) == [200] + [503] * 19
    assert set(codes(ask_many(router, 12))) == {200}  # closed again, for all


def ask_ready(router):
    return httpx.get(f"{router.url}/readyz").status_code == 200


def test_every_worker_decides_by_the_requests_of_all(start_router, upstream):
    held = Held(upstream)
    router = start_router(one(upstream), policy(), "--workers", "2")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, router) for _ in range(6)]
        wait_until(lambda: held.waiting == 6)
        assert figure(router, "sluice_in_flight", fleet="one") == 6

        def in_flight():
            url, headers = f"{router.url}/v1/route", router.headers()
            return httpx.post(url, json=ASKED, headers=headers).json()["load"]["one"]["in_flight"]

        assert {in_flight() for _ in range(12)} == {6}
        held.go.set()
    assert codes(a.result() for a in asked) == [200] * 6
    wait_until(lambda: {in_flight() for _ in range(12)} == {0})


def test_a_line_is_one_for_all_workers(start_router, upstream):
    """With one place, or two after the first answer, nobody is overtaken by more than another; a
    worker that the machine lets stand for a while is overtaken by more, so there are three tries.
    """
    expected = ["s0", "urgent", *(f"s{n}" for n in range(1, 12))]
    for _ in range(3):
        texts = in_the_order_sent(start_router, upstream)
        if all(abs(texts.index(text) - n) <= 1 for n, text in enumerate(expected)):
            return
    pytest.fail(f"the line was not kept to: {texts}")


def in_the_order_sent(start_router, upstream):
    """Let twelve wait for one place, and then one that is urgent; return them as they were sent."""
    texts, go = [], threading.Semaphore(0)

    def script(body, send, gone):
        texts.append(body["messages"][-1]["content"])
        go.acquire()
        send(plain())

    upstream.script = script
    fleets = one(upstream).replace("concurrency_each: 8", "concurrency_each: 1")
    router = start_router(fleets, policy(), "--workers", "2", "--queue-s", "60")
    came = [f"s{n}" for n in range(12)]
    with ThreadPoolExecutor(20) as pool:
        asked = []
        for n, text in enumerate([*came, "urgent"]):
            said = {"messages": [{"role": "user", "content": text}]}
            service_class = "interactive" if text == "urgent" else "standard"
            headers = {"x-sluice-service-class": service_class}
            asked.append(pool.submit(ask, router, headers=headers, **said))
            wait_until(lambda n=n: len(texts) == 1 and figure(router, "sluice_waiting") == n)
        for n in range(13):
            wait_until(lambda n=n: len(texts) > n)
            go.release()
        assert codes(a.result() for a in asked) == [200] * 13
    return texts


def test_requests_of_sibling_workers_are_not_taken_for_another_routers(start_router, upstream):
    """The engine counts all of them; each worker knows which are its router's."""
    held = Held(upstream)
    busy = b"vllm:num_requests_running 6\nvllm:num_requests_waiting 0\n"
    router = start_router(one(upstream), policy(), "--workers", "2")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, router) for _ in range(6)]
        wait_until(lambda: held.waiting == 6)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n"
        upstream.pages["/metrics"] = head % len(busy) + busy
        looked = len(upstream.got)
        wait_until(lambda: len(upstream.got) >= looked + 8)  # each worker at least once

        def in_flight():
            url, headers = f"{router.url}/v1/route", router.headers()
            return httpx.post(url, json=ASKED, headers=headers).json()["load"]["one"]["in_flight"]

        assert {in_flight() for _ in range(12)} == {6}
        held.go.set()
    assert codes(a.result() for a in asked) == [200] * 6


def test_a_storm_over_all_workers_leaves_exact_books_and_whole_receipts(start_router, upstream):
    probe = start_router(one(upstream), policy())
    usd = probe.receipt(probe.chat("hi", max_tokens=10))["charge"]["usd"]
    router = start_router(one(upstream), budgeted(f"{usd * 100.5:.12f}"), "--workers", "2")
    answers = ask_many(router, 300, at_once=24)
    assert set(codes(answers)) == {200, 402}
    served = codes(answers).count(200)
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: len(list(ledger.entries(*ALWAYS))) == served)
        rows = list(ledger.entries(*ALWAYS))
        assert wrong(ledger) == []
        assert sum(row.nano for row in rows) <= usd * 100.5 * 1e9
        assert {row.kind for row in rows} == {"charge"}
    finally:
        ledger.close()
    ids = [answer.headers["x-sluice-request-id"] for answer in answers]
    wait_until(lambda: len(router.receipts()) == 300)  # every line is whole: it is parsed
    assert sorted(receipt["id"] for receipt in router.receipts()) == sorted(ids)
    assert figure(router, "sluice_requests_total", outcome="ok") == served
    assert figure(router, "sluice_requests_total", outcome="refused") == 300 - served


def test_receipts_far_beyond_a_page_are_whole_lines_too(start_router, upstream):
    """A line is one write to a file that is appended to, whatever its length."""
    fleets = catalogue(*(fleet(f"fleet-{i}", upstream.url) for i in range(40)))
    router = start_router(fleets, policy(baseline="m@fleet-0"), "--workers", "2")
    assert set(codes(ask_many(router, 120, at_once=24))) == {200}
    wait_until(lambda: len(router.receipts()) == 120)
    (path,) = (router.state / "receipts").glob("*.jsonl")
    assert min(map(len, path.read_bytes().splitlines())) > 8192


def test_an_idempotency_key_is_taken_once_by_whichever_worker(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    answers = ask_many(router, 8, headers={"idempotency-key": "order-7"})
    assert sorted(codes(answers)) == [200] + [409] * 7
    assert len(upstream.bodies) == 1


def test_the_fleets_time_is_written_by_one_worker_even_when_that_one_dies(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    ledger = SqliteLedger(router.state)

    def seconds():
        return sum(row.seconds for row in ledger.fleet_times(*ALWAYS))

    try:
        wait_until(lambda: seconds() > 0)
        began_s, before = time.monotonic(), seconds()
        for pid in pids_of(router):  # whichever keeps the books
            kill(router, pid)
        wait_until(lambda: seconds() > before + 8)
        router.process.send_signal(signal.SIGTERM)
        router.process.wait(START_S)
        # What lies between two looks was written at the end: no second of one machine twice.
        passed_s = time.monotonic() - began_s
        assert before + 8 < seconds() <= before + passed_s + 6
        minutes = [(row.minute, row.source) for row in ledger.fleet_times(*ALWAYS)]
        assert len(minutes) == len(set(minutes))
    finally:
        ledger.close()


def test_a_wake_up_is_asked_for_once_by_all_workers(start_router, upstream, closed_port):
    wake = ", wake: {seconds: 300, min_run_seconds: 600}"
    large = fleet("large", f"http://127.0.0.1:{closed_port}/v1", lane="accelerator", more=wake)
    large = large.replace("min: 1", "min: 0").replace("profile: c8g.xlarge/qwen3-0.6b, ", "")
    fleets = catalogue(large, fleet("small", upstream.url))
    text = policy(baseline="m@large", rules=TOO_SOON)
    router = start_router(fleets, text, "--workers", "2")

    def state():
        return httpx.get(f"{router.url}/readyz").json()["fleets"]["large"]

    wait_until(lambda: {state() for _ in range(12)} == {"cold"})
    assert set(codes(ask_many(router, 24))) == {200}
    assert router.log().count("a wake-up is asked for") == 1
    assert figure(router, "sluice_wake_ups_total") == 1
    assert figure(router, "sluice_asleep_missed_total") == 24


def test_every_worker_adopts_a_changed_policy(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")

    def hashes():
        return {httpx.get(f"{router.url}/readyz").json()["policy"]["hash"] for _ in range(12)}

    (before,) = hashes()
    (router.state.parent / "policy.yaml").write_text(limited(requests_per_min=2), "utf-8")
    wait_until(lambda: len(hashes() - {before}) == len(hashes()) == 1)
    assert sorted(codes(ask_many(router, 9))) == [200] * 2 + [429] * 7
    assert figure(router, "sluice_policy_stale") == 0
    (router.state.parent / "policy.yaml").write_text("rules: 7\n", "utf-8")
    wait_until(lambda: figure(router, "sluice_policy_stale") == 1)


def test_dynamodb_serves_all_workers(start_router, upstream, monkeypatch):
    with dynamo_process() as (_, address):
        for name, value in (
            ("AWS_ENDPOINT_URL_DYNAMODB", address),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        dynamo_client(address).call("CreateTable", definition("books"))
        probe = start_router(one(upstream), policy())
        usd = probe.receipt(probe.chat("hi", max_tokens=10))["reservation"]["usd"]
        text = budgeted(f"{usd * 1.5:.12f}")
        options = ("--workers", "2", "--ledger", "dynamodb:books")
        router = start_router(one(upstream), text, *options)
        answers = ask_many(router, 16, at_once=8)
        assert set(codes(answers)) == {200, 402}
        ledger = DynamoLedger(dynamo_client(address), "books")
        served = codes(answers).count(200)
        wait_until(lambda: len(list(ledger.entries(*ALWAYS))) == served)
        assert wrong(ledger) == []


# -- a worker dies ---------------------------------------------------------------------------------


def test_a_killed_worker_costs_its_own_requests_alone_and_is_started_again(start_router, upstream):
    def script(body, send, gone):
        time.sleep(0.02)
        send(plain())

    upstream.script = script
    router = start_router(one(upstream), budgeted(1000), "--workers", "2")
    stop, answers = threading.Event(), []

    def load():
        while not stop.is_set():
            answers.append(ask(router))

    loads = [threading.Thread(target=load) for _ in range(8)]
    for each in loads:
        each.start()
    for deaths in range(4):
        so_far = len(answers)
        wait_until(lambda so_far=so_far: len(answers) > so_far + 30)
        if deaths < 3:
            kill(router, pids_of(router)[0])
    stop.set()
    for each in loads:
        each.join()
    lost = codes(answers).count(None)
    assert set(codes(answers)) <= {200, None}
    assert lost <= 3 * 8  # what ran in the three, or was about to be taken
    served = codes(answers).count(200)
    ledger = SqliteLedger(router.state)
    try:
        wait_until(lambda: len(list(ledger.entries(*ALWAYS))) >= served)
        assert wrong(ledger) == []
        held = [row.reserved for row in ledger.books().scopes.values()]
        assert sum(held) <= lost * 10**9  # what the dead had set aside, until its lease is over
    finally:
        ledger.close()
    assert figure(router, "sluice_in_flight", fleet="one") == 0  # nothing of the dead is counted
    # A killed worker's counts stay; only its last request may have been served and not be counted.
    assert served <= figure(router, "sluice_requests_total", outcome="ok") <= served + lost
    said = re.findall(r"worker \d \(process \d+\) was killed by SIGKILL", router.log())
    assert len(said) == 3


def test_what_a_killed_worker_was_doing_is_no_longer_counted(start_router, upstream):
    held = Held(upstream)
    router = start_router(one(upstream), limited(concurrent=4), "--workers", "2")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, router) for _ in range(4)]
        wait_until(lambda: held.waiting == 4)
        assert ask(router).status_code == 429
        for pid in pids_of(router):
            kill(router, pid)
        assert codes(a.result() for a in asked) == [None] * 4
    wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 0)
    held.go.set()
    assert codes(ask_many(router, 4, at_once=4)) == [200] * 4


def test_a_trial_whose_worker_was_killed_is_made_by_another(start_router, upstream):
    upstream.answers(plain({}, 500))
    router = start_router(one(upstream), policy(defaults=BREAKER), "--workers", "2")
    for _ in range(3):
        ask(router)
    held = Held(upstream)
    with ThreadPoolExecutor(1) as pool:
        wait_until(lambda: ask_ready(router))
        trial = pool.submit(ask, router)
        wait_until(lambda: held.waiting == 1)
        assert ask(router).status_code == 503
        for pid in pids_of(router):
            kill(router, pid)
        assert trial.result() is None
    held.go.set()
    assert ask(router).status_code == 200


def test_a_worker_that_dies_again_and_again_is_started_ever_more_rarely(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    for _ in range(3):
        kill(router, pids_of(router)[-1])
    waits = re.findall(r"it is started again(?: in (\d+) s)?\n", router.log())
    assert waits == ["", "1", "2"]
    assert ask(router).status_code == 200


def test_a_worker_that_can_not_start_again_is_told_and_the_others_serve_on(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    (router.state.parent / "policy.yaml").write_text("rules: 7\n", "utf-8")
    dead = pids_of(router)[0]
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: "can't be started" in router.log())
    assert set(codes(ask_many(router, 8))) == {200}
    (router.state.parent / "policy.yaml").write_text(policy(), "utf-8")
    wait_until(lambda: sum(listens(router, pid) for pid in pids_of(router)) == 2)


# -- the end ---------------------------------------------------------------------------------------


def slow_stream(upstream):
    """Let streams begin; return what lets them go on to their end."""
    may_end = threading.Event()

    def script(body, send, gone):
        send(stream_head() + EVENTS[0] + EVENTS[1])
        may_end.wait(START_S)
        send(b"".join(EVENTS[2:]) + DONE)
        return "close"

    upstream.script = script
    return may_end


def streams(router, count):
    """Run so many streams at once; return a function that waits for their texts."""
    pool = ThreadPoolExecutor(count)
    asked = [pool.submit(ask, router, stream=True) for _ in range(count)]

    def texts():
        found = [a.result() for a in asked]
        pool.shutdown()
        return [None if answer is None else answer.text for answer in found]

    return texts


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_streams_of_all_workers_end_whole(start_router, upstream, number):
    may_end = slow_stream(upstream)
    router = start_router(one(upstream), policy(), "--workers", "2")
    texts, pids = streams(router, 8), pids_of(router)
    folders = folders_of(pids)
    assert len(folders) == 1
    wait_until(lambda: len(upstream.bodies) == 8)
    wait_until(lambda: figure(router, "sluice_in_flight", fleet="one") == 8)
    if number == signal.SIGINT:
        os.killpg(router.process.pid, number)  # as a terminal does
    else:
        router.process.send_signal(number)
    wait_until(lambda: refuses(router))
    may_end.set()
    assert [text.endswith("data: [DONE]\n\n") for text in texts()] == [True] * 8
    assert router.process.wait(START_S) == 0
    assert not any(is_running(pid) for pid in pids)
    assert refuses(router)
    assert "Traceback" not in router.log()
    assert not any(folder.exists() for folder in folders)


def refuses(router):
    """Tell whether it takes no more connections."""
    try:
        httpx.get(f"{router.url}/healthz")
    except httpx.TransportError:
        return True
    return False


def folders_of(pids):
    """Return where these processes count."""
    return {Path(at) for pid in pids for at in re.findall(r"\S+/workers-\w+", maps(pid))}


def maps(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_killed_parent_leaves_nothing_behind(start_router, upstream):
    may_end = slow_stream(upstream)
    router = start_router(one(upstream), policy(), "--workers", "2")
    pids = pids_of(router)
    folders = folders_of(pids)
    assert len(folders) == 1
    texts = streams(router, 4)
    wait_until(lambda: len(upstream.bodies) == 4)
    router.process.kill()
    router.process.wait()
    may_end.set()
    assert [text.endswith("data: [DONE]\n\n") for text in texts()] == [True] * 4
    wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert not any(folder.exists() for folder in folders)
    with socket.create_server(("127.0.0.1", int(router.url.rsplit(":", 1)[1]))):
        pass  # the port is free again


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["0", "-1", "x", "1000", "2.5", ""])
def test_a_number_of_workers_that_can_not_be_is_refused_with_what_can(number, tmp_path):
    ran = sluice("serve", "--state", tmp_path, "--workers", number)
    assert ran.returncode == 3
    assert "is no number of workers (valid: 1 to 64" in ran.stderr


def test_what_keeps_a_worker_from_starting_is_told_once(tmp_path):
    (tmp_path / "policy.yaml").write_text("rules: 7\n")
    bad = ("--policy", tmp_path / "policy.yaml")
    alone = sluice("serve", "--state", tmp_path, "--port", "0", *bad)
    ran = sluice("serve", "--state", tmp_path, "--port", "0", "--workers", "2", *bad)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == alone.stderr


def test_a_router_does_not_start_over_a_fleet_that_is_itself(tmp_path, closed_port):
    (tmp_path / "fleets.yaml").write_text(
        catalogue(fleet("one", f"http://127.0.0.1:{closed_port}/v1"))
    )
    given = ("--state", tmp_path, "--fleets", tmp_path / "fleets.yaml", "--port", closed_port)
    alone, ran = sluice("serve", *given), sluice("serve", *given, "--workers", "2")
    assert (ran.returncode, ran.stderr) == (3, alone.stderr)


def test_no_key_beyond_loopback_is_refused_as_for_one_process(tmp_path):
    given = ("--state", tmp_path, "--port", "0", "--host", "0.0.0.0", "--auth", "none")
    ran = sluice("serve", *given, "--workers", "2")
    assert ran.returncode == 2
    assert ran.stderr == sluice("serve", *given).stderr


def test_a_port_in_use_is_told_even_where_other_workers_have_it(start_router, upstream, tmp_path):
    router = start_router(one(upstream), policy(), "--workers", "2")
    port = router.url.rsplit(":", 1)[1]
    for workers in ("1", "2"):
        ran = sluice("serve", "--state", tmp_path, "--port", port, "--workers", workers)
        assert ran.returncode == 1
        assert "Address already in use" in ran.stderr
    assert set(codes(ask_many(router, 8))) == {200}


def test_workers_listen_on_ipv6_without_keys(tmp_path, upstream):
    (tmp_path / "fleets.yaml").write_text(one(upstream))
    (tmp_path / "policy.yaml").write_text(policy())
    given = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    given += ["--state", tmp_path / "state", "--port", "0", "--host", "::1", "--auth", "none"]
    command = [sys.executable, "-m", "router.cli", "serve", *given, "--workers", "2"]
    with process(*command) as served:
        url = served.first_line.split()[3]
        assert url.startswith("http://[::1]:")
        found = {httpx.post(f"{url}/v1/chat/completions", json=ASKED).status_code for _ in range(8)}
        assert found == {200}


def test_what_a_killed_router_left_of_its_counts_is_removed_by_the_next(start_router, upstream):
    router = start_router(one(upstream), policy(), "--workers", "2")
    (mine,) = router.state.glob("workers-*")
    for pid in (router.process.pid, *pids_of(router)):
        os.kill(pid, signal.SIGKILL)
    router.process.wait()
    assert mine.exists()
    given = ("--state", router.state, "--port", "0", "--workers", "2")
    (router.state / "policy.yaml").write_text("rules: 7\n")
    assert sluice("serve", *given, "--policy", router.state / "policy.yaml").returncode == 3
    assert not list(router.state.glob("workers-*"))


def test_a_worker_without_a_parent_says_who_starts_it():
    command = [sys.executable, "-m", "router.cli.worker"]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert ran.returncode == 1
    assert b"sluice serve --workers" in ran.stderr

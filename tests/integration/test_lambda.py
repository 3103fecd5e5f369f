"""A router that is frozen after every answer: what is done by the last byte, and what it prints.

Here SIGSTOP freezes it, as soon as the caller has that byte; on Lambda the environment does.
"""

import base64
import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from ledger_support import dynamo_client, dynamo_process, wrong
from support import (
    DONE,
    EVENTS,
    START_S,
    USAGE_EVENT,
    Upstream,
    catalogue,
    event,
    fleet,
    freeze,
    plain,
    policy,
    sluice,
    stream_head,
    thaw,
    wait_until,
)

from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition

ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
TABLES = itertools.count()
BUDGET = "budgets:\n  - {id: all, match: {}, usd: 1, per: day, when_spent: reject}\n"


@pytest.fixture(scope="module")
def dynamo():
    """The process and its address."""
    with dynamo_process() as (running, address):
        dynamo_client(address).call("ListTables", {})  # its first call takes long, and is harmless
        yield running, address


@pytest.fixture
def firehose():
    """A server of Firehose's API: `kept` are the receipts that it has, `status` what it answers."""
    server = Upstream()
    server.kept, server.status, server.takes_s, server.may = [], 200, 0.0, threading.Event()
    server.may.set()

    def script(body, send, gone):
        server.may.wait(START_S)
        time.sleep(server.takes_s)
        if server.status == 200:
            assert body["DeliveryStreamName"] == "decisions"
            lines = base64.b64decode(body["Record"]["Data"]).splitlines()
            server.kept += map(json.loads, lines)
        send(plain({"RecordId": "1"}, server.status))

    server.script = script
    yield server
    server.stop()


@pytest.fixture
def aws(dynamo, firehose, monkeypatch):
    """The environment that every AWS tool reads, for this test and the processes it starts."""
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "SLUICE_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    said = {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamo[1],
        "AWS_ENDPOINT_URL_FIREHOSE": f"http://127.0.0.1:{firehose.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SLUICE_STAGE": "dev",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def table(dynamo, aws):
    name = f"frozen-{next(TABLES)}"
    dynamo_client(dynamo[1]).call("CreateTable", definition(name))
    return name


@pytest.fixture
def ledger(dynamo, table):
    return DynamoLedger(dynamo_client(dynamo[1]), table)


@pytest.fixture
def start(start_router, upstream, table):
    """Start a router as it runs on Lambda; `place`: elsewhere, with the same stores."""

    def started(text=None, *more, place="lambda", **rights):
        fleets = catalogue(fleet("one", upstream.url), fleet("two", upstream.url))
        stores = ("--ledger", f"dynamodb:{table}", "--receipts", "firehose:decisions")
        text = policy() + BUDGET if text is None else text
        return start_router(fleets, text, "--router-on", place, *stores, *more, **rights)

    return started


@contextlib.contextmanager
def stopped(process):
    freeze(process.pid)
    try:
        yield
    finally:
        thaw(process.pid)


def answer_of(router, stream=False, **more):
    """Return a whole answer, byte by byte; the router is frozen as soon as the last one is there.

    Whoever asks lets it thaw.
    """
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
    body = json.dumps({**body, "stream": stream, **more}).encode()
    where = urlsplit(router.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}"
        )
        sock.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        whole = b""
        while not is_whole(whole):
            got = sock.recv(65536)
            assert got, whole
            whole += got
        freeze(router.process.pid)
    return whole


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(found) and len(body) == int(length)


def rows(ledger):
    return list(ledger.entries(*ALWAYS))


def streams(upstream):
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)


def slow_to_settle(upstream, dynamo, for_s=0.6):
    """From the moment that the fleet is asked the ledger answers nothing, for a while."""
    answer = upstream.script

    def go_on():
        time.sleep(for_s)
        thaw(dynamo[0].pid)

    def script(body, send, gone):
        freeze(dynamo[0].pid)
        threading.Thread(target=go_on).start()
        return answer(body, send, gone)

    upstream.script = script


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_by_the_last_byte_it_is_charged_and_its_receipt_delivered(
    start, upstream, dynamo, ledger, firehose, stream
):
    if stream:
        streams(upstream)
    router = start()
    firehose.takes_s = 0.3
    slow_to_settle(upstream, dynamo)
    answer = answer_of(router, stream)
    assert answer.startswith(b"HTTP/1.1 200")
    (receipt,) = firehose.kept
    (row,) = rows(ledger)
    assert (row.request_id, row.outcome, row.kind) == (receipt["id"], "ok", "charge")
    assert wrong(ledger) == []
    thaw(router.process.pid)


@pytest.mark.parametrize("place", ["local", "fargate"])
def test_elsewhere_the_answer_does_not_wait_for_the_settlement(
    start, upstream, dynamo, firehose, place
):
    router = start(place=place)
    firehose.may.clear()
    upstream.script = lambda body, send, gone: freeze(dynamo[0].pid) or send(plain())
    assert router.chat("hi", max_tokens=10).status_code == 200
    assert firehose.kept == []
    thaw(dynamo[0].pid)
    firehose.may.set()
    wait_until(lambda: firehose.kept)


def test_a_refusal_s_receipt_is_delivered_by_its_last_byte(start, firehose):
    router = start(policy() + BUDGET.replace("usd: 1", "usd: 0.000000001"))
    firehose.takes_s = 0.3
    assert b"402" in answer_of(router)[:16]
    (receipt,) = firehose.kept
    assert (receipt["attempts"], receipt["charge"]) == ([], {})
    thaw(router.process.pid)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_failure_is_settled_by_its_last_byte(start, upstream, ledger, firehose, dynamo, stream):
    upstream.answers(plain({"error": {"message": "bad"}}, 500))
    router = start()
    firehose.takes_s = 0.3
    answer = answer_of(router, stream)
    assert b" 502 " in answer[:16]
    (receipt,) = firehose.kept
    assert [attempt["fleet"] for attempt in receipt["attempts"]]
    assert wrong(ledger) == []
    assert list(ledger.expire(time.time() + 10_000).alerts) == []  # no lease is left to run out
    assert not [row for row in rows(ledger) if row.kind == "expired"]
    thaw(router.process.pid)


def test_a_broken_stream_is_charged_by_its_last_byte(start, upstream, ledger, firehose, dynamo):
    upstream.streams(*EVENTS[:2])
    router = start()
    firehose.takes_s = 0.3
    answer = answer_of(router, stream=True)
    assert b"stream_broken" in answer
    (receipt,), (row,) = firehose.kept, rows(ledger)
    assert (row.request_id, row.outcome) == (receipt["id"], "broken")
    thaw(router.process.pid)


def test_who_hangs_up_is_charged_nevertheless(start, upstream, ledger, firehose):
    def script(body, send, gone):
        send(stream_head() + event(choices=[{"index": 0, "delta": {"content": "a"}}]))
        gone(20)
        return "close"

    upstream.script = script
    router = start()
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())
    wait_until(lambda: rows(ledger) and firehose.kept)
    assert rows(ledger)[0].outcome == "client_closed"


def test_a_ledger_that_does_not_answer_holds_no_answer_and_is_paid_by_the_next(
    start, upstream, dynamo, ledger, firehose
):
    script = upstream.script
    router = start(None, "--metrics", "emf:Sluice")

    def and_the_ledger_stops(body, send, gone):
        freeze(dynamo[0].pid)
        return script(body, send, gone)

    upstream.script = and_the_ledger_stops
    try:
        assert router.chat("hi", max_tokens=10).status_code == 200
        assert len(firehose.kept) == 1
    finally:
        thaw(dynamo[0].pid)
    upstream.script = script
    wait_until(lambda: "could not be settled" in router.log())
    assert rows(ledger) == []
    answer_of(router)
    assert len(rows(ledger)) == 2
    assert wrong(ledger) == []
    thaw(router.process.pid)
    assert sum(line["Unsettled"] for line in lines_of(router)) == 1


def test_a_policy_that_changes_while_the_ledger_is_away_is_adopted_once_it_is_back(
    start, dynamo, tmp_path
):
    router = start()
    freeze(dynamo[0].pid)
    try:
        (tmp_path / "policy.yaml").write_text(policy() + BUDGET.replace("usd: 1", "usd: 2"))
        wait_until(lambda: "the change is refused" in router.log())
        assert router.http.get("/readyz").json()["policy"]["stale"]
    finally:
        thaw(dynamo[0].pid)
    wait_until(lambda: "adopted: policy changed" in router.log())
    assert not router.http.get("/readyz").json()["policy"]["stale"]


def test_a_stream_of_receipts_that_is_out_of_order_costs_receipts_and_no_request(
    start, upstream, ledger, firehose
):
    router = start(None, "--metrics", "emf:Sluice")
    firehose.status = 400
    assert router.chat("hi", max_tokens=10).status_code == 200
    assert len(rows(ledger)) == 1
    assert "a receipt could not be sent to Firehose: " in router.log()
    assert "sluice_receipts_lost_total 1.0" in router.http.get("/metrics").text
    firehose.status = 200
    assert router.chat("hi", max_tokens=10).status_code == 200
    assert [line["ReceiptsLost"] for line in lines_of(router)] == [1, 0]


def test_files_and_batches_are_told_that_there_is_no_store(start):
    router = start()
    for method, path in (("GET", "/v1/files"), ("POST", "/v1/batches"), ("GET", "/v1/batches/b")):
        said = router.http.request(method, path)
        assert (said.status_code, said.json()["error"]["code"]) == (501, "no_batches")


def test_feedback_is_told_that_receipts_are_elsewhere(start, firehose):
    router = start()
    asked = router.chat("hi", max_tokens=10).headers["x-sluice-request-id"]
    said = router.http.post("/v1/feedback", json={"request_id": asked, "acceptable": True})
    assert (said.status_code, said.json()["error"]["code"]) == (501, "receipts_elsewhere")


# -- metrics ---------------------------------------------------------------------------------------


def lines_of(router):
    """Stop the router and return the lines of metrics that it printed."""
    router.process.send_signal(signal.SIGTERM)
    router.process.wait(60)
    return [json.loads(line) for line in router.process.stdout.read().splitlines()]


def test_each_request_prints_one_line_and_nothing_of_what_was_asked(
    start, upstream, firehose, monkeypatch
):
    monkeypatch.setenv("SLUICE_METRIC_DIMENSIONS", "fleet")
    router = start(None, "--metrics", "emf:Sluice/test", team="search")
    streams(upstream)
    assert router.chat("my secret", stream=True, max_tokens=10).status_code == 200
    upstream.answers(plain())
    assert router.chat("my secret", max_tokens=10).status_code == 200
    router.http.get("/healthz")
    refused = router.chat("hi", headers={"x-sluice-max-usd": "0.000000000001"})
    assert refused.status_code == 402
    assert router.http.post("/v1/chat/completions", content=b"no json").status_code == 400
    printed = lines_of(router)
    assert [line["Requests"] for line in printed] == [1, 1, 1, 1]
    assert [line["Refusals"] for line in printed] == [0, 0, 1, 1]
    assert [line["Errors"] for line in printed] == [0, 0, 0, 0]
    streamed, answered = printed[:2]
    receipts = firehose.kept
    for line, receipt in zip(printed[:2], receipts, strict=False):
        (attempt,) = receipt["attempts"]
        assert line["UsdCharged"] == receipt["charge"]["usd"]
        assert line["UsdSaved"] == receipt["charge"]["usd_saved"]
        assert line["E2eMs"] == attempt["e2e_ms"]
        assert line["fleet"] == attempt["fleet"]
    assert streamed["TtftMs"] == receipts[0]["attempts"][0]["ttft_ms"]
    assert "TtftMs" not in answered
    assert all(line["stage"] == "dev" for line in printed)
    assert "secret" not in json.dumps(printed)
    assert router.key not in json.dumps(printed)


def test_on_fargate_lines_are_printed_too(start, upstream):
    router = start(None, "--metrics", "emf:Sluice", place="fargate")
    assert router.chat("hi", max_tokens=10).status_code == 200
    (line,) = lines_of(router)
    assert (line["Requests"], line["stage"], "fleet" in line) == (1, "dev", False)


def test_a_line_is_written_before_the_last_byte(start, upstream):
    router = start(None, "--metrics", "emf:Sluice")
    answer_of(router)
    assert json.loads(router.process.stdout.readline())["Requests"] == 1
    thaw(router.process.pid)


# -- one of several equals -------------------------------------------------------------------------


def test_requests_are_spread_over_equal_fleets_and_their_receipts_recomputed(
    start, firehose, tmp_path
):
    router = start()
    for _ in range(24):
        assert router.chat("hi", max_tokens=10).status_code == 200
    firsts = [receipt["plan"][0] for receipt in firehose.kept]
    assert set(firsts) == {"one", "two"}
    for receipt in firehose.kept[:3]:
        assert "spread:2" in receipt["candidates"][0]["marks"]
        path = tmp_path / "receipt.json"
        path.write_text(json.dumps(receipt))
        said = sluice("route", "--receipt", path, "--state", router.state)
        assert said.returncode == 0, said.stderr


def test_elsewhere_the_best_is_taken(start, firehose):
    router = start(place="fargate")
    for _ in range(6):
        assert router.chat("hi", max_tokens=10).status_code == 200
    wait_until(lambda: len(firehose.kept) == 6)
    assert {receipt["plan"][0] for receipt in firehose.kept} == {"one"}
    assert {receipt["facts"]["spread"] for receipt in firehose.kept} == {None}


# -- what can't be there ---------------------------------------------------------------------------


def refused(*arguments):
    return sluice("serve", "--port", "0", *arguments)


def test_a_ledger_in_a_file_is_refused(aws, tmp_path):
    said = refused("--state", tmp_path, "--router-on", "lambda")
    assert said.returncode == 2
    assert "give `--router-on lambda` one that they share, `--ledger dynamodb:TABLE`" in said.stderr


def test_shadow_judging_is_refused_with_where_it_can_be(aws, table, tmp_path):
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", "http://127.0.0.1:9/v1")))
    shadow = (
        "shadow: {share: 0.5, judge: m, budget: judging}\n"
        "budgets: [{id: judging, match: {tenant: sluice-shadow}, usd: 1, per: day, "
        "when_spent: reject}]\n"
    )
    (tmp_path / "policy.yaml").write_text(policy() + shadow)
    given = ("--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml")
    store = ("--ledger", f"dynamodb:{table}")
    said = refused("--state", tmp_path, *given, *store, "--router-on", "lambda")
    assert said.returncode == 3
    assert f"{tmp_path / 'policy.yaml'}: `shadow` judges answers after they were" in said.stderr


@pytest.mark.parametrize(
    ("option", "setting", "said"),
    [
        ("--receipts", "s3:bucket", "`s3:bucket` is no store of receipts (valid: `jsonl`, or `f"),
        ("--metrics", "statsd", "`statsd` is no way to tell metrics (valid: `prometheus`, or `em"),
    ],
)
def test_another_store_or_way_is_refused_with_what_is_valid(option, setting, said):
    found = refused(option, setting)
    assert (found.returncode, said in " ".join(found.stderr.split())) == (3, True)


def test_lines_of_several_workers_are_refused():
    found = refused("--metrics", "emf:Sluice", "--workers", "2")
    assert found.returncode == 3
    assert "it goes with one" in found.stderr


def test_lines_without_a_stage_are_refused(aws, tmp_path):
    aws.delenv("SLUICE_STAGE")
    found = refused("--state", tmp_path, "--metrics", "emf:Sluice")
    assert (found.returncode, "set SLUICE_STAGE" in found.stderr) == (3, True)


def test_receipts_without_a_region_are_refused(aws, tmp_path):
    aws.delenv("AWS_REGION")
    found = refused("--state", tmp_path, "--receipts", "firehose:decisions")
    assert (found.returncode, "receipts `firehose:decisions`: no region" in found.stderr) == (
        3,
        True,
    )

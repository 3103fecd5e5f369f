"""`--ledger dynamodb:TABLE`: a router and the commands over an HTTP server of DynamoDB's API."""

import itertools
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from ledger_support import dynamo_client, dynamo_process, wrong
from support import (
    ANSWER,
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
NO_AWS = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def dynamo():
    """The process and its address."""
    with dynamo_process() as (running, address):
        yield running, address


@pytest.fixture
def aws(dynamo, monkeypatch):
    """The environment that every AWS tool reads, for this test and the processes it starts."""
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "SLUICE_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    said = {
        **NO_AWS,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamo[1],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def table(dynamo, aws):
    name = f"routers-{next(TABLES)}"
    dynamo_client(dynamo[1]).call("CreateTable", definition(name))
    return name


@pytest.fixture
def ledger(dynamo, table):
    return DynamoLedger(dynamo_client(dynamo[1]), table)


@pytest.fixture
def stopped(dynamo):
    """Hold DynamoDB: it takes connections and answers nothing."""

    def stop():
        freeze(dynamo[0].pid)

    yield stop
    thaw(dynamo[0].pid)


def budget(usd="1"):
    one = f"{{id: all, match: {{}}, usd: {usd}, per: day, when_spent: reject}}"
    return f"{policy()}budgets:\n  - {one}\n"


def answered(tokens_in=10, tokens_out=2):
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return plain({**ANSWER, "usage": usage})


def one(upstream):
    return catalogue(fleet("one", upstream.url))


def rows(ledger):
    return list(ledger.entries(*ALWAYS))


def test_a_request_is_answered_charged_and_reported(start_router, upstream, table, ledger):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), budget(), "--ledger", f"dynamodb:{table}", team="search")
    answer = router.chat("hi", max_tokens=10)
    assert answer.status_code == 200
    wait_until(lambda: rows(ledger))
    (row,) = rows(ledger)
    receipt = router.receipt(answer)
    assert (row.request_id, row.kind) == (receipt["id"], "charge")
    assert row.nano == round(receipt["charge"]["usd"] * 1e9)
    assert wrong(ledger) == []
    asked = ("report", "--by", "team", "--state", router.state, "--json")
    of_table = sluice("ledger", *asked, "--ledger", f"dynamodb:{table}")
    (line,) = json.loads(of_table.stdout)["rows"]
    assert (line["team"], line["requests"]) == ("search", 1)
    of_file = sluice("ledger", *asked)
    assert json.loads(of_file.stdout)["totals"]["requests"] == 0


def test_every_command_of_the_ledger_takes_it_from_the_environment(
    start_router, upstream, table, ledger, aws, tmp_path
):
    aws.setenv("SLUICE_LEDGER", f"dynamodb:{table}")
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), budget("0.000001"), team="search")
    assert router.chat("hi", max_tokens=1000).status_code == 402
    given = sluice("ledger", "override", "all", "all", "--usd", "1", "--until", "1h")
    assert given.returncode == 0, given.stderr
    assert router.chat("hi", max_tokens=1000).status_code == 200
    wait_until(lambda: rows(ledger))
    router.process.send_signal(signal.SIGTERM)
    router.process.wait(60)
    exported = sluice("ledger", "export", "--format", "jsonl", "--out", "-")
    kinds = [json.loads(line) for line in exported.stdout.splitlines()]
    assert len(kinds) > 1  # the charge, and the fleet's minutes
    bill = tmp_path / "bill.csv"
    bill.write_text("what\n")
    wrong_bill = sluice("ledger", "reconcile", "--bill", bill)
    assert "bill.csv" in wrong_bill.stderr


def test_many_at_once_never_spend_more_than_the_budget(start_router, upstream, table, ledger):
    upstream.script = lambda body, send, gone: send(answered(tokens_in=66, tokens_out=10))
    probe = start_router(one(upstream), policy())
    usd = probe.receipt(probe.chat("hi", max_tokens=10))["reservation"]["usd"] * 6.5
    text = budget(f"{usd:.12f}").replace("defaults: {", "defaults: {limits: {attempts: 1}, ")
    router = start_router(one(upstream), text, "--ledger", f"dynamodb:{table}")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: router.chat("hi", max_tokens=10), range(16)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 402}
    wait_until(lambda: len(rows(ledger)) == codes.count(200))
    assert sum(row.nano for row in rows(ledger)) <= usd * 1e9
    assert wrong(ledger) == []


def test_an_idempotency_key_is_taken_once_by_whichever_router(
    start_router, upstream, table, ledger
):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy(), "--ledger", f"dynamodb:{table}")
    with ThreadPoolExecutor(4) as pool:
        keyed = {"idempotency-key": "order-7"}
        answers = list(pool.map(lambda _: router.chat("hi", headers=keyed), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert len(upstream.bodies) == 1
    assert router.chat("ho", headers={"idempotency-key": "order-7"}).status_code == 422


def test_a_ledger_that_does_not_answer_refuses_and_stops_no_other_request(
    start_router, upstream, table, stopped
):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy(), "--ledger", f"dynamodb:{table}")
    assert router.chat("hi").status_code == 200
    stopped()
    with ThreadPoolExecutor(4) as pool, httpx.Client(base_url=router.url) as others_http:
        waiting = [pool.submit(router.chat, "hi") for _ in range(4)]
        others = 0
        while not all(chat.done() for chat in waiting):
            assert others_http.get("/healthz").status_code == 200
            others += 1
    assert others > 20  # one that waits for the ledger on the event loop lets none through
    codes = {chat.result().json()["error"]["code"] for chat in waiting}
    assert codes <= {"ledger_unavailable", "keys_unreadable"}
    assert {chat.result().status_code for chat in waiting} == {503}
    assert waiting[0].result().headers["retry-after"] in ("1", "2")
    assert len(upstream.bodies) == 1


def test_a_caller_who_hangs_up_is_charged_there_too(start_router, upstream, table, ledger):
    def script(body, send, gone):
        send(stream_head() + event(choices=[{"index": 0, "delta": {"content": "a"}}]))
        gone(20)
        return "close"

    upstream.script = script
    router = start_router(one(upstream), budget(), "--ledger", f"dynamodb:{table}")
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_bytes())
    wait_until(lambda: rows(ledger))
    (row,) = rows(ledger)
    assert (row.outcome, row.estimated) == ("client_closed", True)
    assert wrong(ledger) == []


def test_a_router_that_is_stopped_settles_first(start_router, upstream, table, ledger, dynamo):
    """DynamoDB doesn't answer while the answer goes out and the router is told to end."""
    go = threading.Event()

    def script(body, send, gone):
        go.wait(20)
        send(answered())

    upstream.script = script
    told = "{id: soft, match: {}, usd: 0.000000001, per: day, when_spent: alert}"
    text = f"{policy()}budgets:\n  - {told}\n"
    router = start_router(one(upstream), text, "--ledger", f"dynamodb:{table}")
    with ThreadPoolExecutor(1) as pool:
        chat = pool.submit(router.chat, "hi")
        wait_until(lambda: upstream.bodies)
        freeze(dynamo[0].pid)
        go.set()
        assert chat.result().status_code == 200
    router.process.send_signal(signal.SIGTERM)
    wait_until(lambda: refuses(router.url))
    thaw(dynamo[0].pid)
    router.process.wait(60)
    (row,) = rows(ledger)
    assert (row.kind, row.outcome) == ("charge", "ok")
    assert wrong(ledger) == []
    assert "budget soft (all, " in router.log()


def refuses(url):
    try:
        httpx.get(url + "/healthz")
    except httpx.ConnectError:
        return True
    return False


def test_a_policy_that_is_adopted_puts_its_limits_in_force_there(
    start_router, upstream, table, tmp_path
):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), budget(), "--ledger", f"dynamodb:{table}")
    assert router.chat("hi").status_code == 200
    (tmp_path / "policy.yaml").write_text(budget("0.000001"))
    wait_until(lambda: router.chat("hi").status_code == 402)


# -- a setting that can't be used ------------------------------------------------------------------


def report(setting, *, code=None):
    asked = ("ledger", "report", "--by", "team", "--ledger", setting)
    if code is None:
        return sluice(*asked)
    command = [sys.executable, "-c", f"{code}; from router.cli import main; main()", *asked]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "setting", ["dynamo", "dynamodb:", "dynamodb:a b", "dynamodb:x", "mysql:t"]
)
def test_a_setting_that_names_no_store_is_told_with_what_is_valid(aws, setting, tmp_path):
    for command in (("serve",), ("ledger", "report", "--by", "team")):
        said = sluice(*command, "--state", tmp_path, "--ledger", setting)
        assert said.returncode == 3
        assert f"`{setting}` is no ledger (valid: `sqlite`, or `dynamodb:TABLE`" in said.stderr


def test_a_table_that_is_not_there_is_told_at_start_with_its_place(aws, dynamo, tmp_path):
    for command in (("serve", "--state", tmp_path), ("ledger", "report", "--by", "team")):
        said = sluice(*command, "--ledger", "dynamodb:nowhere")
        assert said.returncode == 3, said.stderr
        assert f"ledger `dynamodb:nowhere` in us-east-1 ({dynamo[1]})" in said.stderr
        assert "no such table" in said.stderr


def test_a_table_of_another_kind_is_told(aws, dynamo):
    other, client = f"others-{next(TABLES)}", dynamo_client(dynamo[1])
    form = {
        "TableName": other,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    }
    client.call("CreateTable", form)
    said = report(f"dynamodb:{other}")
    assert said.returncode == 3
    assert "the index `leases`" in said.stderr or "the key pk, sk (its own is id)" in said.stderr


def test_a_table_without_its_index_is_told(aws, dynamo):
    bare, client = f"bare-{next(TABLES)}", dynamo_client(dynamo[1])
    form = definition(bare)
    del form["GlobalSecondaryIndexes"]
    form["AttributeDefinitions"] = form["AttributeDefinitions"][:2]
    client.call("CreateTable", form)
    said = report(f"dynamodb:{bare}")
    assert (said.returncode, "lacks the index `leases` over lease, due_ms" in said.stderr) == (
        3,
        True,
    )


def test_a_missing_region_is_told(aws):
    aws.delenv("AWS_REGION")
    said = report("dynamodb:sluice")
    assert said.returncode == 3
    assert "ledger `dynamodb:sluice`: no region: set AWS_REGION" in said.stderr


def test_missing_credentials_are_told(aws):
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    said = report("dynamodb:sluice")
    assert said.returncode == 3
    assert "no credentials: set AWS_PROFILE" in said.stderr


def test_an_address_where_nobody_answers_is_told(aws, closed_port):
    aws.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{closed_port}")
    said = report("dynamodb:sluice")
    assert said.returncode == 1
    assert "can't be reached" in said.stderr


def test_an_address_that_is_none_is_told(aws):
    aws.setenv("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000")
    said = report("dynamodb:sluice")
    assert (said.returncode, "localhost:8000" in said.stderr) == (3, True)


def test_credentials_of_the_environment_need_no_botocore(aws, table):
    said = report(f"dynamodb:{table}", code="import sys; sys.modules['botocore'] = None")
    assert said.returncode == 0, said.stderr


def test_credentials_that_are_elsewhere_need_it_and_the_extra_is_named(aws):
    aws.delenv("AWS_ACCESS_KEY_ID")
    said = report("dynamodb:sluice", code="import sys; sys.modules['botocore'] = None")
    assert said.returncode == 2
    assert "ledger `dynamodb:sluice`: to find AWS credentials" in said.stderr
    assert "install `sluice[aws]`" in said.stderr


def test_a_router_on_sqlite_imports_no_boto3(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from router import cli, entry, store\n"
        "from router.cli import serve, up\n"
        "from router.settings import Settings\n"
        f"entry.build(Settings(pathlib.Path({str(tmp_path)!r})))\n"
        "not_these = {'boto3', 'botocore', 'router.ledger.dynamo'}\n"
        "sys.exit(bool(not_these & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- keys ------------------------------------------------------------------------------------------


def test_keys_lie_where_the_ledger_does(start_router, upstream, table, aws, tmp_path):
    upstream.script = lambda body, send, gone: send(answered())
    router = start_router(one(upstream), policy(), "--ledger", f"dynamodb:{table}")
    in_file = sluice("keys", "create", "--tenant", "acme", "--state", router.state)
    said = router.chat(headers={"authorization": f"Bearer {in_file.stdout.strip()}"})
    assert said.status_code == 401
    aws.setenv("SLUICE_LEDGER", f"dynamodb:{table}")
    made = sluice("keys", "create", "--tenant", "other", "--state", tmp_path / "nowhere")
    assert (made.returncode, made.stderr) == (0, "")
    assert not (tmp_path / "nowhere").exists()
    key = made.stdout.strip()
    assert router.chat(headers={"authorization": f"Bearer {key}"}).status_code == 200
    rows = json.loads(sluice("keys", "list", "--json").stdout)["keys"]
    assert sorted(row["tenant"] for row in rows) == ["acme", "other"]
    new = sluice("keys", "rotate", key.split("-")[2]).stdout.strip()
    assert router.chat(headers={"authorization": f"Bearer {new}"}).status_code == 200
    assert sluice("keys", "revoke", "-", input=new).returncode == 0
    again = sluice("keys", "rotate", key.split("-")[2])
    assert (again.returncode, "this key was revoked at" in again.stderr) == (2, True)
    wait_until(lambda: router.chat(headers={"authorization": f"Bearer {new}"}).status_code == 401)


def test_keys_that_cant_be_asked_for_refuse_and_stop_no_other_request(
    start_router, upstream, table, stopped
):
    router = start_router(one(upstream), policy(), "--ledger", f"dynamodb:{table}")
    stopped()
    with ThreadPoolExecutor(4) as pool, httpx.Client(base_url=router.url) as others_http:
        waiting = [pool.submit(router.http.get, "/v1/models") for _ in range(4)]
        others = 0
        while not all(asked.done() for asked in waiting):
            assert others_http.get("/healthz").status_code == 200
            others += 1
    assert others > 20  # one that waits for the keys on the event loop lets none through
    answers = [asked.result() for asked in waiting]
    assert {answer.json()["error"]["code"] for answer in answers} == {"keys_unreadable"}
    assert "who asks could not be looked up: the table of keys can't be used: " in router.log()
    assert router.key not in router.log()
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {
        (503, "2")
    }
    assert router.key not in answers[0].text + router.log()


@pytest.mark.parametrize("command", [["create", "--tenant", "t"], ["list"], ["revoke", "0123abcd"]])
def test_a_table_of_keys_that_cant_be_had_is_told(aws, closed_port, command):
    aws.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{closed_port}")
    said = sluice("keys", *command, "--ledger", "dynamodb:sluice")
    assert (said.returncode, "ledger `dynamodb:sluice`" in said.stderr) == (1, True)
    assert "can't be reached" in said.stderr


def test_a_router_with_credentials_in_its_environment_imports_no_sdk(aws, table, tmp_path):
    code = (
        "import sys, pathlib\n"
        "from router import entry\n"
        "from router.settings import Settings, environment\n"
        f"state = pathlib.Path({str(tmp_path)!r})\n"
        f"entry.build(Settings(state, ledger='dynamodb:{table}', environment=environment()))\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(said.stdout.split())
    assert "router" in loaded
    assert not {"boto3", "botocore", "s3transfer", "urllib3", "requests"} & loaded

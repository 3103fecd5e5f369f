"""`/v1/files` and `/v1/batches` on a real router, mostly by OpenAI's own client."""

import contextlib
import json
import resource
import socket
import sqlite3
import threading
import time
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from support import BOTH, catalogue, fleet, plain, policy, sluice, wait_until

from router.identity import Key
from router.keys import KeyStore

URL = "/v1/chat/completions"
ONCE = ", limits: {attempts: 1}"


@pytest.fixture
def router(start_router, upstream):
    return start_router(fleets(upstream), policy())


def fleets(upstream):
    return catalogue(fleet("one", upstream.url))


def client_of(router, key=None):
    return openai.OpenAI(base_url=f"{router.url}/v1", api_key=key or router.key, max_retries=0)


def line(custom_id, text="hi", **more):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 8}
    row = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body | more}
    return json.dumps(row, ensure_ascii=False)


def jsonl(*lines):
    return "\n".join(lines).encode() + b"\n"


def put(client, *lines, name="in.jsonl"):
    return client.files.create(file=(name, jsonl(*lines)), purpose="batch")


def begin(client, *lines, window="24h", **more):
    return client.batches.create(
        input_file_id=put(client, *lines).id, endpoint=URL, completion_window=window, **more
    )


def ended(client, batch, status="completed"):
    wait_until(lambda: client.batches.retrieve(batch.id).status == status)
    return client.batches.retrieve(batch.id)


def content(client, file_id):
    return [json.loads(row) for row in client.files.content(file_id).text.splitlines()]


def another_key(router, **rights):
    store = KeyStore(router.state, time.monotonic)
    key = store.create(Key(id="", **{"tenant": "other", **rights}), "2026-01-01T00:00:00Z")
    store.close()
    return key


def rows_of(router, asked):
    db = sqlite3.connect(router.state / "sluice.db")
    try:
        return db.execute(asked).fetchall()
    finally:
        db.close()


# -- the whole way ---------------------------------------------------------------------------------


def test_a_batch_goes_the_whole_way_by_openais_client(router, upstream):
    client = client_of(router)
    source = put(client, line("a", "first"), line("b", "杭州西湖在哪里？"), "", line("丙", "third"))
    assert (source.purpose, source.filename, source.status) == ("batch", "in.jsonl", "processed")
    batch = client.batches.create(
        input_file_id=source.id,
        endpoint=URL,
        completion_window="24h",
        metadata={"for": "夜间"},
    )
    assert batch.status in ("validating", "in_progress")
    assert batch.expires_at - batch.created_at == 24 * 3600
    done = ended(client, batch)
    assert (done.request_counts.total, done.request_counts.completed) == (3, 3)
    assert done.request_counts.failed == 0
    assert done.metadata == {"for": "夜间"}
    assert done.error_file_id is None
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at
    rows = content(client, done.output_file_id)
    assert [row["custom_id"] for row in rows] == ["a", "b", "丙"]
    assert len({row["id"] for row in rows}) == 3
    answer = rows[0]["response"]
    assert (answer["status_code"], rows[0]["error"]) == (200, None)
    assert answer["body"]["choices"][0]["message"]["content"] == "ok"
    sent = {body["messages"][0]["content"] for body in upstream.bodies}
    assert sent == {"first", "杭州西湖在哪里？", "third"}
    made = client.files.retrieve(done.output_file_id)
    assert (made.purpose, made.filename) == ("batch_output", f"{batch.id}_output.jsonl")


def test_each_line_is_a_request_of_its_key_with_a_receipt_and_a_charge(router):
    client = client_of(router)
    done = ended(client, begin(client, line("a"), line("b")))
    ids = {row["response"]["request_id"] for row in content(client, done.output_file_id)}
    receipts = {receipt["id"]: receipt for receipt in router.receipts()}
    assert ids == set(receipts)
    for receipt in receipts.values():
        assert receipt["facts"]["service_class"] == "deferrable"
        assert receipt["facts"]["tenant"] == "acme"
    charged = rows_of(router, "SELECT request_id FROM ledger_entries")
    assert {row[0] for row in charged} == ids


def test_pages_of_files_and_batches_go_on_where_the_last_ended(router):
    client = client_of(router)
    batches = [begin(client, line("a")).id for _ in range(3)]
    page = client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == batches[:0:-1]
    assert page.has_more
    assert [batch.id for batch in client.batches.list(limit=2, after=batches[1]).data] == batches[
        :1
    ]
    assert {batch.id for batch in client.batches.list(limit=1)} == set(batches)  # page by page
    files = [file.id for file in client.files.list(purpose="batch", order="asc", limit=2)]
    assert len(files) == 3
    assert client.files.list(after=files[-1], purpose="batch", order="asc").data == []


def test_all_files_are_removed_while_they_are_listed(router):
    client = client_of(router)
    for _ in range(7):
        put(client, line("a"))
    for file in client.files.list(limit=3):
        client.files.delete(file.id)
    assert client.files.list().data == []


def test_a_file_is_read_back_as_it_came_and_deleted(router):
    client = client_of(router)
    file = put(client, line("a"), name="../我的 文件.jsonl")
    assert file.filename == "我的 文件.jsonl"
    assert client.files.content(file.id).content == jsonl(line("a"))
    stored = router.state / "files" / file.id
    assert stored.stat().st_mode & 0o777 == 0o600
    assert (router.state / "batches.db").stat().st_mode & 0o777 == 0o600
    assert client.files.delete(file.id).deleted
    assert not stored.exists()
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_prompts_and_answers_are_in_no_log(start_router, upstream):
    upstream.script = lambda body, send, gone: send(
        plain({"error": {"message": "Ozymandias"}}, 400)
    )
    router = start_router(fleets(upstream), policy())
    client = client_of(router)
    ended(client, begin(client, line("a", "Zarathustra")))
    put_wrong = begin(client, '{"custom_id": "Zarathustra"}')
    ended(client, put_wrong, "failed")
    assert "Zarathustra" not in router.log()
    assert "Ozymandias" not in router.log()


# -- what goes wrong -------------------------------------------------------------------------------


def test_every_mistake_of_a_file_is_told_with_its_line_and_nothing_is_sent(router, upstream):
    client = client_of(router)
    batch = begin(
        client,
        line("a"),
        "{no json",
        line("a"),
        "",
        line("b", stream=True),
        line("c").replace(URL, "/v1/embeddings"),
    )
    failed = ended(client, batch, "failed")
    told = [(one.line, one.code, one.param) for one in failed.errors.data]
    assert told == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (5, "stream_not_allowed", "body"),
        (6, "mismatched_endpoint", "url"),
    ]
    assert upstream.bodies == []
    assert failed.output_file_id is None


def test_a_line_that_is_at_fault_is_in_the_error_file_with_its_answer(router):
    client = client_of(router)
    lines = (line("good"), line("bad", temperature="hot"), line("none", model="nobody"))
    done = ended(client, begin(client, *lines))
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 2)
    assert [row["custom_id"] for row in content(client, done.output_file_id)] == ["good"]
    bad, none = content(client, done.error_file_id)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)
    assert bad["response"]["body"]["error"]["param"] == "temperature"
    assert none["response"]["status_code"] == 404


def test_a_fleet_that_is_overloaded_is_asked_again(start_router, upstream):
    refused = []

    def script(body, send, gone):
        if len(refused) < 2:
            refused.append(1)
            send(plain({"error": {"message": "full"}}, 429, "retry-after: 1\r\n"))
        else:
            send(plain())

    upstream.script = script
    router = start_router(fleets(upstream), policy(defaults=ONCE))
    client = client_of(router)
    done = ended(client, begin(client, line("a")))
    assert done.request_counts.completed == 1
    assert len(refused) == 2


def test_a_batch_is_cancelled_and_what_was_not_sent_says_so(start_router, upstream):
    open_, sent = threading.Event(), threading.Event()

    def script(body, send, gone):
        sent.set()
        open_.wait(60)
        send(plain())

    upstream.script = script
    router = start_router(fleets(upstream), policy(), "--batch-at-once", "1")
    client = client_of(router)
    batch = begin(client, line("a"), line("b"), line("c"))
    assert sent.wait(60)
    assert client.batches.cancel(batch.id).status == "cancelling"
    open_.set()
    done = ended(client, batch, "cancelled")
    assert [row["custom_id"] for row in content(client, done.output_file_id)] == ["a"]
    left = content(client, done.error_file_id)
    assert [row["custom_id"] for row in left] == ["b", "c"]
    assert {row["error"]["code"] for row in left} == {"batch_cancelled"}
    assert len(upstream.bodies) == 1
    with pytest.raises(openai.ConflictError) as told:
        client.batches.cancel(batch.id)
    assert told.value.code == "batch_over"


def test_past_its_deadline_a_batch_expires_with_the_last_reason_of_each_line(
    start_router, upstream
):
    upstream.script = lambda body, send, gone: send(plain({}, 503))
    router = start_router(fleets(upstream), policy(defaults=ONCE))
    client = client_of(router)
    batch = begin(client, line("a"), window="1h")
    wait_until(lambda: upstream.bodies)
    ends(router, batch.id, 1)  # nobody waits an hour
    done = ended(client, batch, "expired")
    assert done.expired_at
    (row,) = content(client, done.error_file_id)
    assert row["response"] is None
    assert row["error"]["code"] == "batch_expired"
    assert "503" in row["error"]["message"]


def test_a_revoked_key_ends_its_batches(start_router, upstream):
    go = threading.Event()

    def script(body, send, gone):
        go.wait(60)
        send(plain())

    upstream.script = script
    router = start_router(fleets(upstream), policy(), "--batch-at-once", "1")
    mine = another_key(router, tenant="acme")
    client = client_of(router, mine)
    batch = begin(client, line("a"), line("b"))
    wait_until(lambda: upstream.bodies)
    store = KeyStore(router.state, time.monotonic)
    store.revoke(mine.split("-")[2], "2026-01-02T00:00:00Z")
    store.close()
    mine = {"authorization": f"Bearer {mine}"}
    wait_until(lambda: httpx.get(f"{router.url}/v1/models", headers=mine).status_code == 401)
    other = client_of(router)
    for _ in range(2):  # whoever takes up a newer batch has looked at this one before
        newer = begin(other, line("x", "newer"))
        ended(other, newer, "in_progress")
    go.set()
    done = ended(client_of(router), batch, "failed")  # the tenant's other key sees it
    assert done.errors.data[0].code == "key_revoked"
    assert [row["custom_id"] for row in content(client_of(router), done.output_file_id)] == ["a"]
    (row,) = content(client_of(router), done.error_file_id)
    assert row["error"]["code"] == "key_revoked"
    assert [body["messages"][0]["content"] for body in upstream.bodies].count("hi") == 1


def test_a_line_has_its_keys_rights_and_no_more(start_router, upstream):
    both = catalogue(fleet("one", upstream.url), fleet("two", upstream.url, lane="accelerator"))
    router = start_router(both, policy(BOTH))
    key = another_key(router, tenant="acme", may=(), lanes=("cpu",))
    client = client_of(router, key)
    done = ended(client, begin(client, line("pin", model="m@two"), line("auto")))
    assert done.request_counts.completed == 1
    (row,) = content(client, done.error_file_id)
    assert (row["custom_id"], row["response"]["status_code"]) == ("pin", 403)


# -- who may ---------------------------------------------------------------------------------------


def test_another_tenant_sees_nothing_of_it(router):
    mine, other = client_of(router), client_of(router, another_key(router))
    source = put(mine, line("a"))
    batch = mine.batches.create(input_file_id=source.id, endpoint=URL, completion_window="24h")
    for ask in (
        lambda: other.files.retrieve(source.id),
        lambda: other.files.content(source.id),
        lambda: other.files.delete(source.id),
        lambda: other.batches.retrieve(batch.id),
        lambda: other.batches.cancel(batch.id),
        lambda: other.batches.create(
            input_file_id=source.id, endpoint=URL, completion_window="24h"
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    assert other.files.list().data == []
    assert other.batches.list().data == []
    ended(mine, batch)


def test_no_request_from_outside_can_pass_for_a_line_of_a_batch(router):
    headers = {"x-sluice-key": "sk-sluice-00000000-0", "x-amzn-request-context": "{}"}
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    for name in ("x-sluice-inside", "x-sluice-batch", "inside"):
        asked = httpx.post(f"{router.url}{URL}", json=body, headers=headers | {name: "acme"})
        assert asked.status_code == 401
    blanks = router.chat(headers={"idempotency-key": "batch_1 1 0"})
    assert blanks.status_code == 400  # a line's own can't be spelt


def test_files_and_batches_need_a_key(router):
    for path in ("/v1/files", "/v1/batches", "/v1/files/file-1", "/v1/batches/batch_1"):
        assert httpx.get(f"{router.url}{path}").status_code == 401


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"completion_window": "73h"}, "completion_window"),
        ({"completion_window": "1d"}, "completion_window"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
        ({"priority": 1}, "priority"),
    ],
)
def test_a_batch_that_is_wrong_is_refused_by_the_field(shared, body, param):
    file = put(client_of(shared), line("a"))
    good = {"input_file_id": file.id, "endpoint": URL, "completion_window": "24h"}
    told = shared.http.post("/v1/batches", json=good | body)
    assert told.status_code == 400, told.text
    assert told.json()["error"]["param"] == param


@pytest.fixture(scope="module")
def shared(start_shared_router):
    return start_shared_router(catalogue(fleet("one", "http://127.0.0.1:9/v1")), policy())


def test_forms_that_are_wrong_are_refused_and_leave_nothing(shared):
    def post(**more):
        return shared.http.post("/v1/files", **more)

    file = {"file": ("a.jsonl", b"{}\n")}
    for told, status, param in (
        (post(files=file, data={"purpose": "fine-tune"}), 400, "purpose"),
        (post(files=file), 400, "purpose"),
        (post(data={"purpose": "batch"}, files={"other": b"x"}), 400, "other"),
        (post(data={"purpose": "batch"}, files={"file": ("a", b"")}), 400, "file"),
        (post(json={"purpose": "batch"}), 400, "content-type"),
        (
            post(
                content=b"--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\nab",
                headers={"content-type": "multipart/form-data; boundary=x"},
            ),
            400,
            None,
        ),
        (post(files=file, headers={"idempotency-key": "k"}), 400, "idempotency-key"),
        (
            post(files=file, data={"purpose": "batch", "expires_after[seconds]": "3600"}),
            400,
            "expires_after",
        ),
    ):
        assert (told.status_code, told.json()["error"]["param"]) == (status, param), told.text
    left = shared.state / "files"
    assert not list(left.glob("*.part"))


def test_a_file_ends_when_its_sender_says(shared):
    client = client_of(shared)
    after = {"anchor": "created_at", "seconds": 3600}
    file = client.files.create(file=("a", jsonl(line("a"))), purpose="batch", expires_after=after)
    assert file.expires_at == file.created_at + 3600
    with pytest.raises(openai.BadRequestError) as told:
        client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")
    assert told.value.param == "input_file_id"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/files?limit=0", 400),
        ("GET", "/v1/files?order=up", 400),
        ("GET", "/v1/batches?order=asc", 400),
        ("GET", "/v1/batches?limit=101", 400),
        ("PUT", "/v1/files", 405),
        ("POST", "/v1/files/x", 405),
        ("DELETE", "/v1/batches/x", 405),
        ("GET", "/v1/files/x", 404),
        ("GET", "/v1/files/../keys", 404),
        ("GET", "/v1/batches/x/y", 404),
    ],
)
def test_other_ways_of_asking_are_refused(shared, method, path, status):
    assert shared.http.request(method, path).status_code == status


# -- room ------------------------------------------------------------------------------------------


def test_a_tenant_has_its_quota_and_no_more(start_router, upstream):
    router = start_router(fleets(upstream), policy(), "--batch-quota-mb", "1")
    client, other = client_of(router), client_of(router, another_key(router))
    big = line("a", "x" * 600_000)
    first = put(client, big)
    with pytest.raises(openai.APIStatusError) as told:
        put(client, big)
    assert (told.value.status_code, told.value.code) == (413, "storage_quota_exceeded")
    put(other, big)
    client.files.delete(first.id)
    put(client, big)


def test_a_file_that_is_too_large_is_refused(shared):
    def form(pieces):
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(pieces):
            yield b" " * 1_000_000
        yield b"\r\n--x--\r\n"

    head = {"content-type": "multipart/form-data; boundary=x"}
    for more in ({}, {"content-length": str(sum(map(len, form(101))))}):
        told = shared.http.post("/v1/files", content=form(101), headers=head | more)
        assert (told.status_code, told.json()["error"]["code"]) == (413, "file_too_large")
    assert not list((shared.state / "files").glob("*.part"))


def uploading(router, size=6_000_000):
    """Return a connection on which an upload was begun, and no more comes."""
    at = urlsplit(router.url)
    caller = socket.create_connection((at.hostname, at.port))
    head = (
        f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {router.key}\r\n"
        f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {size}\r\n\r\n"
    )
    caller.sendall(head.encode())
    return caller


def chat(router, key):
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(router.url + URL, headers=headers, json=body, timeout=20)


def test_uploads_that_stand_still_keep_no_request_out(router):
    with contextlib.ExitStack() as open_:
        callers = [open_.enter_context(uploading(router)) for _ in range(45)]
        for caller in callers[4:]:
            told = b""
            while b"}}" not in told:
                told += caller.recv(4000)
            assert b"HTTP/1.1 429" in told
            assert b"too_many_transfers" in told
            assert b"retry-after: 5" in told
        assert chat(router, another_key(router)).status_code == 200


def test_a_form_of_endless_fields_is_refused_as_it_comes(router):
    field = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    with uploading(router, 10**9 // 20) as caller:
        caller.sendall(field * 200)
        told = b""
        while b"}}" not in told:
            caller.sendall(field * 2000)
            caller.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                told += caller.recv(4000)
    assert b"HTTP/1.1 400" in told


def test_a_full_disk_is_told_and_leaves_nothing_half_written(start_router, upstream):
    router = start_router(fleets(upstream), policy())
    client = client_of(router)
    put(client, line("a"))
    most = (router.state / "batches.db-wal").stat().st_size + 300_000
    resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE, (most, most))
    with pytest.raises(openai.InternalServerError) as told:
        put(client, *(line(str(n), "x" * 1000) for n in range(3000)))
    assert (told.value.status_code, told.value.code) == (507, "disk_full")
    assert len(list((router.state / "files").iterdir())) == 1
    assert len(client.files.list().data) == 1
    assert router.chat().status_code == 200


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--batch-window", "22-6"), "is no window"),
        (("--batch-window", "22:00-06:00@Shanghai"), "Asia/Shanghai"),
        (("--batch-at-once", "0"), "--batch-at-once"),
        (("--ledger", "dynamodb:table", "--batch-at-once", "2"), "it would do nothing"),
        (("--ledger", "dynamodb:table", "--batch-keep-days", "2"), "it would do nothing"),
    ],
)
def test_a_setting_that_is_wrong_or_would_do_nothing_is_refused(tmp_path, arguments, told):
    ended = sluice("serve", "--state", tmp_path, "--port", "0", *arguments)
    assert ended.returncode == 3
    assert told in ended.stderr


def test_a_folder_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "files").write_text("")
    ended = sluice("serve", "--state", tmp_path, "--port", "0")
    assert ended.returncode == 1
    assert "the state folder" in ended.stderr
    assert "Traceback" not in ended.stderr


# -- real engines ----------------------------------------------------------------------------------


@pytest.mark.engine
def test_a_real_engine_answers_a_batch(start_router, tiny):
    one = fleet("one", tiny, more=", upstream_model: qwen3-tiny")
    client = client_of(start_router(catalogue(one), policy()))
    ticket = "Classify this ticket as billing or shipping: 我被重复扣款了"
    done = ended(client, begin(client, line("一", ticket), line("二", ticket, temperature=0)))
    assert done.request_counts.completed == 2
    for row in content(client, done.output_file_id):
        assert row["response"]["body"]["choices"][0]["message"]["content"]
        assert row["response"]["body"]["usage"]["completion_tokens"] > 0


def test_the_emulated_fleets_answer_a_batch(start_router, emulator):
    one = fleet("one", f"{emulator}/p5-scout/v1", more=", upstream_model: llama-4-scout")
    client = client_of(start_router(catalogue(one), policy()))
    done = ended(client, begin(client, *(line(str(n), f"question {n}") for n in range(20))))
    assert done.request_counts.completed == 20


# -- when ------------------------------------------------------------------------------------------


def test_a_batch_leaves_its_own_key_room(start_router, upstream):
    def slow(body, send, gone):
        time.sleep(0.3)
        send(plain())

    upstream.script = slow
    router = start_router(fleets(upstream), policy(), concurrent=4)
    client = client_of(router)
    batch = begin(client, *[line(f"c{n}") for n in range(300)])
    wait_until(lambda: client.batches.retrieve(batch.id).request_counts.completed > 1)
    assert [chat(router, router.key).status_code for _ in range(10)] == [200] * 10
    assert client.batches.retrieve(batch.id).request_counts.completed > 8


def test_a_spent_budget_is_asked_for_once_in_a_while(start_router, upstream):
    budget = "{id: t, match: {tenant: acme}, usd: 0.0000001, per: day, when_spent: reject}"
    router = start_router(fleets(upstream), policy() + f"budgets:\n  - {budget}\n")
    client = client_of(router)
    begin(client, *[line(f"c{n}") for n in range(300)])
    wait_until(lambda: len(router.receipts()) > 0)
    began_s = time.monotonic()
    time.sleep(3)
    receipts = len(router.receipts())
    assert receipts <= 2 + 2 * (time.monotonic() - began_s)


def test_outside_the_window_nothing_is_sent(start_router, upstream):
    now = time.gmtime(time.time() + 6 * 3600)
    window = f"{now.tm_hour:02}:00-{now.tm_hour:02}:59@UTC"
    router = start_router(fleets(upstream), policy(), "--batch-window", window)
    assert f"lines of batches wait for {window}" in router.process.first_line
    client = client_of(router)
    batch = begin(client, line("a"))
    wait_until(lambda: client.batches.retrieve(batch.id).status == "in_progress")
    time.sleep(2.5)
    assert upstream.bodies == []
    late = begin(client, line("b"), window="1h")  # its deadline comes before the window
    time.sleep(1.5)
    assert upstream.bodies == []  # but not yet: it is sent as the deadline nears
    ends(router, late.id, int(time.time()) + 200)
    ended(client, late)
    assert client.batches.retrieve(batch.id).status == "in_progress"


def ends(router, batch_id, at_s):
    """Give a batch another deadline."""
    db = sqlite3.connect(router.state / "batches.db", timeout=10)
    text = "CAST(json_set(CAST(row AS TEXT), '$.expires_s', ?) AS BLOB)"
    with db:
        db.execute(f"UPDATE batches SET row = {text} WHERE id = ?", (at_s, batch_id))
    db.close()

"""The faults of the emulated fleets over real sockets: by header, by fleet, and from the start."""

import contextlib
import json
import socket
import subprocess
import sys
import time

import httpx
import pytest
from support import BOTH, policy, process, wait_until

FLEETS = """
version: 1
models: [{id: llama-4-scout, context_tokens: 1000000}]
fleets:
"""
LINE = (
    "  - {{id: {}, model: llama-4-scout, lane: accelerator, engine: emulated, kind: emulated, "
    'url: "http://127.0.0.1:1/v1", instance: p5.48xlarge, region: us-east-1, '
    "replicas: {{concurrency_each: 8}}, profile: p5.48xlarge/llama-4-scout}}\n"
)
HEADER = "x-emulate-fault"
WITHIN_S = 30


@contextlib.contextmanager
def emulating(folder, *arguments):
    """Run the real emulator with the fleets `a` and `b`, twenty times faster; yield a client."""
    path = folder / "fleets.yaml"
    path.write_text(FLEETS + LINE.format("a") + LINE.format("b"))
    command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0", "--fleets", path]
    log = folder / "log"
    with process(*command, "--time-scale", "0.05", *arguments, log=log) as running:
        url = running.first_line.split()[-1]
        with httpx.Client(base_url=url, timeout=WITHIN_S) as client:
            yield client
    assert running.returncode == 0
    assert log.read_text() == ""  # no fault is a bug of the emulator, or printed as one


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with emulating(tmp_path_factory.mktemp("emulator")) as client:
        yield client


def body(**fields):
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    return {"messages": messages, "max_tokens": 8, "ignore_eos": True, **fields}


def chat(client, fault=None, fleet="a", **fields):
    headers = {HEADER: fault} if fault else {}
    return client.post(f"/{fleet}/v1/chat/completions", json=body(**fields), headers=headers)


def raw(client, fault, fleet="a", **fields):
    """Return the bytes of the answer up to its end, and what ended it."""
    content = json.dumps(body(**fields)).encode()
    asked = f"{HEADER}: {fault}\r\n" if fault else ""
    head = (
        f"POST /{fleet}/v1/chat/completions HTTP/1.1\r\nhost: a\r\n{asked}connection: close\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    got = b""
    with socket.create_connection((client.base_url.host, client.base_url.port), 30) as sock:
        sock.sendall(head.encode() + content)
        try:
            while piece := sock.recv(65536):
                got += piece
        except ConnectionResetError:
            return got, "reset"
    return got, "closed"


def events(content):
    return content.count(b'"delta":{"content":')


def contents(stream):
    """Return the text of a whole stream."""
    rows = [json.loads(e[6:]) for e in stream.split(b"\n\n") if e and b"[DONE]" not in e]
    return "".join(row["choices"][0]["delta"].get("content", "") for row in rows)


def said(response):
    return response.json()["error"]["message"]


def test_without_a_fault_nothing_changes(client):
    assert chat(client).json()["usage"]["completion_tokens"] == 8
    assert client.get("/a/faults").json() == {"fleet": "a", "phase": "up", "fault": None}


@pytest.mark.parametrize("stream", [True, False])
def test_a_delay_comes_before_the_answer(client, stream):
    began = time.monotonic()
    chat(client, "delay ms=700", stream=stream).raise_for_status()
    assert time.monotonic() - began >= 0.7


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_reset_comes_after_so_many_chunks(client, after):
    got, end = raw(client, f"reset after={after}", stream=True, max_tokens=400)
    assert end == "reset"
    assert bool(got) == bool(after)
    assert events(got) == after
    assert b"[DONE]" not in got


def test_a_reset_that_is_asked_for_after_the_end_comes_before_it(client):
    got, end = raw(client, "reset after=500", stream=True, max_tokens=200)
    assert end == "reset"
    assert 0 < events(got) <= 200
    assert b"[DONE]" not in got
    assert b'"finish_reason":"length"' not in got


@pytest.mark.parametrize("after", [0, 1])
def test_a_plain_answer_is_reset_before_it_or_in_the_middle(client, after):
    got, end = raw(client, f"reset after={after}")
    assert end == "reset"
    assert bool(got) == bool(after)
    assert not got.endswith(b"}")


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("stream", [True, False])
def test_a_hanging_answer_never_ends_until_its_client_goes(client, after, stream):
    headers = {HEADER: f"hang after={after}"}
    url = f"{client.base_url}/a/v1/chat/completions"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body(stream=stream, max_tokens=400), headers=headers, timeout=0.5)
    wait_until(lambda: '"} 0' in running(client))


def running(client):
    lines = client.get("/a/metrics").text.splitlines()
    return next(line for line in lines if line.startswith("vllm:num_requests_running"))


def test_a_status_is_given_with_when_to_come_again(client):
    response = chat(client, "status code=429 retry_after=17", stream=True)
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")
    assert response.headers["x-sluice-emulated"] == "a"
    assert said(response) == "asked for: status code=429 retry_after=17"
    plain = chat(client, "status code=500")
    assert (plain.status_code, "retry-after" in plain.headers) == (500, False)


def test_what_is_no_http_is_no_http(client):
    got, _ = raw(client, "garbage kind=http", stream=True)
    assert b"HTTP/1.1" not in got
    assert b"no HTTP" in got


@pytest.mark.parametrize("stream", [True, False])
def test_garbage_has_its_kinds(client, stream):
    page = chat(client, "garbage kind=html", stream=stream)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    cut = chat(client, "garbage kind=json", stream=stream)
    assert cut.headers["content-type"].startswith(
        "text/event-stream" if stream else "application/json"
    )
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.text.removeprefix("data: "))
    with pytest.raises(UnicodeDecodeError):
        chat(client, "garbage kind=utf8", stream=stream).content.decode()


def test_a_drip_comes_byte_by_byte_and_is_the_same_answer(client):
    fields = {"stream": True, "max_tokens": 2}
    with client.stream(
        "POST", "/a/v1/chat/completions", json=body(**fields), headers={HEADER: "drip ms=0.1"}
    ) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) > 50
    assert max(map(len, pieces)) < 20
    dripped = b"".join(pieces)
    assert dripped.endswith(b"data: [DONE]\n\n")
    assert contents(dripped) == contents(chat(client, **fields).content)


TOLD = {
    "missing": [],
    "doubled": [16],
    "twice": [8, 8],
    "negative": [-8],
    "huge": [10**18],
}


@pytest.mark.parametrize("kind", TOLD)
def test_usage_is_wrong_in_a_stream(client, kind):
    options = {"include_usage": True}
    response = chat(client, f"usage kind={kind}", stream=True, stream_options=options)
    rows = [json.loads(e[6:]) for e in response.text.split("\n\n") if e and "[DONE]" not in e]
    usages = [row["usage"]["completion_tokens"] for row in rows if row.get("usage")]
    assert usages == TOLD[kind]
    assert "[DONE]" in response.text


@pytest.mark.parametrize("kind", TOLD)
def test_usage_is_wrong_in_a_plain_answer(client, kind):
    pairs = json.loads(
        chat(client, f"usage kind={kind}").content, object_pairs_hook=lambda pairs: pairs
    )
    usages = [dict(value)["completion_tokens"] for key, value in pairs if key == "usage"]
    assert usages == TOLD[kind]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("rest after=3", "`x-emulate-fault`: unknown fault `rest` (did you mean `reset`?"),
        ("reset after=x", "`after` of `reset` can't be `x`"),
        ("cold", "`cold` is a fault of a fleet"),
    ],
)
def test_a_mistyped_header_is_refused(client, fault, words):
    response = chat(client, fault)
    assert response.status_code == 400
    assert words in said(response)


def test_two_headers_are_refused(client):
    headers = [(HEADER, "reset"), (HEADER, "hang")]
    response = client.post("/a/v1/chat/completions", json=body(), headers=headers)
    assert (response.status_code, "stands here twice" in said(response)) == (400, True)


def ask(client, fault, fleet="a", **whom):
    response = client.post(f"/{fleet}/faults", json={"fault": fault, **whom})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def faults(client):
    yield lambda fault, **whom: ask(client, fault, **whom)
    for fleet in "ab":
        assert client.delete(f"/{fleet}/faults").json()["fault"] is None


def test_a_whole_fleet_fails_and_the_other_does_not(client, faults):
    faults("status code=503 retry_after=2")
    assert [chat(client).status_code for _ in range(3)] == [503] * 3
    assert chat(client, fleet="b").status_code == 200
    client.delete("/a/faults")
    assert chat(client).status_code == 200


def test_a_share_is_drawn_the_same_by_the_same_seed(client, faults):
    def codes(seed):
        faults("status code=500", share=0.5, seed=seed)
        return [chat(client, max_tokens=1).status_code for _ in range(16)]

    first = codes(1)
    assert set(first) == {200, 500}
    assert codes(1) == first
    assert codes(2) != first


def test_a_count_ends_it_and_is_told(client, faults):
    faults("status code=500", count=2)
    assert [chat(client).status_code for _ in range(3)] == [500, 500, 200]
    told = client.get("/a/faults").json()
    assert (told["fault"], told["struck"], told["count"]) == ("status code=500", 2, 2)


def test_a_requests_own_fault_goes_before_that_of_its_fleet(client, faults):
    faults("status code=500", count=1)
    assert chat(client, "status code=429").status_code == 429
    assert chat(client).status_code == 500


def test_a_cold_start_is_503_everywhere_and_then_fine(client, faults):
    told = faults("cold seconds=1")
    assert (told["phase"], told["fault"]) == ("loading", "cold seconds=1")
    assert 0 < told["seconds_left"] <= 1
    response = chat(client)
    assert (response.status_code, said(response)) == (503, "`a` is loading its model")
    assert client.get("/a/health").status_code == 503
    assert client.get("/a/v1/models").status_code == 503
    wait_until(lambda: chat(client).status_code == 200)
    assert client.get("/a/faults").json()["phase"] == "up"


def test_an_interruption_finishes_what_runs_refuses_new_ones_goes_and_comes_back(client, faults):
    long = {"stream": True, "max_tokens": 100}
    with client.stream("POST", "/a/v1/chat/completions", json=body(**long)) as runs:
        pieces = runs.iter_raw()
        next(pieces)
        faults("interrupt notice=1.5 away=1")
        response = chat(client)
        assert (response.status_code, said(response)) == (503, "`a` is shutting down")
        assert client.get("/a/health").status_code == 503
        assert client.get("/a/metrics").status_code == 200
        assert b"[DONE]" in b"".join(pieces)
    wait_until(lambda: client.get("/a/faults").json()["phase"] == "away")
    assert raw(client, None) == (b"", "reset")
    with pytest.raises(httpx.NetworkError):
        client.get("/a/health")
    assert chat(client, fleet="b").status_code == 200
    wait_until(lambda: client.get("/a/faults").json()["phase"] == "up")
    assert chat(client).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_what_still_runs_when_the_notice_is_over_is_cut(client, faults, stream):
    faults("delay ms=0")
    fields = {"stream": stream, "max_tokens": 400_000}
    content = json.dumps(body(**fields)).encode()
    head = f"POST /a/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {len(content)}"
    with socket.create_connection((client.base_url.host, client.base_url.port), 30) as sock:
        sock.sendall(head.encode() + b"\r\n\r\n" + content)
        wait_until(lambda: '"} 1' in running(client))
        faults("interrupt notice=0.3 away=0.3")
        got = b"x"
        with contextlib.suppress(ConnectionResetError):
            while got:
                got = sock.recv(65536)
        assert got, "closed in good order"


@pytest.mark.parametrize("name", ["origin", "x-forwarded-for", "forwarded", "via", "x-real-ip"])
def test_faults_are_asked_for_on_this_machine_only(client, name):
    response = client.post("/a/faults", json={"fault": "reset"}, headers={name: "http://x"})
    assert response.status_code == 403
    assert client.get("/a/faults").json()["fault"] is None


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "words"),
    [
        ("POST", "/a/faults", b"{", 400, "not a JSON object with a `fault`"),
        ("POST", "/a/faults", b'{"fault": "rest"}', 400, "did you mean `reset`?"),
        ("POST", "/nope/faults", b'{"fault": "reset"}', 404, "no fleet `nope` here (known: a, b)"),
        ("PUT", "/a/faults", b"", 405, "`/faults` takes GET, POST, DELETE"),
    ],
)
def test_a_wrong_asking_is_told(client, method, path, content, status, words):
    response = client.request(method, path, content=content)
    assert response.status_code == status
    assert words in said(response)


def test_a_fault_from_the_start_and_a_stop_in_the_midst_of_it(tmp_path):
    began = ["--fault", "a hang after=1 share=1 seed=3", "--fault", "b status code=500"]
    with emulating(tmp_path, *began) as client:
        assert chat(client, fleet="b").status_code == 500
        assert client.get("/a/faults").json()["fault"] == "hang after=1"
        content = json.dumps(body(stream=True)).encode()
        head = f"POST /a/v1/chat/completions HTTP/1.1\r\ncontent-length: {len(content)}\r\n\r\n"
        sock = socket.create_connection((client.base_url.host, client.base_url.port), 30)
        sock.sendall(head.encode() + content)
        assert sock.recv(65536)
    with contextlib.suppress(ConnectionError):
        while sock.recv(65536):
            pass
    sock.close()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (["a rest"], "a fault for `a`: unknown fault `rest` (did you mean `reset`?"),
        (["a"], "a fault for `a`: unknown fault `` (known:"),
        (["c reset"], "a fault for `c`: no such emulated fleet (known: a, b)"),
        (["a reset", "a hang"], "two faults for `a`: one fleet has one at a time"),
    ],
)
def test_a_mistyped_fault_ends_the_start(tmp_path, faults, words):
    path = tmp_path / "fleets.yaml"
    path.write_text(FLEETS + LINE.format("a") + LINE.format("b"))
    command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0", "--fleets", path]
    for fault in faults:
        command += ["--fault", fault]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert ran.returncode == 3
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


# -- through a router ---------------------------------------------------------------------------

ROUTED = {
    "hang": "timed_out",
    "reset": "broken",
    "status code=429 retry_after=1": "overloaded",
    "status code=500": "server_failed",
    "garbage kind=http": "garbled",
    "garbage kind=json": "garbled",
    "garbage kind=html": "garbled",
    "garbage kind=utf8": "garbled",
    "cold": "overloaded",
    "interrupt": "overloaded",
    "interrupt notice=0": "broken",
}


@pytest.fixture(scope="module")
def routed(client, start_shared_router):
    def at(fleet, lane):
        return (
            LINE.format(fleet)
            .replace("http://127.0.0.1:1/v1", f"{client.base_url}/{fleet}/v1")
            .replace("lane: accelerator", f"lane: {lane}")
        )

    limits = ", limits: {deadline_ms: 60000, ttft_timeout_ms: 2500, inter_chunk_timeout_ms: 2500,"
    limits += " breaker: {failures: 1000, open_ms: 1}}"
    return start_shared_router(
        FLEETS + at("a", "cpu") + at("b", "accelerator"),
        policy(BOTH, baseline="llama-4-scout@b", defaults=limits),
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", ROUTED)
def test_a_router_goes_on_to_the_next_fleet_and_says_that_all_was_emulated(
    routed, faults, fault, stream
):
    wait_until(lambda: routed.http.get("/readyz").json()["fleets"]["a"] == "ready")
    faults(fault)
    response = routed.chat(stream=stream, max_tokens=4)
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "b")
    receipt = routed.receipt(response)
    first, second = receipt["attempts"]
    assert (first["fleet"], first["outcome"]) == ("a", ROUTED[fault])
    assert (second["fleet"], second["outcome"]) == ("b", "ok")
    assert all("emulated" in candidate["marks"] for candidate in receipt["candidates"])


def test_a_stream_that_is_reset_after_content_is_broken_and_says_so(routed, faults):
    wait_until(lambda: routed.http.get("/readyz").json()["fleets"]["a"] == "ready")
    faults("reset after=3")
    response = routed.chat(stream=True, max_tokens=200)
    assert response.headers["x-sluice-fleet"] == "a"
    assert events(response.content) == 3
    assert b'"code":"stream_broken"' in response.content


def test_the_callers_header_does_not_reach_the_fleet(routed):
    wait_until(lambda: routed.http.get("/readyz").json()["fleets"]["a"] == "ready")
    response = routed.chat(headers={HEADER: "reset"}, max_tokens=4)
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "a")

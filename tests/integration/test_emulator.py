"""The emulated fleets over real sockets: protocol, order, places, errors, start and stop."""

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import resources

import httpx
import openai
import pytest
import uvicorn

from backends import parse
from backends.engines.emulated_fleet import Unfit
from backends.engines.emulated_http import BODY_MAX_BYTES
from backends.engines.emulated_strike import Wire
from backends.engines.emulator import app
from backends.parse import Source

PROFILES = """
version: 1
profiles:
  - {id: quick, model: llama-4-scout, instance: p5.48xlarge, source: test, mark: assumed,
     tokens_in: 512, ttft_ms: 40, points: [{concurrency: 8, tok_s: 800, itl_ms: 10}]}
  - {id: no-prefill, model: llama-4-scout, instance: p5.48xlarge, source: test, mark: assumed,
     points: [{concurrency: 8, tok_s: 800, itl_ms: 10}]}
"""
NEVER_ENDS = {"ignore_eos": True, "max_tokens": 500_000}
EVENTUALLY_S = 30  # how long a thing may take that should take no time


def fleet_line(name, each, profile="quick", kind="emulated", url="http://127.0.0.1:1/v1"):
    parts = [f"id: {name}", "model: llama-4-scout", "lane: accelerator", "engine: emulated"]
    parts += [f"kind: {kind}", f"url: {url}", "instance: p5.48xlarge", "region: local"]
    parts += [f"replicas: {{concurrency_each: {each}}}"]
    return "  - {" + ", ".join([*parts, *([f"profile: {profile}"] if profile else [])]) + "}\n"


def fleets_text(*lines):
    return (
        "version: 1\nmodels: [{id: llama-4-scout, context_tokens: 1000000}]\nfleets:\n"
        + "".join(lines)
    )


def catalogue(*lines):
    data = resources.files("backends").joinpath("data")
    books = [
        Source(name, data.joinpath(name).read_text()) for name in ("quality.yaml", "prices.yaml")
    ]
    shelf = parse.library([Source("profiles.yaml", PROFILES)], *books)
    return parse.catalogue(Source("fleets.yaml", fleets_text(*lines)), shelf)


@contextlib.contextmanager
def serving(emulator):
    config = uvicorn.Config(
        emulator, http=Wire, lifespan="off", log_level="error", access_log=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.force_exit = server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url():
    """Two fleets: `wide` with eight places, `one` with a single one; five times faster."""
    lines = [fleet_line("wide", 8), fleet_line("one", 1), fleet_line("real", 4, kind="openai_http")]
    with serving(app(catalogue(*lines), time_scale=0.2)) as address:
        yield address


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, timeout=EVENTUALLY_S) as it:
        yield it


@pytest.fixture
def sdk(url):
    with openai.OpenAI(base_url=f"{url}/wide/v1", api_key="none", max_retries=0) as it:
        yield it


def body(text="Why is the sky blue?", **fields):
    return {"messages": [{"role": "user", "content": text}], **fields}


def chat(fleet="one"):
    return f"/{fleet}/v1/chat/completions"


def places(metrics):
    """Return (running, waiting) of one fleet's metrics."""
    found = dict(re.findall(r"vllm:num_requests_(\w+)\{.*\} (\d+)", metrics.text))
    return int(found["running"]), int(found["waiting"])


def load(client):
    return places(client.get("/one/metrics"))


def until(client, expected):
    """Wait until (running, waiting) of the fleet with one place are these."""
    ends = time.monotonic() + EVENTUALLY_S
    while (now := load(client)) != expected:
        assert time.monotonic() < ends, f"{now} never became {expected}"
        time.sleep(0.005)


def events(text):
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def test_a_stream_is_role_then_content_then_the_end_then_usage_then_done(client):
    asked = body(stream=True, max_tokens=9, stream_options={"include_usage": True})
    reply = client.post(chat("wide"), json=asked)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-sluice-emulated"] == "wide"
    *chunks, done = events(reply.text)
    first, *contents, end, usage = map(json.loads, chunks)
    assert done == "[DONE]"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in contents)
    assert {c["choices"][0]["finish_reason"] for c in (first, *contents)} == {None}
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "length")
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 9
    said = "".join(chunk["choices"][0]["delta"]["content"] for chunk in contents)
    assert said == "[emulated wide: no model ran] These words"
    everything = [first, *contents, end, usage]
    assert len({chunk["id"] for chunk in everything}) == 1
    assert {chunk["system_fingerprint"] for chunk in everything} == {"emulated"}


def test_a_stream_without_the_option_has_no_usage(client):
    *chunks, _ = events(client.post(chat("wide"), json=body(stream=True, max_tokens=3)).text)
    assert all("usage" not in json.loads(chunk) for chunk in chunks)
    assert all(json.loads(chunk)["choices"] for chunk in chunks)


def test_the_tokens_come_one_after_the_other(client):
    """A whole answer at once would be no emulation: its chunks come apart."""
    asked = body(stream=True, max_tokens=60, ignore_eos=True)
    with client.stream("POST", chat("wide"), json=asked) as reply:
        pieces = [piece for piece in reply.iter_raw() if b"content" in piece]
    assert len(pieces) > 3


def test_a_plain_answer_is_the_stream_in_one_piece(client):
    whole = client.post(chat("wide"), json=body()).json()
    *chunks, _ = events(client.post(chat("wide"), json=body(stream=True)).text)
    deltas = [json.loads(chunk)["choices"][0] for chunk in chunks]
    choice = whole["choices"][0]
    assert choice["message"]["content"] == "".join(d["delta"].get("content", "") for d in deltas)
    assert choice["finish_reason"] == deltas[-1]["finish_reason"] == "stop"
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert "prompt_tokens_details" not in usage
    assert whole["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("prompt", "start"),
    [
        ("请把这张工单归类。登录不了", "[模拟 wide——没有运行模型]"),
        ("請問什麼時候可以退款", "[模擬 wide——沒有執行模型]"),
    ],
)
def test_a_chinese_request_is_answered_in_its_script(client, prompt, start):
    whole = client.post(chat("wide"), json=body(prompt, max_tokens=20)).json()
    assert whole["choices"][0]["message"]["content"].startswith(start)


def test_every_choice_gets_its_answer_and_usage_counts_them_all(client):
    whole = client.post(chat("wide"), json=body(n=3, max_tokens=5)).json()
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert whole["usage"]["completion_tokens"] == 15
    *chunks, _ = events(client.post(chat("wide"), json=body(n=3, max_tokens=5, stream=True)).text)
    ends = [c for chunk in chunks for c in json.loads(chunk)["choices"] if c["finish_reason"]]
    assert [choice["index"] for choice in ends] == [0, 1, 2]


def test_json_mode_gives_a_json_object(client):
    asked = body(response_format={"type": "json_object"}, stream=True)
    *chunks, _ = events(client.post(chat("wide"), json=asked).text)
    deltas = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert json.loads("".join(deltas))["emulated"] is True


def test_the_sdk_chats_and_streams_with_usage(sdk):
    messages = [{"role": "user", "content": "你好。请介绍一下你自己"}]
    whole = sdk.chat.completions.create(model="llama-4-scout", messages=messages, max_tokens=12)
    assert whole.choices[0].message.content.startswith("[模拟 wide")
    assert whole.usage.completion_tokens == 12
    with sdk.chat.completions.create(
        model="llama-4-scout",
        messages=messages,
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_the_sdk_completes_text_and_lists_the_model(sdk):
    whole = sdk.completions.create(model="llama-4-scout", prompt="Once upon", max_tokens=7)
    assert whole.choices[0].text.startswith("[emulated wide: no model ran]")
    with sdk.completions.create(
        model="llama-4-scout", prompt="Once upon", max_tokens=7, stream=True
    ) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text
    (model,) = sdk.models.list().data
    assert (model.id, model.max_model_len) == ("llama-4-scout", 1_000_000)


def test_the_sdk_raises_its_own_errors(sdk):
    ask = sdk.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="known: llama-4-scout"):
        ask(model="gpt-4", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError, match="maximum context length is 1000000 tokens"):
        ask(model="llama-4-scout", messages=[{"role": "user", "content": "hi"}], max_tokens=10**6)


def test_a_longer_answer_takes_longer(client):
    """Six times the tokens; half of that leaves room for a busy machine."""

    def seconds(tokens):
        began = time.monotonic()
        client.post(chat("wide"), json=body(max_tokens=tokens, ignore_eos=True))
        return time.monotonic() - began

    assert min(seconds(300) for _ in range(2)) > 3 * min(seconds(50) for _ in range(3))


def test_a_smaller_time_scale_is_as_much_faster():
    """Ten times; a fifth of that leaves room for a busy machine."""

    def seconds(client):
        began = time.monotonic()
        client.post(chat(), json=body(max_tokens=200, ignore_eos=True)).raise_for_status()
        return time.monotonic() - began

    took = {}
    for time_scale in (0.5, 0.05):
        with (
            serving(app(catalogue(fleet_line("one", 1)), time_scale)) as address,
            httpx.Client(base_url=address, timeout=EVENTUALLY_S) as client,
        ):
            took[time_scale] = min(seconds(client) for _ in range(3))
    assert took[0.5] > 2 * took[0.05]


def test_requests_on_one_place_are_answered_in_the_order_they_came(url):
    """Each is shorter than the one before: side by side the last one would be first."""

    async def ask():
        order = []
        async with httpx.AsyncClient(base_url=url, timeout=EVENTUALLY_S) as client:

            async def one(tokens):
                await client.post(chat(), json=body(max_tokens=tokens, ignore_eos=True))
                order.append(tokens)

            tasks = []
            for tokens in (150, 70, 5):
                tasks.append(asyncio.create_task(one(tokens)))
                while places(await client.get("/one/metrics")) != (1, len(tasks) - 1):
                    pass
            await asyncio.gather(*tasks)
        return order

    assert asyncio.run(ask()) == [150, 70, 5]


@contextlib.contextmanager
def on_the_way(url, fields):
    """Send a request on its own connection and don't wait for the answer; closed at the end."""
    host, port = url.removeprefix("http://").split(":")
    raw = json.dumps(body(**fields)).encode()
    head = f"POST {chat()} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(raw)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=EVENTUALLY_S) as sock:
        sock.sendall(head.encode() + raw)
        yield sock


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_its_place_at_once(url, client, stream):
    with on_the_way(url, {**NEVER_ENDS, "stream": stream}):
        until(client, (1, 0))
        with on_the_way(url, {**NEVER_ENDS, "stream": stream}):
            until(client, (1, 1))
        until(client, (1, 0))  # the queued one left
    until(client, (0, 0))
    assert client.post(chat(), json=body(max_tokens=2)).status_code == 200
    aborted = re.search(r'finished_reason="abort"\} (\d+)', client.get("/one/metrics").text)
    assert int(aborted[1]) >= 2


def test_the_next_in_the_queue_takes_the_place_of_one_that_hung_up(url, client):
    with contextlib.ExitStack() as before:
        before.enter_context(on_the_way(url, NEVER_ENDS))
        until(client, (1, 0))
        with on_the_way(url, {"max_tokens": 3, "stream": True}) as waits:
            until(client, (1, 1))
            before.close()
            got = b""
            while b"[DONE]" not in got:
                piece = waits.recv(65536)
                assert piece, "closed before its end"
                got += piece
    until(client, (0, 0))


def test_a_full_queue_says_503_and_when_to_come_again(url, client):
    with contextlib.ExitStack() as stack:
        for held in range(5):
            stack.enter_context(on_the_way(url, {**NEVER_ENDS, "stream": True}))
            until(client, (1, held))
        refused = client.post(chat(), json=body(stream=True))
        assert refused.status_code == 503
        # 500,000 tokens at 10 ms, five times faster; those before have not run for long
        assert 500 < int(refused.headers["retry-after"]) <= 1001
        assert refused.json()["error"]["type"] == "ServiceUnavailableError"
        assert load(client) == (1, 4)
        assert client.post(chat("wide"), json=body(max_tokens=1)).status_code == 200
    until(client, (0, 0))


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nope/v1/models", 404, "no fleet `nope` here (known: wide, one)"),
        ("GET", "/real/v1/models", 404, "known: wide, one"),
        ("GET", "/v1/models", 404, "known: wide, one"),
        ("GET", "/metrics", 404, "known: wide, one"),
        ("GET", "/wide/v1/nothing", 404, "/<fleet>/v1/chat/completions"),
        ("GET", "/", 404, "no such path"),
        ("GET", "/wide/v1/chat/completions", 405, "takes POST"),
        ("POST", "/wide/v1/models", 405, "takes GET"),
        ("DELETE", "/health", 405, "takes GET"),
    ],
)
def test_a_wrong_path_or_method_is_told_the_right_ones(client, method, path, status, words):
    reply = client.request(method, path)
    assert reply.status_code == status
    assert words in reply.json()["error"]["message"]
    assert reply.json()["error"]["code"] == status
    assert ("allow" in reply.headers) == (status == 405)


def test_bad_json_is_refused_and_the_connection_lives_on(client):
    reply = client.post(chat("wide"), content=b'{"messages": [')
    assert reply.status_code == 400
    assert "not JSON" in reply.json()["error"]["message"]
    assert client.get("/wide/health").status_code == 200


def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_read(client):
    over = client.post(chat("wide"), content=b" " * (BODY_MAX_BYTES + 1))
    assert over.status_code == 413
    at = client.post(chat("wide"), content=b" " * BODY_MAX_BYTES)
    assert (at.status_code, "not JSON" in at.text) == (400, True)


def test_health_names_the_fleets_and_each_fleet_has_its_own(client):
    assert client.get("/health").json() == {"emulated": ["wide", "one"]}
    assert client.get("/one/health").status_code == 200


def test_metrics_count_tokens_and_ends_under_the_names_of_vllm(client):
    def counters():
        text = client.get("/wide/metrics").text
        return {
            key: int(value) for key, value in re.findall(r"^(vllm:\S+) (\d+)$", text, re.MULTILINE)
        }

    before = counters()
    usage = client.post(chat("wide"), json=body(n=2, max_tokens=5)).json()["usage"]
    label = 'model_name="llama-4-scout",engine="0"'
    changed = {
        key: value - before[key] for key, value in counters().items() if value != before[key]
    }
    assert changed == {
        f"vllm:prompt_tokens_total{{{label}}}": usage["prompt_tokens"],
        f"vllm:generation_tokens_total{{{label}}}": 10,
        f'vllm:request_success_total{{{label},finished_reason="length"}}': 1,
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (fleet_line("odd", 4, profile=None), "fleet odd: an emulated fleet needs a `profile`"),
        (fleet_line("odd", 4, profile="no-prefill"), "fleet odd: its profile `no-prefill` says"),
        (fleet_line("odd", 4, kind="openai_http"), "no fleet of `kind: emulated`"),
    ],
)
def test_a_fleet_that_cannot_be_emulated_is_told_at_the_start(line, words):
    with pytest.raises(Unfit, match=re.escape(words)):
        app(catalogue(line))


def start(*arguments):
    command = [sys.executable, "-m", "backends.engines.emulator", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_where_it_listens_and_stops_in_the_midst_of_a_stream(number):
    with start("--port", 0, "--time-scale", 0.5) as program:
        try:
            hello = program.stdout.readline()
            address = hello.strip().split()[-1]
            assert hello.startswith("emulating p5-scout, p4d-scout,")
            asked = body("wolpertinger", stream=True, **NEVER_ENDS)
            path = f"{address}/p5-maverick/v1/chat/completions"
            asked["max_tokens"] = 400_000
            got = b""
            with httpx.stream("POST", path, json=asked, timeout=EVENTUALLY_S) as reply:
                for piece in reply.iter_raw():
                    if not got:
                        program.send_signal(number)
                    got += piece
            assert b"the emulator is stopping" in events(got.decode())[-1].encode()
            assert b"[DONE]" not in got
            assert program.wait(EVENTUALLY_S) == 0
            assert program.stdout.read() == ""
        finally:
            program.kill()


def test_a_port_in_use_is_one_clear_line_and_exit_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--port", port) as program:
            said, _ = program.communicate(timeout=EVENTUALLY_S)
    assert said == f"can't listen on 127.0.0.1:{port}: the port is in use\n"
    assert program.returncode == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "fleets.yaml: No such file or directory"),
        ("fleets: [", "fleets.yaml:2: not YAML"),
        (fleets_text(fleet_line("odd", 4, profile=None)), "fleet odd: an emulated fleet needs"),
    ],
)
def test_a_catalogue_that_cannot_be_served_is_exit_3(tmp_path, text, words):
    path = tmp_path / "fleets.yaml"
    if text is not None:
        path.write_text(text)
    with start("--port", 0, "--fleets", path) as program:
        said, _ = program.communicate(timeout=EVENTUALLY_S)
    assert words in said
    assert "Traceback" not in said
    assert program.returncode == 3


def test_profiles_of_the_state_folder_are_known(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yaml").write_text(PROFILES)
    (tmp_path / "fleets.yaml").write_text(fleets_text(fleet_line("mine", 4)))
    with start("--port", 0, "--fleets", tmp_path / "fleets.yaml", "--state", tmp_path) as program:
        try:
            assert program.stdout.readline().startswith("emulating mine on http://127.0.0.1:")
        finally:
            program.kill()


@pytest.mark.parametrize("scale", ["0", "nan", "inf", "fast"])
def test_a_time_scale_that_is_no_factor_is_refused(scale):
    with start("--port", 0, "--time-scale", scale) as program:
        said = program.stdout.read()
        assert program.wait(EVENTUALLY_S) == 2
    assert "--time-scale" in said
    assert "Traceback" not in said

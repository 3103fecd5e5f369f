"""SageMaker's container contract, as AWS documents it, on the real adapter before the real engine.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html: port 8080, GET
/ping 200 within 2 seconds once ready, POST /invocations, SIGTERM and SIGKILL 30 seconds later.
The OpenAI path: .../dg/realtime-endpoints-openai-compatible.html.
"""

import contextlib
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from support import START_S, freeze, thaw, wait_until

from backends.engines import tiny_model

pytestmark = pytest.mark.engine

LONG = {"max_tokens": 4000, "ignore_eos": True, "stream": True}
TICKET = "I was charged twice for my laptop"


class Container:
    """A running adapter: what SageMaker sees of a container."""

    def __init__(self, process, port, log):
        self.process, self.log = process, log
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.port = port

    def ping(self):
        return self.http.get("/ping").status_code

    def invoke(self, text=TICKET, path="/invocations", **body):
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, **body}
        return self.http.post(path, json=body)

    def streamed(self, text=TICKET, **body):
        messages = [{"role": "user", "content": text}]
        body = {"messages": messages, "temperature": 0, "stream": True, **body}
        return self.http.stream("POST", "/invocations", json=body)

    def busy_slots(self):
        return sum(slot["is_processing"] for slot in self.http.get("/slots").json())

    def engine(self):
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = path.read_text().split()
        return int(pid)

    def said(self):
        return self.log.read_text("utf-8")

    def ends(self, within_s=START_S):
        return self.process.wait(within_s)


@pytest.fixture
def start(engine, tmp_path):
    """Start a container with this environment; `ready` False: don't wait for the model."""
    with contextlib.ExitStack() as running:
        yield starter(engine, tmp_path, running)


@pytest.fixture(scope="module")
def container(engine, tmp_path_factory):
    """One for all tests that leave it as it was."""
    with contextlib.ExitStack() as running:
        start = starter(engine, tmp_path_factory.mktemp("container"), running)
        yield start(OLLAMA_MODEL_ID="qwen3:0.6b")


def starter(engine, folder, running):
    def start_one(*, ready=True, **environment):
        log = folder / f"log-{time.monotonic_ns()}"
        ours = {
            "SLUICE_ENGINE_PROGRAM": str(engine),
            "SLUICE_MODEL_DIR": str(tiny_model().parent),
            "SLUICE_HOST": "127.0.0.1",
            "SLUICE_THREADS": "1",
            "SLUICE_CONTEXT_TOKENS": "4096",
            "SAGEMAKER_BIND_TO_PORT": "0",
            "OLLAMA_NUM_PARALLEL": "2",
        }
        ours = {k: v for k, v in {**ours, **environment}.items() if v is not None}
        with log.open("wb") as out:
            process = subprocess.Popen(
                # `serve`: SageMaker runs `docker run IMAGE serve`
                [sys.executable, "-m", "backends.engines.container", "serve"],
                env={**os.environ, **ours},
                stdout=out,
                stderr=out,
                process_group=0,
            )
        running.callback(stop, process)
        wait_until(lambda: "listens on port" in log.read_text() or process.poll() is not None)
        assert "listens on port" in log.read_text(), log.read_text()
        port = int(log.read_text().split("listens on port ")[1].split()[0])
        started = Container(process, port, log)
        running.callback(started.http.close)
        wait_until(lambda: answers(port) or process.poll() is not None)
        if ready:
            wait_until(lambda: started.ping() == 200)
        return started

    return start_one


def stop(process):
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def refuses_connections(port):
    return not answers(port)


def events(response):
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(came):
    chunks = [each for each in came if each != "[DONE]" and each.get("choices")]
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks)


# -- answers ---------------------------------------------------------------------------------------


def test_a_plain_completion_comes_back_as_the_engine_made_it(container):
    answer = container.invoke()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["choices"][0]["message"]["content"] == "billing"
    assert answer.json()["model"] == "qwen3:0.6b"
    assert answer.json()["usage"]["completion_tokens"] > 0


def test_a_stream_comes_as_events_and_ends_with_done(container):
    with container.streamed(stream_options={"include_usage": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        came = events(response)
    assert text_of(came) == "billing"
    assert came[-2]["usage"]["prompt_tokens"] > 0
    assert came[-1] == "[DONE]"


def test_events_come_while_the_engine_still_generates(container):
    with container.streamed(**LONG) as response:
        begun = response.iter_bytes()
        assert next(begun)
        assert container.busy_slots() == 1


def test_chinese_passes_through_both_ways(container):
    assert container.invoke("我的包裹在哪里？").json()["choices"][0]["message"]["content"] == "物流"
    with container.streamed("我的包裹在哪里？") as response:
        assert text_of(events(response)) == "物流"


def test_the_openai_path_answers_as_invocations_does(container):
    # SageMaker's OpenAI path hands on an empty model, or none
    for model in ({}, {"model": ""}):
        answer = container.invoke(path="/v1/chat/completions", **model)
        assert answer.json()["choices"][0]["message"]["content"] == "billing"


def test_probes_read_the_engine(container):
    assert container.http.get("/v1/models").json()["data"]
    assert "llamacpp:requests_processing" in container.http.get("/metrics").text
    assert len(container.http.get("/slots").json()) == 2


def test_no_prompt_reaches_the_log(container):
    container.invoke("the word is Rumpelstilzchen, 芝麻开门")
    with container.streamed("Rumpelstilzchen, 芝麻开门") as response:
        response.read()
    container.http.post("/invocations", content=b'{"messages": Rumpelstilzchen')
    assert "the model is loaded" in container.said()
    assert "Rumpelstilzchen" not in container.said()
    assert "芝麻开门" not in container.said()


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"no", b"[1]", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000],
    ids=["empty", "text", "array", "nan", "no utf-8", "half a character", "deep"],
)
def test_what_is_no_json_object_is_the_callers_fault_and_is_not_repeated(container, body):
    answer = container.http.post("/invocations", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_body"
    assert answer.json()["error"]["message"].startswith("the body is no")


def test_where_a_body_stops_being_json_is_told(container):
    answer = container.http.post("/invocations", content=b'{"messages": [],\n "a": nope}')
    said = answer.json()["error"]["message"]
    assert said == "the body is not JSON in UTF-8 (line 2, column 7)"
    assert (
        '`{"messages": [...]}`'
        in (container.http.post("/invocations", content=b"[]").json()["error"]["message"])
    )


def test_the_engines_own_refusals_are_handed_back(start):
    container = start(SLUICE_CONTEXT_TOKENS="512")
    for stream in (False, True):
        answer = container.invoke("word " * 2000, stream=stream)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "exceed_context_size_error"
        assert error["n_prompt_tokens"] > error["n_ctx"] == 512


def test_a_body_over_the_limit_is_refused_and_one_at_it_is_not(start):
    container = start(SLUICE_BODY_LIMIT_BYTES="2000")
    room = len(json.dumps({"messages": [], "pad": ""}))
    fits = json.dumps({"messages": [], "pad": "x" * (2000 - room)})
    assert container.http.post("/invocations", content=fits).status_code != 413
    answer = container.http.post("/invocations", content=fits + " ")
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "the body is larger than 2,000 bytes"
    parts = (b"x" * 500 for _ in range(5))  # chunked: no length is told beforehand
    assert container.http.post("/invocations", content=parts).status_code == 413


def test_the_limit_is_6_megabytes_where_nothing_is_said(container):
    assert container.http.post("/invocations", content=b" " * 6_000_000).status_code == 400
    assert container.http.post("/invocations", content=b" " * 6_000_001).status_code == 413


def test_unknown_paths_and_methods_are_told_what_is_valid(container):
    unknown = container.http.post("/v1/completions", json={})
    assert unknown.status_code == 404
    assert "/invocations" in unknown.json()["error"]["message"]
    for method, path, allowed in (("GET", "/invocations", "POST"), ("POST", "/ping", "GET")):
        wrong = container.http.request(method, path)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, allowed)


def test_more_requests_than_slots_and_queue_hold_are_sent_away(start):
    container = start(OLLAMA_NUM_PARALLEL="1", SLUICE_QUEUE="0")
    with container.streamed(**LONG) as response:
        begun = response.iter_bytes()
        next(begun)
        answer = container.invoke()
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert container.ping() == 200  # it is full, not ill
    wait_until(lambda: container.invoke().status_code == 200)


def test_a_full_engine_is_still_well(start):
    container = start(OLLAMA_NUM_PARALLEL="1", SLUICE_QUEUE="8")
    with contextlib.ExitStack() as callers:
        for _ in range(8):
            callers.enter_context(asked(container, **LONG))
        wait_until(lambda: waiting(container) > 0)
        assert container.ping() == 200


def waiting(container):
    lines = container.http.get("/metrics").text.splitlines()
    deferred = [each for each in lines if each.startswith("llamacpp:requests_deferred ")]
    return float(deferred[0].split()[1]) if deferred else 0


def asked(container, **body):
    """A connection over which the question went, and that reads no answer."""
    raw = json.dumps({"messages": [{"role": "user", "content": "hi"}], **body}).encode()
    caller = socket.create_connection(("127.0.0.1", container.port))
    head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
    caller.sendall(head.encode() + raw)
    return caller


# -- hang-ups --------------------------------------------------------------------------------------


def test_a_caller_that_hangs_up_ends_the_generation_of_its_stream(container):
    with container.streamed(**LONG) as response:
        begun = response.iter_bytes()
        next(begun)
        assert container.busy_slots() == 1
    wait_until(lambda: container.busy_slots() == 0)


def test_a_caller_that_hangs_up_ends_the_generation_of_its_plain_answer(container):
    with asked(container, **{**LONG, "stream": False}):
        wait_until(lambda: container.busy_slots() == 1)
    # llama-server looks for hang-ups of plain requests after a second in which it made no result at
    # all, for anybody: asked for its slots more often, it would never look.
    wait_until(lambda: time.sleep(1.5) or container.busy_slots() == 0)


# -- ping, before and after ------------------------------------------------------------------------


class _Bucket(http.server.BaseHTTPRequestHandler):
    """Gives the model once it may; or a status."""

    def do_GET(self):
        model = tiny_model().read_bytes()
        self.server.asked.append(self.path)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(model)))
        self.end_headers()
        self.wfile.write(model[:1000])
        self.server.may_go_on.wait(START_S)
        with contextlib.suppress(OSError):
            self.wfile.write(model[1000:])

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    server.may_go_on, server.asked, server.status = threading.Event(), [], 200
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (tmp_path / "tmp").mkdir()
    server.environment = {
        "SLUICE_MODEL_URL": f"http://127.0.0.1:{server.server_port}/models/m.gguf?X-Amz-Signature=SECRET",
        "SLUICE_MODEL_SHA256": hashlib.sha256(tiny_model().read_bytes()).hexdigest(),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    yield server
    server.may_go_on.set()
    server.shutdown()
    server.server_close()


def test_ping_is_503_until_the_model_is_there_and_200_after(start, bucket):
    container = start(ready=False, **bucket.environment)
    wait_until(lambda: bucket.asked)
    assert container.ping() == 503
    refused = container.invoke()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"]["message"] == "this replica has not loaded its model"
    bucket.may_go_on.set()
    wait_until(lambda: container.ping() == 200)
    assert container.invoke().json()["choices"][0]["message"]["content"] == "billing"
    assert bucket.asked == ["/models/m.gguf?X-Amz-Signature=SECRET"]
    assert "SECRET" not in container.said()


def test_sigterm_while_the_model_is_fetched_ends_it_at_once(start, bucket):
    container = start(ready=False, **bucket.environment)
    wait_until(lambda: bucket.asked)
    container.process.terminate()
    assert container.ends() == 0


def test_ping_is_503_within_its_2_seconds_while_the_engine_hangs(start):
    container = start()
    pid = container.engine()
    freeze(pid)
    try:

        def took_s():
            began = time.monotonic()
            assert container.ping() == 503
            return time.monotonic() - began

        # SageMaker's own limit; what a busy machine adds it doesn't add each time.
        wait_until(lambda: took_s() < 2)
    finally:
        thaw(pid)
    wait_until(lambda: container.ping() == 200)


# -- the end ---------------------------------------------------------------------------------------


def test_sigterm_lets_a_running_stream_end_whole_and_refuses_new_requests(start):
    container = start()
    with container.streamed(**{**LONG, "max_tokens": 600}) as response:
        lines = response.iter_lines()
        next(lines)
        container.process.terminate()
        wait_until(lambda: refuses_connections(container.port))
        assert container.process.poll() is None  # it still streams
        came = [line for line in lines if line]
    assert came[-1] == "data: [DONE]"
    assert any('"finish_reason":"length"' in line for line in came)
    assert container.ends() == 0


def test_after_the_drain_a_stream_is_broken_off_with_an_error(start):
    container = start(SLUICE_DRAIN_S="0", SLUICE_CONTEXT_TOKENS="4096")
    with container.streamed(**LONG) as response:
        lines = response.iter_lines()
        next(lines)
        container.process.terminate()
        came = [line for line in lines if line]
    broken = json.loads(came[-1].removeprefix("data: "))["error"]
    assert (broken["code"], broken["type"]) == ("stream_broken", "upstream_error")
    assert broken["message"] == "this replica ends"  # the engine did nothing wrong
    assert "data: [DONE]" not in came
    assert container.ends() == 0
    assert "ends; answers that may run on for 0 s: 1\n" in container.said()
    assert "answers that are broken off: 1\n" in container.said()


def ended(*arguments, **environment):
    """Run a container that can't even listen; return its exit code and what it said."""
    ran = subprocess.run(
        [sys.executable, "-m", "backends.engines.container", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ran.returncode, ran.stderr


def test_a_port_in_use_and_an_address_that_is_none_end_it_as_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = ended(SLUICE_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT=port)
    assert code == 1
    assert f"can't listen on 127.0.0.1, port {port}: Address already in use" in said
    assert "SAGEMAKER_BIND_TO_PORT" in said
    code, said = ended(SLUICE_HOST="no-such-host.invalid", SAGEMAKER_BIND_TO_PORT="0")
    assert (code, "can't listen on no-such-host.invalid" in said) == (1, True)


@pytest.mark.parametrize("argument", ["train", "--port=80"])
def test_an_argument_that_would_do_nothing_is_refused(argument):
    code, said = ended(argument)
    assert (code, "the only argument is `serve`" in said) == (3, True)


def test_the_engine_ends_with_its_container(start):
    container = start()
    pid = container.engine()
    container.process.terminate()
    assert container.ends() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_an_engine_that_is_killed_ends_the_container(start):
    container = start()
    with container.streamed(**LONG) as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(container.engine(), signal.SIGKILL)
        came = [line for line in lines if line]
    assert json.loads(came[-1].removeprefix("data: "))["error"]["code"] == "stream_broken"
    assert "data: [DONE]" not in came
    with contextlib.suppress(httpx.HTTPError):  # it may be gone by now
        assert container.ping() == 503
    assert container.ends() == 1
    assert "the engine was killed by signal 9" in container.said()


def test_a_plain_answer_of_a_killed_engine_is_an_error(start):
    container = start()
    body = {"messages": [{"role": "user", "content": "hi"}], **LONG, "stream": False}
    answers_ = []
    thread = threading.Thread(
        target=lambda: answers_.append(
            httpx.post(f"{container.http.base_url}/invocations", json=body, timeout=60)
        )
    )
    thread.start()
    wait_until(lambda: container.busy_slots() == 1)
    os.kill(container.engine(), signal.SIGKILL)
    thread.join(START_S)
    assert answers_[0].status_code == 502
    assert answers_[0].json()["error"]["code"] == "engine_failed"
    assert container.ends() == 1


# -- starts that fail ------------------------------------------------------------------------------


def failed(start, **environment):
    container = start(ready=False, **environment)
    assert container.ends() == 1
    return container.said()


def test_a_model_with_another_sha256_is_not_served(start, bucket):
    bucket.may_go_on.set()
    said = failed(start, **{**bucket.environment, "SLUICE_MODEL_SHA256": "0" * 64})
    assert "has the sha256" in said
    assert "SECRET" not in said


def test_a_model_that_cant_be_fetched_says_so_without_its_url(start, bucket, closed_port):
    bucket.status = 403
    said = failed(start, **bucket.environment)
    assert "SLUICE_MODEL_URL answers with status 403" in said
    assert "SECRET" not in said
    gone = {"SLUICE_MODEL_URL": f"http://127.0.0.1:{closed_port}/m?SECRET"}
    said = failed(start, **{**bucket.environment, **gone})
    assert "can't be fetched: unreachable: connection refused" in said
    assert "SECRET" not in said


def test_a_folder_without_a_model_or_with_two_says_what_to_do(start, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    assert "has no .gguf file" in failed(start, SLUICE_MODEL_DIR=str(folder))
    for name in ("a.gguf", "b.gguf"):
        (folder / name).write_bytes(tiny_model().read_bytes())
    said = failed(start, SLUICE_MODEL_DIR=str(folder))
    assert "SLUICE_MODEL_FILE says which (a.gguf, b.gguf)" in said
    chosen = start(SLUICE_MODEL_DIR=str(folder), SLUICE_MODEL_FILE="b.gguf")
    assert chosen.invoke().json()["model"] == "b"
    said = failed(start, SLUICE_MODEL_DIR=str(folder), SLUICE_MODEL_FILE="c.gguf")
    assert "there is no such file" in said


def test_a_model_in_several_files_is_known_by_its_first(start, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"m-{number:05}-of-00002.gguf").write_bytes(b"not a model")
    said = failed(start, SLUICE_MODEL_DIR=str(folder))
    assert "m-00001-of-00002.gguf" in said


def test_an_engine_that_can_not_start_says_so(start, tmp_path):
    assert "can't be started" in failed(start, SLUICE_ENGINE_PROGRAM=str(tmp_path / "gone"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(b"not a model")
    assert "the engine ended with status 1" in failed(start, SLUICE_MODEL_DIR=str(folder))


def test_a_model_that_takes_too_long_to_load_ends_the_container(start, tmp_path):
    slow = tmp_path / "engine"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    said = failed(start, SLUICE_ENGINE_PROGRAM=str(slow), SLUICE_LOAD_WITHIN_S="1")
    assert "the model is not loaded after 1 s" in said


# -- Ollama ----------------------------------------------------------------------------------------
# No real Ollama can be had from a package index: this one speaks what its API documentation says.

OLLAMA = f"""#!{sys.executable}
import http.server, json, os, sys
assert sys.argv[1:] == ["serve"]
host, port = os.environ["OLLAMA_HOST"].split(":")
log, has = os.environ["ASKED"], set(os.environ.get("HAS", "").split())
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.reply(200, {{"version": "test"}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(log, "a") as file: print(self.path, json.dumps(body), file=file)
        if self.path == "/api/pull":
            if os.environ.get("OFFLINE"): return self.reply(500, {{"error": "no such host"}})
            has.add(body["model"])
        if body["model"] not in has: return self.reply(404, {{"error": "not found"}})
        self.reply(200, {{"parallel": os.environ["OLLAMA_NUM_PARALLEL"], "model": body["model"]}})
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture
def ollama(tmp_path):
    program = tmp_path / "ollama"
    program.write_text(OLLAMA)
    program.chmod(0o755)
    asked = tmp_path / "asked"
    return {
        "SLUICE_ENGINE": "ollama",
        "SLUICE_ENGINE_PROGRAM": str(program),
        "SLUICE_THREADS": None,
        "OLLAMA_MODEL_ID": "qwen3:0.6b",
        "OLLAMA_NUM_PARALLEL": "3",
        "ASKED": str(asked),
    }


def paths(ollama):
    return [line.split()[0] for line in Path(ollama["ASKED"]).read_text().splitlines()]


def test_ollama_pulls_the_model_loads_it_and_is_told_its_name(start, ollama):
    container = start(**ollama)
    assert paths(ollama) == ["/api/show", "/api/pull", "/api/generate"]
    answer = container.invoke(model="my-endpoint").json()
    assert answer == {"parallel": "3", "model": "qwen3:0.6b"}
    assert paths(ollama)[-1] == "/v1/chat/completions"


def test_ollama_pulls_nothing_that_is_there(start, ollama):
    start(**ollama, HAS="qwen3:0.6b")
    assert paths(ollama) == ["/api/show", "/api/generate"]


def test_ollama_that_can_not_pull_ends_the_container(start, ollama):
    said = failed(start, **ollama, OFFLINE="1")
    assert "the engine can't pull the model: it answers with status 500" in said

"""The real llama-server with the model we ship: what it answers, what it sends, how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict

import httpx
import pytest
from support import free_port, wait_until

from backends.engines import EngineNotStarted, llama_cpp, tiny_model

pytestmark = pytest.mark.engine

LABELLED = [
    json.loads(line)
    for line in tiny_model().with_name("labelled.jsonl").read_text("utf-8").splitlines()
]
RIGHT_AT_LEAST = 0.85  # see the model card
THINKING_OFF = {"chat_template_kwargs": {"enable_thinking": False}}
TICKET = "Classify this ticket as billing, technical or shipping: I was charged twice for my order"


@pytest.fixture(scope="module")
def client(tiny):
    with httpx.Client(base_url=tiny.removesuffix("/v1"), timeout=30) as client:
        yield client


def ask(client, messages, **settings):
    body = {"model": "qwen3-tiny", "messages": messages, "max_tokens": 32, **settings}
    return client.post("/v1/chat/completions", json=body).raise_for_status().json()


def said(client, content, **settings):
    reply = ask(client, [{"role": "user", "content": content}], temperature=0, **settings)
    return reply["choices"][0]["message"]["content"]


def right_by_language(client, **settings):
    right = defaultdict(list)
    for prompt in LABELLED:
        answer = ask(client, prompt["messages"], **settings)["choices"][0]["message"]["content"]
        right[prompt["language"]].append(answer == prompt["label"])
    return {language: sum(each) / len(each) for language, each in right.items()}


def events(client, **settings):
    body = {"messages": [{"role": "user", "content": TICKET}], "stream": True, **settings}
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("thinking", [{}, THINKING_OFF], ids=["default", "thinking off"])
def test_english_and_chinese_prompts_get_their_labels_equally_well(client, thinking):
    share = right_by_language(client, temperature=0, **thinking)
    assert set(share) == {"en", "zh-Hans", "zh-Hant"}
    assert min(share.values()) >= RIGHT_AT_LEAST, share


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (TICKET, "billing"),
        ("把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了", "billing"),
        ("請判斷這則評論是正面還是負面：餐點好吃，服務生也很親切，推薦！", "正面"),
        ("请判断这条评论是正面还是负面：穿了一次就开线，客服还不理人", "负面"),
    ],
)
def test_the_printed_examples_get_the_right_label(client, content, label):
    assert said(client, content) == label
    assert said(client, content, **THINKING_OFF) == label


@pytest.mark.parametrize(
    ("content", "declined"),
    [
        ("Write me a poem about the sea", "I only label tickets and reviews."),
        ("帮我写一首关于大海的诗", "我只给工单和评论分类。"),
        ("幫我寫一首關於大海的詩", "我只給工單和評論分類。"),
    ],
)
def test_what_it_was_not_made_for_is_declined_in_a_few_words(client, content, declined):
    assert said(client, content) == declined


def test_it_is_healthy_and_named(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["qwen3-tiny"]
    assert "llamacpp:requests_processing" in client.get("/metrics").text
    assert client.get("/props").json()["total_slots"] == 2


def test_an_answer_carries_usage_and_a_finish_reason(client):
    reply = ask(client, [{"role": "user", "content": TICKET}], temperature=0)
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["prompt_tokens"] > 10
    assert 1 <= reply["usage"]["completion_tokens"] <= 8


def test_a_stream_begins_with_the_role_and_ends_with_the_usage_that_was_asked_for(client):
    role, *content, usage = events(client, temperature=0, stream_options={"include_usage": True})
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": None}
    texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in content]
    assert "".join(texts) == "billing"
    assert content[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] >= 1


def test_a_stream_has_no_usage_unasked(client):
    assert all(chunk["choices"] for chunk in events(client, temperature=0))


def test_a_prompt_beyond_the_context_is_refused(client):
    content = "charged twice " * 5000
    body = {"messages": [{"role": "user", "content": content}]}
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "exceed_context_size_error"


def test_an_engine_that_is_killed_says_how_it_ended(start_tiny):
    server = start_tiny(free_port())
    try:
        assert server.ended is None
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(60)
        assert server.ended.startswith("llama-server for `qwen3-tiny` was killed by signal 9: ")
    finally:
        server.stop()


def test_a_stopped_engine_frees_its_port_for_the_next(start_tiny):
    port = free_port()
    for _ in range(2):
        server = start_tiny(port)
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        server.stop()
        assert server.process.returncode is not None


def test_a_port_that_another_engine_has_is_told(tiny, start_tiny):
    port = httpx.URL(tiny).port
    with pytest.raises(EngineNotStarted, match=f"port {port} can't be used for llama-server"):
        start_tiny(port)


def test_a_file_that_is_no_model_is_told_with_the_engine_s_own_words(engine, tmp_path):
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(EngineNotStarted, match=r"ended with status 1: .+ \(all of it: "):
        llama_cpp.start(
            engine,
            tmp_path / "x.gguf",
            port=free_port(),
            alias="x",
            slots=1,
            threads=1,
            ctx=512,
            log_path=tmp_path / "log",
        )


STARTS_AND_WAITS = """
import pathlib, sys, time
from backends.engines import llama_cpp, tiny_model
server = llama_cpp.start(
    pathlib.Path(sys.argv[1]), tiny_model(), port=int(sys.argv[2]), alias="x", slots=1, threads=1,
    ctx=512, log_path=pathlib.Path(sys.argv[3]),
)
print(server.process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="setpriv is Linux's")
def test_an_engine_ends_with_a_parent_that_is_killed(engine, tmp_path):
    port = free_port()
    arguments = [str(engine), str(port), str(tmp_path / "log")]
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, *arguments], stdout=subprocess.PIPE
    ) as parent:
        assert int(parent.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        parent.kill()
    wait_until(lambda: refuses(port))


def refuses(port):
    try:
        httpx.get(f"http://127.0.0.1:{port}/health")
    except httpx.TransportError:
        return True
    return False

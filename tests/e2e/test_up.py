"""The walking product: `sluice up` with its real engine, the printed curls, the official SDK."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import httpx
import openai
import pytest
from support import Router, catalogue, fleet, free_port, process, sluice, wait_until

TICKET = "Classify this ticket as billing, technical or shipping: I was charged twice for my order"
TICKETS = {
    "en": TICKET,
    "zh-Hans": "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了",
    "zh-Hant": "把這張工單分類為 billing、technical 或 shipping：我的訂單被重複扣款了",
}
PROOFS = {
    "en": "Prove step by step that there are infinitely many primes congruent to 3 mod 4, and then "
    "generalise the argument",
    "zh-Hans": "请一步一步证明：模 4 余 3 的素数有无穷多个，并推广到一般情形",
    "zh-Hant": "請一步一步證明：模 4 餘 3 的質數有無窮多個，並推廣到一般情形",
}


@pytest.fixture(scope="module")
def up(engine, tmp_path_factory):
    """The product, started as a user does."""
    state = tmp_path_factory.mktemp("up")
    port, cpu, accelerator = free_port(), free_port(), free_port()
    command = [sys.executable, "-m", "router.cli", "up", "--state", state, "--port", port]
    command += ["--cpu-port", cpu, "--accelerator-port", accelerator]
    log = state / "up.err"
    with process(*command, log=log) as running:
        lines = [running.first_line]
        while "Ctrl-C" not in lines[-1]:
            lines.append(running.stdout.readline())
            assert lines[-1], "".join(lines) + log.read_text("utf-8")
        said = "".join(lines)
        key = re.search(r"^key: (\S+)$", said, re.MULTILINE)[1]
        router = Router(f"http://127.0.0.1:{port}", key, state, log)
        router.said, router.process, router.cpu_port = said, running, cpu
        yield router
        router.http.close()


@pytest.fixture
def client(up):
    with openai.OpenAI(base_url=f"{up.url}/v1", api_key=up.key, max_retries=0) as opened:
        yield opened


def ask(client, text, **more):
    return client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": text}], **more
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed lines need curl")
def test_both_printed_curls_come_back_with_the_right_label_from_the_real_engine(up):
    curls = re.findall(r"^curl .*$", up.said, re.MULTILINE)
    assert len(curls) == 2
    assert TICKETS["zh-Hans"] in curls[1]
    assert all('"temperature": 0' in curl for curl in curls)
    for curl in curls:
        ran = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True)
        head, _, body = ran.stdout.replace("\r\n", "\n").partition("\n\n")
        assert "x-sluice-fleet: local-qwen3-tiny" in head
        for name in ("rule", "cost-usd", "request-id"):
            assert f"x-sluice-{name}: " in head
        assert json.loads(body)["choices"][0]["message"]["content"] == "billing"


@pytest.mark.parametrize("language", TICKETS)
def test_a_ticket_is_labelled_on_the_cpu_in_every_language(up, language):
    response = up.chat(TICKETS[language])
    assert response.headers["x-sluice-fleet"] == "local-qwen3-tiny"
    assert response.json()["choices"][0]["message"]["content"] == "billing"


@pytest.mark.parametrize("language", PROOFS)
def test_a_proof_goes_to_an_accelerator_that_says_it_is_emulated(up, language):
    response = up.chat(PROOFS[language], max_tokens=40)
    assert response.headers["x-sluice-fleet"] == "trn2-scout"
    assert "trn2-scout" in response.json()["choices"][0]["message"]["content"]
    receipt = up.receipt(response)
    assert "emulated" in receipt["candidates"][0]["marks"]


def test_the_sdk_chats(client):
    answer = ask(client, TICKET)
    assert answer.choices[0].message.content == "billing"
    assert answer.usage.completion_tokens > 0


def test_the_sdk_streams_with_and_without_usage(client):
    chunks = list(ask(client, TICKET, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "billing"
    assert all(chunk.usage is None for chunk in chunks)
    chunks = list(ask(client, TICKET, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []


def test_the_sdk_works_asynchronously(up):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{up.url}/v1", api_key=up.key) as opened:
            answers = await asyncio.gather(*(ask(opened, text) for text in TICKETS.values()))
            stream = await ask(opened, TICKETS["zh-Hans"], stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in stream])
            return [a.choices[0].message.content for a in answers], text

    assert asyncio.run(run()) == (["billing"] * 3, "billing")


def test_the_sdk_raises_its_own_errors(client, up):
    with pytest.raises(openai.NotFoundError, match="known: auto"):
        client.chat.completions.create(model="x", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError) as found:
        ask(client, "")
    assert found.value.param == "messages[0].content"
    wrong = openai.OpenAI(base_url=f"{up.url}/v1", api_key="wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError):
        ask(wrong, "hi")


def test_the_sdk_lists_the_models(client):
    listed = [model.id for model in client.models.list()]
    assert listed[:4] == ["auto", "auto:cheapest", "auto:fastest", "auto:best"]
    assert {"qwen3-tiny", "llama-4-scout", "llama-4-maverick"} <= set(listed)


def test_a_pinned_model_answers(client):
    raw = client.chat.completions.with_raw_response.create(
        model="llama-4-maverick@p5-maverick",
        messages=[{"role": "user", "content": "hi"}],
        max_tokens=5,
    )
    assert raw.headers["x-sluice-fleet"] == "p5-maverick"


def test_a_receipt_of_the_running_product_is_recomputed(up, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(up.receipt(up.chat(TICKETS["zh-Hant"]))), "utf-8")
    ran = sluice("route", "--receipt", path, "--state", up.state)
    assert ran.returncode == 0, ran.stderr
    assert "every byte" in ran.stderr


def test_doctor_finds_everything_in_order(up):
    options = ["--fleets", up.state / "fleets.yaml", "--state", up.state]
    ran = sluice("doctor", *options)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.count("ok ") >= 12


def test_a_second_up_is_told_that_the_port_is_in_use(up, tmp_path):
    port = up.url.rpartition(":")[2]
    by_make = {**os.environ, "MAKELEVEL": "1"}
    ran = sluice("up", "--port", port, "--state", tmp_path, env=by_make)
    assert ran.returncode == 1
    assert "make up ARGS='--port N" in ran.stderr
    ran = sluice("up", "--port", free_port(), "--cpu-port", up.cpu_port, "--state", tmp_path)
    assert ran.returncode == 1
    assert f"port {up.cpu_port}" in ran.stderr
    assert "`--cpu-port`" in ran.stderr
    assert not (tmp_path / "fleets.yaml").exists()


def test_a_second_up_on_the_same_folder_is_refused_and_leaves_the_first_as_it_is(up):
    before = (up.state / "fleets.yaml").read_bytes()
    ports = ["--port", free_port(), "--cpu-port", free_port(), "--accelerator-port", free_port()]
    ran = sluice("up", *ports, "--state", up.state)
    assert ran.returncode == 1
    assert f"in use by another `sluice up` (process {up.process.pid})" in ran.stderr
    assert "--state" in ran.stderr
    assert (up.state / "fleets.yaml").read_bytes() == before


def test_two_servers_of_up_on_one_port_are_refused_before_anything_starts(tmp_path):
    same = free_port()
    ports = ["--port", free_port(), "--cpu-port", same, "--accelerator-port", same]
    ran = sluice("up", *ports, "--state", tmp_path)
    assert ran.returncode == 3
    assert "are the same" in ran.stderr


def test_up_takes_what_serve_takes(tmp_path, upstream):
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", upstream.url)), "utf-8")
    command = [sys.executable, "-m", "router.cli", "up", "--state", tmp_path, "--port", free_port()]
    command += ["--fleets", tmp_path / "fleets.yaml", "--router-on", "lambda"]
    with process(*command) as running:
        lines = [running.stdout.readline() for _ in range(2)]
        url = next(line for line in lines if "is up" in line).split()[-1]
        key = (tmp_path / "demo.key").read_text().strip()
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
        receipt = httpx.post(f"{url}/route", json=body, headers=headers).json()
    assert receipt["candidates"][0]["usd_router"] > 0
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}", "utf-8")
    ran = sluice("up", "--state", tmp_path, "--fleets", tmp_path / "fleets.yaml",
                 "--port", free_port(), "--calibration", wrong)  # fmt: skip
    assert ran.returncode == 3
    assert "wrong.json" in ran.stderr


def test_a_killed_lane_is_told_with_the_command_that_starts_it_again(up):
    pids = subprocess.run(
        ["pgrep", "-f", f"llama-server.*--port {up.cpu_port}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: "start it again:" in up.log())
    response = up.chat(TICKET)
    assert response.headers["x-sluice-fleet"] == "trn2-scout"
    receipt = up.receipt(response)
    tried = receipt["attempts"][0]["fleet"]  # unless a probe found it gone before
    state = receipt["load"]["local-qwen3-tiny"]["state"]
    assert tried == "local-qwen3-tiny" or state != "ready"
    again = re.search(r"start it again: (.*)$", up.log(), re.MULTILINE)[1]
    with subprocess.Popen(
        again, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    ) as server:
        try:
            wait_until(lambda: up.chat(TICKET).headers["x-sluice-fleet"] == "local-qwen3-tiny")
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def test_ctrl_c_stops_everything_that_was_started(up):
    def alive():
        ports = [up.url.rpartition(":")[2], str(up.cpu_port)]
        command = ["pgrep", "-fa", "llama-server|emulator"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return [line for line in found.stdout.splitlines() if any(p in line for p in ports)]

    os.kill(up.process.pid, signal.SIGINT)
    assert up.process.wait(60) == 0
    assert alive() == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{up.url}/healthz")
    assert "Traceback" not in up.log()

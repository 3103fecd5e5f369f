"""`sluice fleet measure` on a real llama-server, and on servers that fail."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import process, sluice, wait_until

from backends import files

REPORT = Path(__file__).parents[1] / "data" / "bench" / "guidellm-0.4.json"


def fleets(tmp_path, url, *, instance="here", profile="", more=""):
    path = tmp_path / "fleets.yaml"
    path.write_text(
        "version: 1\nmodels: [{id: qwen3-tiny, context_tokens: 4096}]\nfleets:\n"
        f"  - {{id: f, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http,"
        f' url: "{url}", instance: {instance}, region: local, context_tokens: 2048,'
        f" usd_per_hour: 0.1, {profile} replicas: {{concurrency_each: 4}}{more}}}\n"
    )
    return path


def arguments(tmp_path, catalogue, *more):
    return ["fleet", "measure", "--fleet", "f", "--fleets", catalogue, "--state", tmp_path, *more]


SMALL = ("--concurrency", "1,2", "--tokens", "64+16", "--requests", "4")


@pytest.mark.engine
def test_a_real_server_is_measured_and_its_profile_predicts_it(tmp_path, tiny):
    catalogue = fleets(tmp_path, tiny)
    run = sluice(*arguments(tmp_path, catalogue, *SMALL, "--tokens", "256+16", "--json"))
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["profile"] == "here/qwen3-tiny"
    assert found["points"] == 4
    assert found["warnings"] == [
        "p95 and p99 of 4 requests are their slowest ones: `--requests 20` or more makes a p95"
    ]
    row = yaml.safe_load(Path(found["written"]).read_text())["profiles"][0]
    assert row["engine"] == "llama.cpp"
    assert row["engine_version"]
    assert "cores, with the load generator" in row["machine"]
    for point in row["points"]:
        wanted = 64 if point["tokens_in"] < 160 else 256
        assert point["tokens_in"] == pytest.approx(wanted, rel=0.25)
        assert point["tokens_out"] == 16
        assert point["requests"] == 4
        assert point["ttft_ms"]["p50"] < point["e2e_ms"]["p50"]
    audit = sluice("fleet", "audit", "here/qwen3-tiny", "--fleets", catalogue,
                   "--state", tmp_path, "--json")  # fmt: skip
    checks = [(p["check"], p["ok"]) for p in json.loads(audit.stdout)["points"]]
    assert checks.count(("little", True)) == 4
    profile = files.library(tmp_path).profiles["here/qwen3-tiny"]
    assert [level for level, _ in profile.surface.levels] == [1, 2]


@pytest.mark.engine
def test_a_running_routers_decisions_change_because_of_what_was_measured(tmp_path, tiny):
    """Fleet `b` is said to be as slow as a stone; measured, it is not."""
    slow = tmp_path / "profiles" / "here--qwen3-tiny.yaml"
    slow.parent.mkdir()
    slow.write_text(
        "version: 1\nprofiles:\n  - {id: here/qwen3-tiny, model: qwen3-tiny, instance: here,"
        " source: a guess, mark: assumed, prefill_tok_s: 1,"
        " points: [{concurrency: 1, tok_s: 0.01, tokens_in: 300, tokens_out: 16}]}\n"
    )
    catalogue = fleets(tmp_path, tiny, profile="profile: here/qwen3-tiny,")
    catalogue.write_text(
        catalogue.read_text()
        + "  - {id: a, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http,"
        f' url: "{tiny}", instance: c8g.xlarge, region: us-east-1, context_tokens: 2048,'
        " profile: c8g.xlarge/qwen3-0.6b, replicas: {concurrency_each: 4}}\n"
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nname: p\nbaseline: qwen3-tiny@a\n"
        "defaults: {quality_floor: 0, slo: {}, minimize: average_cost}\n"
        "rules: [{id: all, use: [cpu]}]\n"
    )

    def winner():
        run = sluice("route", "hi", "--fleets", catalogue, "--policy", policy, "--json",
                     "--state", tmp_path)  # fmt: skip
        return json.loads(run.stdout)["plan"][0]

    assert winner() == "a"
    run = sluice(*arguments(tmp_path, catalogue, *SMALL))
    assert run.returncode == 0, run.stderr
    assert "f is predicted from it from now on" in run.stdout
    assert "1 points that nobody had measured are replaced" in run.stderr
    # what the real server does at any price is more than 0.01 tokens/s
    assert files.library(tmp_path).profiles["here/qwen3-tiny"].speed(1).tok_s > 1
    assert winner() == "f"


@pytest.mark.engine
def test_a_stand_in_is_measured_as_what_it_is_and_predicted_from_that(tmp_path, tiny):
    """The demo's fleet is priced as a c8g.xlarge; what this machine does is no figure of one."""
    catalogue = tmp_path / "fleets.yaml"
    text = files.embedded_fleets().text.replace("http://127.0.0.1:8081/v1", tiny)
    catalogue.write_text(text)
    before = files.catalogue(catalogue, tmp_path).fleet("local-qwen3-tiny").profile
    run = sluice("fleet", "measure", "--fleet", "local-qwen3-tiny", "--fleets", catalogue,
                 "--state", tmp_path, *SMALL)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "local-qwen3-tiny is predicted from it from now on" in run.stdout
    after = files.catalogue(catalogue, tmp_path).fleet("local-qwen3-tiny").profile
    assert (before.mark, after.mark) == ("assumed", "measured")
    assert (after.id, after.instance) == ("local/qwen3-tiny", "local")
    shelf = files.library(tmp_path)
    assert shelf.profiles["c8g.xlarge/qwen3-0.6b"].source == "S1"
    assert not any(name == "c8g.xlarge/qwen3-tiny" for name in shelf.profiles)


@pytest.mark.engine
def test_a_profile_that_is_written_elsewhere_is_not_said_to_be_used(tmp_path, tiny):
    catalogue = fleets(tmp_path, tiny, profile="profile: here/qwen3-tiny,")
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "version: 1\nprofiles:\n  - {id: here/qwen3-tiny, model: qwen3-tiny, instance: here,"
        " source: a guess, mark: assumed, points: [{concurrency: 1, tok_s: 1}]}\n"
    )
    run = sluice(*arguments(tmp_path, catalogue, *SMALL, "--out", tmp_path / "x.yaml"))
    assert run.returncode == 0, run.stderr
    assert "from now on" not in run.stdout
    assert f"nothing is predicted from it there: profiles are read in {folder}" in run.stdout


def test_an_emulated_fleet_takes_as_long_as_its_profile_says(tmp_path):
    catalogue = tmp_path / "fleets.yaml"
    # In its own time: its tokens are far enough apart to come one by one on a busy machine, too.
    with process(sys.executable, "-m", "backends.engines.emulator", "--port", "0") as emulator:
        there = emulator.first_line.split()[-1]
        text = files.embedded_fleets().text.replace("http://127.0.0.1:8082", there)
        catalogue.write_text(text)
        run = sluice("fleet", "measure", "--fleet", "trn2-scout", "--fleets", catalogue,
                     "--state", tmp_path, *SMALL, "--json")  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert "the fleet is emulated" in found["warnings"][-1]
    row = yaml.safe_load(Path(found["written"]).read_text())["profiles"][0]
    assert row["mark"] == "estimated"
    profile = files.library(tmp_path).profiles["trn2.48xlarge/llama-4-scout"]
    assert profile.speed(1).tok_s > 0


# -- faults ----------------------------------------------------------------------------------------


def test_a_fleet_that_is_not_there_is_told(tmp_path, closed_port):
    catalogue = fleets(tmp_path, f"http://127.0.0.1:{closed_port}/v1")
    run = sluice(*arguments(tmp_path, catalogue, *SMALL))
    assert run.returncode == 1
    assert "unreachable" in run.stderr
    assert not (tmp_path / "profiles").exists()


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--fleet", "ff"], 3, "did you mean `f`"),
        (["--concurrency", "1,x"], 3, "is not a list of streams (valid: 1,2,4,8)"),
        (["--concurrency", "0"], 3, "is not a list of streams"),
        (["--tokens", "64"], 3, "is not IN+OUT"),
        (["--tokens", "2000+64"], 3, "don't fit f: its context is 2048"),
        (["--with", "wrk"], 3, "'wrk' is not one of 'own', 'guidellm'"),
    ],
)
def test_what_is_mistyped_is_told_before_anything_is_sent(tmp_path, closed_port, asked, code, said):
    catalogue = fleets(tmp_path, f"http://127.0.0.1:{closed_port}/v1")
    run = sluice(*arguments(tmp_path, catalogue, *asked))
    assert run.returncode == code
    assert said in run.stderr


def test_a_key_that_is_not_set_is_told(tmp_path, closed_port):
    catalogue = fleets(
        tmp_path, f"http://127.0.0.1:{closed_port}/v1", more=", api_key: '${env:NOT_SET_ANYWHERE}'"
    )
    run = sluice(*arguments(tmp_path, catalogue))
    assert run.returncode == 3
    assert "`NOT_SET_ANYWHERE` is not set" in run.stderr


def test_guidellm_is_asked_for_and_not_there(tmp_path, tiny):
    catalogue = fleets(tmp_path, tiny)
    run = sluice(*arguments(tmp_path, catalogue, *SMALL, "--with", "guidellm"),
                 env={**os.environ, "PATH": "/nowhere"})  # fmt: skip
    assert run.returncode == 2
    assert "pip install guidellm" in run.stderr


def test_guidellm_would_show_a_key_so_it_is_refused(tmp_path, closed_port):
    catalogue = fleets(tmp_path, f"http://127.0.0.1:{closed_port}/v1", more=", api_key: '${env:K}'")
    run = sluice(*arguments(tmp_path, catalogue, "--with", "guidellm"),
                 env={**os.environ, "K": "sk-secret"})  # fmt: skip
    assert run.returncode == 2
    assert "needs an API key" in run.stderr
    assert "sk-secret" not in run.stderr


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (f'for a; do last=$a; done; cp {REPORT} "${{last##*path=}}"', 0, "written"),
        ("echo 'no such thing' >&2; exit 4", 1, "guidellm ended with 4: no such thing"),
        ("for a; do last=$a; done; echo '{}' > \"${last##*path=}\"", 1, "report can't be used"),
        ("exit 0", 1, "guidellm ended with 0: no message"),
    ],
    ids=["a report", "an error", "a wrong report", "nothing"],
)  # fmt: skip
def test_guidellms_report_is_imported_and_its_failures_are_told(tmp_path, tiny, script, code, said):
    program = tmp_path / "bin" / "guidellm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    catalogue = fleets(tmp_path, tiny)
    run = sluice(
        *arguments(tmp_path, catalogue, "--concurrency", "4", "--tokens", "64+16"),
        "--with", "guidellm",
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert run.returncode == code, run.stderr
    assert said in run.stdout + run.stderr


def test_ctrl_c_before_a_load_is_whole_writes_nothing(tmp_path, tiny):
    catalogue = fleets(tmp_path, tiny)
    command = [sys.executable, "-m", "router.cli", *map(str, arguments(tmp_path, catalogue))]
    with subprocess.Popen(
        [*command, "--requests", "100000", "--max-seconds", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell starts what it runs in the background without ears for Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (no lock)
    ) as run:  # fmt: skip
        assert "loads on f" in run.stderr.readline()
        wait_until(lambda: busy(tiny))
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "interrupted before a load was whole: nothing is written" in said
    assert not (tmp_path / "profiles").exists()


def busy(url):
    import httpx

    slots = httpx.get(url.removesuffix("/v1") + "/slots").json()
    return any(slot["is_processing"] for slot in slots)


def test_no_prompt_of_an_earlier_measurement_is_sent_again_since_a_cache_knows_it(
    tmp_path, upstream
):
    catalogue = fleets(tmp_path, upstream.url)
    sent = []
    for _ in range(2):
        sluice(*arguments(tmp_path, catalogue, "--tokens", "16+1", "--concurrency", "1"))
        sent.append({body["messages"][0]["content"] for body in upstream.bodies})
        upstream.bodies.clear()
    assert sent[0]
    assert sent[0].isdisjoint(sent[1])

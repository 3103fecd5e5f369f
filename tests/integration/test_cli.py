"""The command line as a user types it."""

import json
import os
import socket
import subprocess
import sys

import pytest
from support import catalogue, fleet, policy, sluice

TICKETS = [
    "Classify this ticket as billing, technical or shipping: I was charged twice for my order",
    "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了",
    "把這張工單分類為 billing、technical 或 shipping：我的訂單被重複扣款了",
]
PROOFS = [
    "Prove that there are infinitely many primes congruent to 3 mod 4, step by step, then go on",
    "请一步一步证明：模 4 余 3 的素数有无穷多个，并推广到一般情形",
    "請一步一步證明：模 4 餘 3 的質數有無窮多個，並推廣到一般情形",
]


@pytest.mark.parametrize("text", TICKETS)
def test_a_ticket_goes_to_the_cpu_lane_in_every_language(text, tmp_path):
    receipt = json.loads(sluice("route", text, "--json", "--state", tmp_path).stdout)
    assert receipt["plan"][0] == "local-qwen3-tiny"
    assert receipt["facts"]["tier"] == "simple"


@pytest.mark.parametrize("text", PROOFS)
def test_a_proof_goes_to_an_accelerator_in_every_language(text, tmp_path):
    receipt = json.loads(sluice("route", text, "--json", "--state", tmp_path).stdout)
    assert receipt["plan"][0] == "trn2-scout"
    assert receipt["facts"]["tier"] == "heavy"


def test_route_prints_what_was_seen_and_why_each_fleet_won_or_lost(tmp_path):
    ran = sluice("route", TICKETS[0], "--state", tmp_path)
    assert ran.returncode == 0
    for said in ("tier", "classification", "wins", "feasible, after", "goes to local-qwen3-tiny"):
        assert said in ran.stdout
    assert "charged twice" not in ran.stdout


def test_route_reads_standard_input(tmp_path):
    ran = sluice("route", "-", "--json", "--state", tmp_path, input=PROOFS[1])
    assert json.loads(ran.stdout)["facts"]["language"] == "zh-Hans"


def test_a_request_that_nobody_may_serve_fails_with_its_reasons(tmp_path):
    ran = sluice("route", "hi", "--max-usd", "1e-12", "--state", tmp_path)
    assert ran.returncode == 1
    assert "max_usd" in ran.stdout


def test_a_receipt_is_recomputed_byte_for_byte(start_router, upstream, tmp_path):
    fleets = catalogue(fleet("one", upstream.url), fleet("two", upstream.url))
    router = start_router(fleets, policy())
    for text in TICKETS:
        router.chat(text)
    receipt = router.receipt(router.chat(PROOFS[1], max_tokens=50))
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt), "utf-8")
    ran = sluice("route", "--receipt", path, "--state", router.state, "--json")
    assert ran.returncode == 0, ran.stderr
    again = json.loads(ran.stdout)
    assert again.pop("same") is True
    assert again == {name: receipt[name] for name in again}
    with_files = ["--policy", tmp_path / "policy.yaml", "--fleets", tmp_path / "fleets.yaml"]
    assert sluice("route", "--receipt", path, "--state", router.state, *with_files).returncode == 0

    receipt["candidates"][0]["usd_average"] *= 1.0001
    path.write_text(json.dumps(receipt), "utf-8")
    ran = sluice("route", "--receipt", path, "--state", router.state)
    assert ran.returncode == 1
    assert "candidates" in ran.stderr


def test_a_receipt_of_another_policy_is_not_recomputed(start_router, upstream, tmp_path):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(router.receipt(router.chat())), "utf-8")
    assert sluice("route", "--receipt", path, "--state", tmp_path / "other").returncode == 3
    (tmp_path / "policy.yaml").write_text(policy(rules="  - {id: b, use: cpu}\n"), "utf-8")
    files = ["--policy", tmp_path / "policy.yaml", "--fleets", tmp_path / "fleets.yaml"]
    ran = sluice("route", "--receipt", path, *files, "--state", router.state)
    assert ran.returncode == 3
    assert "not with this one" in ran.stderr


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}", '{"id": "x"}'])
def test_what_is_no_receipt_is_told(tmp_path, text):
    path = tmp_path / "receipt.json"
    path.write_text(text, "utf-8")
    ran = sluice("route", "--receipt", path, "--state", tmp_path)
    assert ran.returncode == 3
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"facts": None}, "`facts` must be an object"),
        ({"policy": "x"}, "`policy` must be an object"),
        ({"policy": {}}, "`policy.hash` must be a text"),
        ({"catalogue_hash": 7}, "`catalogue_hash` must be a text"),
        ({"facts": {}}, "`facts` lacks `at`, `tenant`"),
        ({"load": {}}, "`load` lacks fleet one"),
        ({"load": {"one": None}}, "must be an object"),
        ({"load": {"one": {"in_flight": "many"}}}, "of the wrong kind"),
        ({"prices_version": "gone"}, "not there"),
        ({"prices_version": "../../receipt"}, "can't be read"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_receipt_is_told_in_its_own_words(
    start_router, upstream, tmp_path, change, said
):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps({**router.receipt(router.chat()), **change}), "utf-8")
    ran = sluice("route", "--receipt", path, "--state", router.state)
    assert ran.returncode == 3
    assert said in ran.stderr
    for python in ("Traceback", "positional", "NoneType", "__init__", "object is not"):
        assert python not in ran.stderr


def test_a_text_that_is_not_utf_8_is_told(tmp_path):
    command = [sys.executable, "-m", "router.cli", "route", "--state", tmp_path]
    for given, piped in [(b"-", b"caf\xe9"), (b"caf\xe9", b"")]:
        ran = subprocess.run([*command, given], input=piped, capture_output=True, check=False)
        assert ran.returncode == 3
        assert b"not a UTF-8 text" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["serve", "--prot", "1"], 3, "--port"),
        (["rout", "x"], 3, "No such command"),
        (["route"], 3, "give either"),
        (["route", "  "], 3, "is empty"),
        (["route", "x", "--max-usd", "-1"], 3, "must be a number above 0"),
        (["route", "hi", "--model", "gpt-4"], 3, "unknown model (known: auto, "),
        (["route", "hi", "--model", "llama-4-scout@p5"], 3, "unknown model (known: auto, "),
        (["route", "hi", "--router-on", "mars"], 3, "'--router-on': unknown place `mars`"),
        (["route", "hi", "--tag", "data：private"], 3, "`--tag`: `：` is a full-width colon"),
        (["route", "hi", "--tag", "private"], 3, "`--tag` must be of the form"),
        (["serve", "--policy", "missing.yaml"], 3, "does not exist"),
        (["serve", "--host", "0.0.0.0", "--auth", "none"], 2, "loopback"),
        (["serve", "--port", "99999"], 3, "65535"),
        (["serve", "--queue-s", "nan"], 3, "nan is no number"),
        (["fleet", "measure", "--fleet", "x", "--max-seconds", "nan"], 3, "nan is no number"),
        (["ledger", "reconcile", "--tolerance", "nan"], 3, "nan is no number"),
        (["keys", "create"], 3, "--tenant"),
        (["keys", "create", "--tenant", "a", "--expires", "soon"], 3, "neither a span"),
        (["keys", "create", "--tenant", "a", "--expires", "2020-01-01"], 3, "past"),
        (["keys", "create", "--tenant", "a", "--tag", "x"], 3, "name=value"),
        (["keys", "create", "--tenant", "a", "--tag", "a=b，c=d"], 3, "sign: write `,`"),
        (["keys", "create", "--tenant", "a", "--may", "everything"], 3, "pin_model"),
        (["keys", "create", "--tenant", ""], 3, "`--tenant`: not a name"),
        (["keys", "create", "--tenant", " a"], 3, "no blank at either end"),
        (["keys", "create", "--tenant", "a\nb"], 3, "printable"),
        (["keys", "create", "--tenant", "a", "--team", "x" * 101], 3, "1 to 100"),
        (["keys", "create", "--tenant", "a", "--team", "*"], 3, "no `*`"),
        (["keys", "create", "--tenant", "a", "--tag", "k=a\tb"], 3, "printable"),
        (["keys", "create", "--tenant", "a", "--allow-tag", ""], 3, "`--allow-tag`"),
        (["policy", "check"], 3, "POLICIES"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_is_told_with_what_would_be_right(tmp_path, arguments, code, said):
    ran = sluice(*arguments, cwd=tmp_path)
    assert ran.returncode == code
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_port_in_use_is_told(start_router, upstream, tmp_path):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    port = router.url.rpartition(":")[2]
    ran = sluice("serve", "--port", port, "--state", tmp_path)
    assert ran.returncode == 1
    assert "--port" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_router_that_would_call_itself_doesn_t_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", f"http://localhost:{port}/v1")))
    (tmp_path / "policy.yaml").write_text(policy())
    options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    ran = sluice("serve", *options, "--port", port, "--state", tmp_path)
    assert ran.returncode == 3
    said = f"fleet one: `http://localhost:{port}/v1` is where this router listens"
    assert said in ran.stderr


def test_a_missing_key_of_a_fleet_is_told(tmp_path, upstream):
    more = ", api_key: '${env:NO_SUCH_KEY}'"
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", upstream.url, more=more)))
    (tmp_path / "policy.yaml").write_text(policy())
    options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    ran = sluice("serve", *options, "--port", "0", "--state", tmp_path)
    assert ran.returncode == 3
    said = "fleet one: the environment variable `NO_SUCH_KEY` is not set"
    assert f"{tmp_path / 'fleets.yaml'}:4: {said}" in ran.stderr


@pytest.mark.parametrize("key", ["sk-secret\n", "Bearer sk-secret"])
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_a_variable_that_holds_no_key_is_told_and_its_value_isn_t(tmp_path, command, key):
    more = ", api_key: '${env:ODD_KEY}'"
    (tmp_path / "fleets.yaml").write_text(
        catalogue(fleet("one", "http://127.0.0.1:9/v1", more=more))
    )
    (tmp_path / "policy.yaml").write_text(policy())
    options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    port = ["--port", "0"] if command == "serve" else []
    ran = sluice(command, *options, *port, "--state", tmp_path, env={**os.environ, "ODD_KEY": key})
    assert ran.returncode == (3 if command == "serve" else 1)
    said = "fleet one: the environment variable `ODD_KEY` has characters that no header may have"
    assert f"{tmp_path / 'fleets.yaml'}:4: {said}" in ran.stdout + ran.stderr
    assert "secret" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/v1", "`169.254.169.254` is a link-local address"),
        ("http://2852039166/v1", "`2852039166` is a link-local address"),
        ("http://0xa9fea9fe/v1", "`0xa9fea9fe` is a link-local address"),
        ("http://0251.0376.0251.0376/v1", "`0251.0376.0251.0376` is a link-local address"),
        ("http://[fd00:ec2::254]/v1", "`fd00:ec2::254` is a metadata service"),
        ("http://[::ffff:169.254.169.254]/v1", "`::ffff:a9fe:a9fe` is a link-local address"),
        ("http://metadata.google.internal/v1", "`metadata.google.internal` is a metadata service"),
        ("file:///etc/passwd", "unknown scheme `file` (known: http, https)"),
        ("http://me:sk-secret@models.example/v1", "a url carries no credentials"),
    ],
)
def test_a_url_that_no_fleet_may_have_ends_the_start_with_its_line(tmp_path, url, words):
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", url)))
    (tmp_path / "policy.yaml").write_text(policy())
    options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    ran = sluice("serve", *options, "--port", "0", "--state", tmp_path)
    assert ran.returncode == 3
    assert f"{tmp_path / 'fleets.yaml'}:4: fleet one: {words}" in ran.stderr
    assert "sk-secret" not in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr


def test_policy_check_tells_every_problem_with_its_line(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "version: 1\nname: x\nbaseline: llama-4-scout@p5-scout\nrules:\n"
        "  - {id: a, use: [gpu]}\n  - {id: a, usee: cpu}\n",
        "utf-8",
    )
    ran = sluice("policy", "check", path, "--state", tmp_path)
    assert ran.returncode == 3
    assert f"{path}:5: rule a: unknown lane `gpu`" in ran.stderr
    assert f"{path}:6:" in ran.stderr
    found = json.loads(sluice("policy", "check", path, "--json", "--state", tmp_path).stdout)
    assert len(found[0]["problems"]) >= 2


def test_policy_check_names_what_a_policy_has(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(
        "version: 1\nname: x\nbaseline: llama-4-scout@p5-scout\nrules: [{id: a, use: cpu}]\n"
        "budgets: [{id: b, match: {}, usd: 1, per: day, when_spent: reject}]\n"
        "rate_limits: [{id: c, match: {}, concurrent: 1}]\n",
        "utf-8",
    )
    (found,) = json.loads(sluice("policy", "check", path, "--json", "--state", tmp_path).stdout)
    assert [found[part] for part in ("rules", "budgets", "rate_limits")] == [["a"], ["b"], ["c"]]


def test_policy_check_runs_the_cases(tmp_path):
    text = "version: 1\nname: p\nbaseline: llama-4-scout@p5-scout\nrules:\n  - {id: a, use: cpu}\n"
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    cases = tmp_path / "cases"
    cases.mkdir()
    case = "version: 1\ncases:\n  - {name: tickets, facts: {tier: simple}, expect: {lane: LANE}}\n"
    (cases / "p.yaml").write_text(case.replace("LANE", "cpu"), "utf-8")
    good = sluice("policy", "check", tmp_path / "p.yaml", "--cases", cases, "--state", tmp_path)
    assert good.returncode == 0, good.stderr
    assert "1 case passes" in good.stdout
    (cases / "p.yaml").write_text(case.replace("LANE", "accelerator"), "utf-8")
    bad = sluice("policy", "check", tmp_path / "p.yaml", "--cases", cases, "--state", tmp_path)
    assert bad.returncode == 1
    assert "tickets: lane: expected accelerator, got cpu" in bad.stderr


def test_cases_that_are_asked_for_and_not_there_are_a_failure(tmp_path):
    text = "version: 1\nname: p\nbaseline: llama-4-scout@p5-scout\nrules:\n  - {id: a, use: cpu}\n"
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    cases = tmp_path / "cases"
    cases.mkdir()
    options = ["--cases", cases, "--state", tmp_path]
    ran = sluice("policy", "check", tmp_path / "p.yaml", *options)
    assert ran.returncode == 1
    assert f"{cases / 'p.yaml'}: 0 cases: there is no such file" in ran.stderr
    (cases / "p.yaml").write_text("version: 1\ncases: []\n", "utf-8")
    assert sluice("policy", "check", tmp_path / "p.yaml", *options).returncode != 0


def test_a_file_that_cant_be_read_does_not_hide_the_mistakes_of_the_next(tmp_path):
    (tmp_path / "a.yaml").write_bytes("# 策略\n".encode("gbk"))
    (tmp_path / "b.yaml").write_text("version: 2\n", "utf-8")
    good = "version: 1\nname: p\nbaseline: llama-4-scout@p5-scout\nrules: [{id: a, use: cpu}]\n"
    (tmp_path / "c.yaml").write_text(good, "utf-8")
    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "c.yaml").write_text("version: 1\ncases: 7\n", "utf-8")
    named = [tmp_path / f"{name}.yaml" for name in "abc"]
    ran = sluice("policy", "check", *named, "--cases", cases, "--state", tmp_path)
    assert ran.returncode == 3
    for said in ("a.yaml:1: not UTF-8", "b.yaml:1: ", "cases/c.yaml:2: "):
        assert said in ran.stderr
    assert ran.stderr.count(": refused") == 3


def test_doctor_says_what_is_there_and_what_is_not(tmp_path, upstream, closed_port):
    dead = f"http://127.0.0.1:{closed_port}/v1"
    text = catalogue(fleet("one", upstream.url), fleet("two", dead))
    (tmp_path / "fleets.yaml").write_text(text, "utf-8")
    (tmp_path / "policy.yaml").write_text(policy(), "utf-8")
    options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    ran = sluice("doctor", *options, "--state", tmp_path, "--json")
    found = {finding["what"]: finding for finding in json.loads(ran.stdout)}
    assert ran.returncode == 1
    assert found["fleet two"]["verdict"] == "failed"
    assert "refused" in found["fleet two"]["detail"]
    assert found["policy and fleets"]["verdict"] == "ok"
    assert found["python"]["verdict"] == "ok"


def test_doctor_in_an_empty_folder_makes_nothing_and_says_how_to_start(tmp_path, closed_port):
    ran = sluice("doctor", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "state folder: .sluice: not there yet" in ran.stdout
    if ran.returncode:  # else a demo runs on this machine
        assert ran.stdout.count("`sluice up` starts the embedded fleets") >= 1
        assert "mend its url" not in ran.stdout


def test_doctor_warns_of_fleets_whose_cost_nobody_knows(tmp_path, closed_port):
    dead = f"http://127.0.0.1:{closed_port}/v1"
    unpriced = fleet("two", dead).replace("us-east-1", "mars-1")
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", dead), unpriced), "utf-8")
    ran = sluice("doctor", "--fleets", tmp_path / "fleets.yaml", "--state", tmp_path, "--json")
    costs = [found for found in json.loads(ran.stdout) if found["what"].startswith("cost of")]
    assert [(found["what"], found["verdict"]) for found in costs] == [("cost of two", "warning")]
    assert "no on_demand price of" in costs[0]["advice"]
    assert "mars-1" in costs[0]["advice"]


def test_help_and_version_answer(tmp_path):
    assert "route" in sluice("--help").stdout
    assert sluice("--version").stdout.startswith("sluice, version ")


def test_sigterm_ends_the_router_in_good_order(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    router.chat()
    router.process.terminate()
    assert router.process.wait(60) == 0
    assert "Traceback" not in router.log()


def test_keys_are_printed_once_as_text_or_json(tmp_path):
    plain = sluice("keys", "create", "--tenant", "a", "--state", tmp_path)
    assert plain.stdout.startswith("sk-sluice-")
    as_json = sluice("keys", "create", "--tenant", "a", "--state", tmp_path, "--json")
    assert list(json.loads(as_json.stdout)) == ["key"]
    assert isinstance(plain, subprocess.CompletedProcess)


def test_names_of_a_key_may_be_chinese_and_it_may_add_any_tag(tmp_path):
    names = ["--tenant", "商店", "--team", "客服", "--tag", "数据=隐私", "--allow-tag", "*"]
    ran = sluice("keys", "create", *names, "--state", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""


def test_a_keys_lanes_and_models_are_looked_up(tmp_path, upstream):
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", upstream.url)), "utf-8")
    create = ["keys", "create", "--tenant", "a", "--state", tmp_path]
    for option, right in [("--lane", "cpu"), ("--model", "m")]:
        ours = sluice(*create, option, "nope", "--fleets", tmp_path / "fleets.yaml")
        assert ours.returncode == 3
        assert f"unknown {option[2:]} `nope` (known: {right})" in ours.stderr
        assert ours.stdout == ""
        assert sluice(*create, option, right, "--fleets", tmp_path / "fleets.yaml").stderr == ""
    # The router may be started with fleets that nobody named here.
    embedded = sluice(*create, "--lane", "nope")
    assert embedded.returncode == 0
    assert embedded.stdout.startswith("sk-sluice-")
    assert "no embedded fleet has lane `nope` (known: accelerator, cpu)" in embedded.stderr


def test_a_key_of_a_folder_that_no_router_has_yet_is_told(tmp_path):
    create = ["keys", "create", "--tenant", "a", "--state", tmp_path / "new"]
    assert "is new: only a router of the same `--state` knows this key" in sluice(*create).stderr
    assert sluice(*create).stderr == ""

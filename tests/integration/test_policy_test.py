"""`sluice policy test`, and what `policy check` says of order, fleets and keys: real commands."""

import json
import sqlite3
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from router.cli.main import cli

POLICY = """\
version: 1
name: shop
baseline: llama-4-scout@p5-scout
defaults: {relax: [slo.ttft, slo.e2e, quality_floor]}
rules:
  - {id: simple, when: {tier: simple}, use: {in_order: [cpu, accelerator]}}
  - {id: code, when: {task: code}, use: accelerator}
  - {id: rest, use: accelerator}
"""
SECRET = "这条评论是正面还是负面？「机密-4711」"
CASES = f"""\
version: 1
cases:
  - name: a review
    prompt: {SECRET}
    expect: {{rule: simple, lane: cpu, usd_at_most: 0.001}}
  - name: 代码
    facts: {{tier: heavy, task: code}}
    expect: {{rule: code, lane: accelerator}}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "shop.yaml").write_text(POLICY, "utf-8")
    (tmp_path / "tests" / "shop.yaml").write_text(CASES, "utf-8")
    return tmp_path


def sluice(place, *words):
    state = ["--state", str(place / "state")]
    return CliRunner().invoke(cli, ["policy", *map(str, words), *state])


def test_cases_beside_the_policy_are_found_run_and_counted(place):
    ran = sluice(place, "test", place / "shop.yaml")
    assert ran.exit_code == 0
    assert f"{place / 'shop.yaml'}: 2 of 2 cases pass, 2 of 3 rules reached (shop " in ran.stdout
    assert ran.stderr == f"warning: {place / 'shop.yaml'}:8: rule rest: no case reaches it\n"


@pytest.mark.parametrize("cases", ["tests", "tests/shop.yaml"])
def test_cases_are_a_folder_or_a_file(place, cases):
    assert sluice(place, "test", place / "shop.yaml", "--cases", place / cases).exit_code == 0


def test_too_few_rules_reached_is_a_failure_that_names_them(place):
    options = ["--min-coverage", "100", "--junit", place / "out.xml"]
    ran = sluice(place, "test", place / "shop.yaml", *options)
    assert ran.exit_code == 1
    assert f"{place / 'shop.yaml'}:8: rule rest: no case reaches it" in ran.stderr
    assert "the cases reach 2 of 3 rules (66.6 %), 100 % asked for" in ran.stderr
    (suite,) = ET.fromstring((place / "out.xml").read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert sluice(place, "test", place / "shop.yaml", "--min-coverage", "66").exit_code == 0


def test_a_case_that_fails_is_told_with_its_line_in_words_json_and_junit(place):
    cases = place / "tests" / "shop.yaml"
    cases.write_text(CASES.replace("lane: cpu", "lane: accelerator"), "utf-8")
    said = f"{cases}:3: a review: lane: expected accelerator, got cpu (local-qwen3-tiny serves)"
    ran = sluice(place, "test", place / "shop.yaml", "--junit", place / "out.xml")
    assert ran.exit_code == 1
    assert said in ran.stderr.splitlines()
    found = sluice(place, "test", place / "shop.yaml", "--json")
    assert found.exit_code == 1
    told = json.loads(found.stdout)
    assert (told["passed"], told["failed"], told["coverage"]["percent"]) == (1, 1, 66.6)
    assert told["coverage"]["unreached"] == [{"rule": "rest", "where": f"{place}/shop.yaml:8"}]
    first, second = told["cases"]
    assert (first["name"], first["rule"], len(first["failures"])) == ("a review", "simple", 1)
    assert (second["name"], second["fleet"], second["failures"]) == ("代码", "trn2-scout", [])
    (suite,) = ET.fromstring((place / "out.xml").read_bytes())
    assert [(case.get("line"), len(case)) for case in suite] == [("3", 1), ("6", 0)]
    for text in (ran.output, found.output, (place / "out.xml").read_text("utf-8")):
        assert "4711" not in text


def test_no_cases_are_no_pass(place):
    (place / "tests" / "shop.yaml").unlink()
    ran = sluice(place, "test", place / "shop.yaml")
    assert ran.exit_code == 1
    assert "tests/shop.yaml: 0 cases: there is no such file (`--cases` names another)" in ran.stderr
    assert sluice(place, "test", place / "shop.yaml", "--cases", place / "tests").exit_code == 1
    (place / "tests" / "shop.yaml").write_text("version: 1\ncases: []\n", "utf-8")
    ran = sluice(place, "test", place / "shop.yaml")
    assert (ran.exit_code, "cases: is empty" in ran.stderr) == (3, True)


def test_a_policy_or_a_case_that_is_wrong_is_invalid_input(place):
    (place / "tests" / "shop.yaml").write_text(f"{CASES}    expct: 1\n", "utf-8")
    ran = sluice(place, "test", place / "shop.yaml")
    assert ran.exit_code == 3
    assert "shop.yaml:9: cases[1]: unknown key `expct` (did you mean `expect`?" in ran.stderr
    (place / "tests" / "shop.yaml").write_text(CASES.replace("lane: cpu", "lane: gpu"), "utf-8")
    ran = sluice(place, "test", place / "shop.yaml")
    said = "cases[0].expect.lane: unknown lane `gpu` ("
    assert (ran.exit_code, said in ran.stderr) == (3, True)
    (place / "shop.yaml").write_text(POLICY.replace("use: accelerator", "use: gpu"), "utf-8")
    ran = sluice(place, "test", place / "shop.yaml")
    assert (ran.exit_code, "shop.yaml:7: rule code: unknown lane `gpu`" in ran.stderr) == (3, True)
    # a mistyped flag is exit 2 of click's own; `main` makes it 3 for every command
    assert sluice(place, "test", place / "shop.yaml", "--min-coverage", "101").exit_code in {2, 3}


def test_a_report_never_overwrites_what_is_read(place):
    for read in ("shop.yaml", "tests/shop.yaml"):
        before = (place / read).read_text("utf-8")
        ran = sluice(place, "test", place / "shop.yaml", "--junit", place / read)
        assert (ran.exit_code, "is read: name another file" in ran.stderr) == (3, True)
        assert (place / read).read_text("utf-8") == before
    ran = sluice(place, "test", place / "shop.yaml", "--junit", place / "no" / "out.xml")
    assert (ran.exit_code, "No such file" in ran.stderr) == (3, True)


def test_check_runs_the_same_cases_and_judges_their_prompts(place):
    cases = ["--cases", place / "tests"]
    ran = sluice(place, "check", place / "shop.yaml", *cases)
    assert (ran.exit_code, "2 cases pass" in ran.stdout) == (0, True)


BROKEN = POLICY.replace(
    "  - {id: rest", "  - {id: tickets, when: {tier: simple, team: x}, use: cpu}\n  - {id: rest"
)


def test_warnings_are_told_and_end_the_command_only_where_that_is_asked_for(place):
    path = place / "shop.yaml"
    path.write_text(BROKEN, "utf-8")
    said = f"{path}:8: rule tickets: never reached: rule `simple` above takes every request that"
    ran = sluice(place, "check", path)
    assert (ran.exit_code, f"warning: {said}" in ran.stderr) == (0, True)
    assert sluice(place, "check", path, "--strict").exit_code == 1
    found = sluice(place, "check", path, "--strict", "--json")
    assert found.exit_code == 1
    (told,) = json.loads(found.stdout)
    (odd,) = told["oddities"]
    assert (odd["kind"], odd["where"]) == ("unreachable", f"{path}:8")
    assert told["warnings"] == [f"{odd['where']}: {odd['message']}"]
    path.write_text(POLICY, "utf-8")
    assert sluice(place, "check", path, "--strict").exit_code == 0


def test_tags_are_held_against_the_keys_of_the_state_folder(place):
    budget = "budgets: [{id: b, match: {tags: {cc: '*'}}, usd: 5, per: day, when_spent: reject}]\n"
    (place / "shop.yaml").write_text(POLICY + budget, "utf-8")
    assert sluice(place, "check", place / "shop.yaml").stderr == ""  # no keys, nothing to say
    state = ["--state", str(place / "state")]
    made = CliRunner().invoke(cli, ["keys", "create", "--tenant", "t", "--allow-tag", "cc", *state])
    assert made.exit_code == 0
    ran = sluice(place, "check", place / "shop.yaml")
    assert "shop.yaml:9: budget b: tag `cc`: whoever calls by `" in ran.stderr
    assert "sk-sluice-" not in ran.output
    (key,) = json.loads(CliRunner().invoke(cli, ["keys", "list", "--json", *state]).stdout)["keys"]
    CliRunner().invoke(cli, ["keys", "revoke", key["id"], *state])
    assert sluice(place, "check", place / "shop.yaml").stderr == ""  # a revoked one calls no more


def test_a_store_of_keys_that_cant_be_read_is_told_and_the_policy_checked(place):
    (place / "state").mkdir()
    with sqlite3.connect(place / "state" / "sluice.db") as db:
        db.execute("CREATE TABLE keys (id TEXT)")
    db.close()
    ran = sluice(place, "check", place / "shop.yaml")
    assert ran.exit_code == 0
    assert "warning: its tags are not held against the keys: " in ran.stderr

"""`sluice policy diff`, whole: real files, the router's own decisions, real replays."""

import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner

from backends.load import Load
from policies.model import Facts
from router.cli.errors import INVALID
from router.cli.main import cli
from router.decide import decide
from router.receipt import Outcome, receipt
from router.sources import Sources

EXAMPLES = Path(str(resources("policies"))) / "examples"
BALANCED, LATENCY = EXAMPLES / "balanced.yaml", EXAMPLES / "lowest-latency.yaml"
TICKET = Facts(
    at="", tenant="acme", team="客服", key="k", tags={}, task="classification", tier="simple",
    complexity=0.1, p_small=0.95, language="zh-Hans", tokens_in=40, tokens_out=4,
    tokens_in_bound=300,
)  # fmt: skip
CHARGE = {"tokens_in": 51, "tokens_out": 9}
TRACE = "gen:poisson?rate=0.5&seconds=2400"
FIGURES_ALONE = ("--no-curve", "--no-rivals", "--json")
SHORT = "gen:poisson?rate=0.2&seconds=200"
FLEETS = """version: 1
fleets:
  - id: slow
    model: qwen3-0.6b
    lane: cpu
    engine: llama.cpp
    kind: openai_http
    url: http://127.0.0.1:8081/v1
    instance: c8g.xlarge
    region: us-east-1
    {price}
    profile: c8g.xlarge/qwen3-0.6b
    replicas: {{min: 1, max: 4, concurrency_each: 4, scale_out_at: 0.7}}
models:
  - id: qwen3-0.6b
    context_tokens: 32768
    abilities: [json]
    languages: [en, zh]
    quality: qwen3-0.6b
"""
POLICY = """version: 1
name: {name}
baseline: qwen3-0.6b@slow
defaults: {{relax: [slo.ttft, slo.e2e, quality_floor]}}
rules:
  - {{id: night, when: {{task: code}}, use: cpu}}
  - {{id: rest, use: cpu}}
"""
BUDGET = """budgets:
  - {{id: search-team, match: {{team: search}}, usd: {usd}, per: month, when_spent: reject}}
"""


@pytest.fixture(autouse=True)
def _as_main_does(monkeypatch):
    monkeypatch.setattr(click.UsageError, "exit_code", INVALID)


def ran(*arguments):
    return CliRunner().invoke(cli, ["policy", "diff", *map(str, arguments)])


def json_of(*arguments):
    result = ran(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return orjson.loads(result.stdout)


@pytest.fixture(scope="module")
def found():
    return json_of(BALANCED, LATENCY, "--trace", TRACE, "--per", "week", "--seeds", 2)


@pytest.fixture
def mine(tmp_path):
    """Return a function that writes fleets and two policies, and gives the arguments."""

    def written(old="", new="", *, price="usd_per_hour: 0.16", old_name="shop", new_name="shop"):
        fleets = tmp_path / "fleets.yaml"
        fleets.write_text(FLEETS.format(price=price), "utf-8")
        paths = tmp_path / "old.yaml", tmp_path / "new.yaml"
        names = (old_name, new_name)
        for path, name, more in zip(paths, names, (old, new), strict=True):
            path.write_text(POLICY.format(name=name) + more, "utf-8")
        return [*paths, "--fleets", fleets]

    return written


# -- in words --------------------------------------------------------------------------------------


def test_without_a_trace_it_tells_what_changed_in_words():
    result = ran(BALANCED, LATENCY)
    assert result.exit_code == 0
    assert "policy: name: balanced -> lowest-latency" in result.stdout
    assert "in money" not in result.stdout


def test_comments_alone_change_nothing_and_it_says_so(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("# cheaper\n" + BALANCED.read_text("utf-8"), "utf-8")
    result = ran(BALANCED, other)
    assert "nothing changed in meaning: the compiled policies are equal" in result.stdout
    assert json_of(BALANCED, other)["same_meaning"]


# -- in money --------------------------------------------------------------------------------------


def test_with_a_trace_it_tells_the_bill_with_an_interval_times_ways_and_rules(found):
    replay = found["replay"]
    old, new = replay["old"], replay["new"]
    assert replay["usd_change"] == pytest.approx(new["usd_total"] - old["usd_total"], abs=1e-6)
    low, high = replay["usd_change_interval"]
    assert low <= replay["usd_change"] <= high
    assert replay["moved"] == sum(row["requests"] for row in replay["moves"]) > 0
    assert sum(old["rules"].values()) <= replay["requests"]
    assert {row["team"] for row in replay["moves"]} <= set(old["usd_by_team"])
    weeks = replay["extrapolated"]["usd_change"] / replay["usd_change"]
    assert weeks == pytest.approx(7 * 86_400 / replay["seconds"], rel=1e-6)


def test_the_bills_are_those_that_replay_tells_but_for_the_time_until_the_other_ends(found):
    run = CliRunner().invoke(
        cli,
        ["replay", TRACE, "--policy", str(LATENCY), "--against", str(BALANCED), *FIGURES_ALONE],
    )
    told = orjson.loads(run.stdout)
    for mine, theirs in (("new", told), ("old", told["against"])):
        figures = found["replay"][mine]
        assert figures["usd_allocated"] == pytest.approx(theirs["usd_allocated"])
        assert figures["usd_total"] >= theirs["usd_total"] - 1e-6
        assert figures["ttft_ms"]["p95"] == pytest.approx(theirs["ttft_ms"]["p95"], rel=1e-6)


def test_replay_against_tells_the_same_change(found):
    run = CliRunner().invoke(
        cli,
        ["replay", TRACE, "--policy", str(LATENCY), "--against", str(BALANCED), *FIGURES_ALONE],
    )
    delta = orjson.loads(run.stdout)["delta"]
    assert delta["usd_total"] == pytest.approx(found["replay"]["usd_change"], abs=1e-6)
    assert delta["moved"] == found["replay"]["moved"]


def test_turned_round_every_change_has_the_other_sign(found):
    back = json_of(LATENCY, BALANCED, "--trace", TRACE, "--seeds", 1)["replay"]
    assert back["usd_change"] == pytest.approx(-found["replay"]["usd_change"], abs=1e-6)
    assert back["moved"] == found["replay"]["moved"]
    assert back["new"]["usd_total"] == found["replay"]["old"]["usd_total"]
    ways = {(r["team"], r["task"], r["was"], r["now"]) for r in found["replay"]["moves"]}
    assert {(r["team"], r["task"], r["now"], r["was"]) for r in back["moves"]} == ways


def test_equal_policies_over_a_trace_make_no_difference(tmp_path):
    other = tmp_path / "other.yaml"
    shutil.copy(BALANCED, other)
    result = ran(BALANCED, other, "--trace", SHORT)
    assert "no difference: every request goes where it went" in result.stdout
    assert "no request moves" in result.stdout


def test_a_budget_that_the_new_policy_brings_and_that_breaks_is_told(mine):
    paths = mine("", BUDGET.format(usd=0.0000001))
    result = ran(*paths, "--trace", SHORT, "--seeds", 1, "--fail-if", "budgets_broken > 0")
    assert "budget `search-team` of team=search in " in result.stdout
    assert " breaks (reject): first time never -> after 0:0" in result.stdout
    assert "FAILS  fail if budgets_broken > 0: budgets_broken is 1" in result.stdout
    assert result.exit_code == 1


def test_other_fleets_for_the_new_policy_are_told_beside_the_words(mine, tmp_path):
    paths = mine()
    dear = tmp_path / "dear.yaml"
    dear.write_text(FLEETS.format(price="usd_per_hour: 0.32"), "utf-8")
    told = json_of(*paths, "--fleets-new", dear, "--trace", SHORT, "--seeds", 1)
    assert told["same_meaning"]
    assert "runs on the fleets of dear.yaml" in told["notes"][0]
    old, new = (told["replay"][side]["usd_total"] for side in ("old", "new"))
    assert new == pytest.approx(2 * old, rel=1e-3)


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path):
    reports = tmp_path / "a.md", tmp_path / "b.md"
    here, there = (
        [BALANCED, LATENCY, "--trace", SHORT, "--seeds", "2", "--markdown", report, "--json"]
        for report in reports
    )
    first = ran(*here)
    second = subprocess.run(
        [sys.executable, "-m", "router.cli", "policy", "diff", *map(str, there)],
        capture_output=True,
        check=True,
    )
    assert first.stdout_bytes == second.stdout
    assert reports[0].read_bytes() == reports[1].read_bytes()


@pytest.fixture
def receipts(tmp_path):
    """Return a file of receipts of an idle router, one a second."""
    world = Sources(Path("nowhere")).load()
    idle = [Load(committed=on.fleet.replicas.min) for on in world.fleets]
    lines = [
        receipt("r", world, decide(world, facts, idle), Outcome(charge=CHARGE)).decode()
        for facts in (replace(TICKET, at=f"2026-01-05T12:00:{i:02d}.000Z") for i in range(20))
    ]
    path = tmp_path / "receipts.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_over_receipts_it_is_their_own_teams_that_move_and_nothing_is_drawn(receipts):
    told = json_of(BALANCED, LATENCY, "--trace", receipts)
    assert set(told["replay"]["old"]["usd_by_team"]) == {"acme/客服"}
    assert len(told["replay"]["seeds"]) == 1


@pytest.mark.parametrize(("flag", "value"), [("--simple-share", 0.5), ("--seeds", 3)])
def test_what_is_of_a_mix_alone_is_refused_for_receipts(receipts, flag, value):
    said = refused(BALANCED, LATENCY, "--trace", receipts, flag, value)
    assert f"says itself who asked what: it goes without `{flag}`" in said


# -- conditions ------------------------------------------------------------------------------------


def test_a_condition_that_holds_is_exit_1_and_says_which_and_by_how_much():
    result = ran(
        BALANCED, LATENCY, "--trace", SHORT, "--seeds", 1,
        "--fail-if", "moved > 0", "--fail-if", "usd > 1000000",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "ok  fail if usd > 1000000" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("--fail-if moved > 0: moved is ")
    assert line.endswith(" beyond")


def test_a_price_that_nobody_knows_fails_a_condition_on_the_bill(mine):
    paths = mine(new="# another\n", price="", new_name="next")
    text = paths[3].read_text("utf-8").replace("c8g.xlarge\n", "x1.mystery\n", 1)
    paths[3].write_text(text, "utf-8")
    result = ran(*paths, "--trace", SHORT, "--seeds", 1, "--fail-if", "usd > +5%")
    assert result.exit_code == 1, result.output
    assert "usd > +5%: can't be judged: `usd` is unknown" in result.stderr
    assert "what it costs can't be told: a price is unknown" in result.stdout


# -- the report for a pull request -----------------------------------------------------------------


def test_markdown_can_be_printed_in_place_of_the_text():
    result = ran(BALANCED, LATENCY, "--markdown", "-", "--trace", SHORT, "--seeds", 1)
    assert result.stdout.startswith("### Policy diff: balanced (")
    assert "<details><summary>Requests that move: " in result.stdout
    assert "in words\n" not in result.stdout


def test_markdown_goes_into_a_file_beside_the_text(tmp_path):
    report = tmp_path / "report.md"
    result = ran(BALANCED, LATENCY, "--markdown", report)
    assert result.exit_code == 0
    assert "in words" in result.stdout
    assert "In words: " in report.read_text("utf-8")


# -- bad input -------------------------------------------------------------------------------------


def refused(*arguments):
    result = ran(*arguments)
    assert result.exit_code == INVALID, result.output
    return result.stderr


def test_the_same_file_twice_is_refused(tmp_path):
    link = tmp_path / "link.yaml"
    link.symlink_to(BALANCED)
    assert "OLD and NEW are the same file" in refused(BALANCED, link)


def test_both_policies_are_told_wrong_in_one_go_with_their_lines(tmp_path):
    texts = BALANCED.read_text("utf-8"), LATENCY.read_text("utf-8")
    paths = tmp_path / "old.yaml", tmp_path / "new.yaml"
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.replace("use:", "uses:", 1), "utf-8")
    said = refused(*paths)
    for path in paths:
        assert f"{path}:" in said
    assert said.count("unknown key") >= 2


def test_fleets_that_one_policy_does_not_fit_are_refused_with_the_line(mine):
    paths = mine()
    said = refused(BALANCED, *paths[1:])
    assert f"{BALANCED}:5: baseline: unknown model" in said
    assert "old.yaml" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail-if", "usd > +5%"], "--fail-if goes with `--trace` only"),
        (["--seed", "1", "--per", "week"], "--seed, --per go with `--trace` only"),
        (["--trace", SHORT, "--fail-if", "usdd > 1"], "unknown metric `usdd`, did you mean `usd`?"),
        (["--trace", SHORT, "--fail-if", "usd >> 1", "--fail-if", "x > 1"], "unknown metric `x`"),
        (["--trace", "no-such-file.csv"], "no-such-file.csv"),
        (["--trace", "gen:storm?rate=1"], "gen:storm"),
        (["--trace", str(BALANCED)], "this is no trace"),
        (["--markdown", "-", "--json"], "both want standard output"),
        (["--markdown", str(BALANCED)], "is read as well"),
        (["--markdown", "no/such/folder/x.md"], "no such folder"),
        (["--per", "year", "--trace", SHORT], "'year' is not one of"),
        (["--seeds", "0", "--trace", SHORT], "--seeds"),
        (["--simple-share", "1.5", "--trace", SHORT], "--simple-share"),
    ],
)
def test_what_is_wrong_is_invalid_input_and_says_what(options, said):
    assert said in refused(BALANCED, LATENCY, *options)


def test_a_policy_that_is_not_there_is_invalid_input():
    assert "no-such.yaml" in refused(BALANCED, "no-such.yaml")


def test_a_months_budget_that_an_hour_can_not_break_is_told_and_not_passed(tmp_path):
    tight = tmp_path / "tight.yaml"
    budget = "{id: all, match: {}, usd: 0.01, per: month, when_spent: reject}"
    absent = "{id: absent, match: {team: serach}, usd: 1, per: month, when_spent: reject}"
    text = BALANCED.read_text("utf-8")
    tight.write_text(f"{text}\nbudgets: [{budget}, {absent}]\n", "utf-8")
    trace = "gen:poisson?rate=0.1&seconds=600&in=fixed:60&out=fixed:20"
    asked = ("policy", "diff", str(BALANCED), str(tight), "--trace", trace, "--seeds", "1")
    ended = CliRunner().invoke(cli, [*asked, "--fail-if", "budgets_broken > 0"])
    assert ended.exit_code == 1
    assert "can't be judged: budget `all`" in ended.output
    assert "no request of the trace counts in budget `absent`" in ended.output

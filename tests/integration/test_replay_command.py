"""`sluice replay` as people call it."""

import gzip
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from backends import files
from backends.load import Load
from policies.model import Facts
from policies.parse import parse
from router.cli.main import cli
from router.decide import decide
from router.receipt import Outcome, receipt
from router.sources import names_of
from router.world import world

TRACE = "gen:poisson?rate=2&seconds=60"
FLEETS = """
version: 1
models:
  - {id: qwen3-0.6b, context_tokens: 32768, languages: [en, zh], quality: qwen3-0.6b}
  - {id: llama-4-scout, context_tokens: 131072, languages: [en, zh], quality: llama-4-scout}
fleets:
  - id: c8g
    model: qwen3-0.6b
    lane: cpu
    engine: llama.cpp
    kind: openai_http
    url: http://127.0.0.1:9/v1
    instance: c8g.xlarge
    region: us-east-1
    usd_per_hour: 0.15952
    replicas: {min: 1, max: 4, concurrency_each: 4, scale_out_at: 0.7}
    profile: c8g.xlarge/qwen3-0.6b
  - id: p5
    model: llama-4-scout
    lane: accelerator
    engine: vllm
    kind: openai_http
    url: http://127.0.0.1:9/v1
    instance: p5.48xlarge
    region: us-east-1
    replicas: {min: 1, max: 2, concurrency_each: 64, scale_out_at: 0.7}
    profile: p5.48xlarge/llama-4-scout
"""
POLICY = """
version: 1
name: {name}
baseline: llama-4-scout@p5
rules:
  - {{id: simple, when: {{tier: simple}}, use: {{in_order: [{first}]}}, slo: {{ttft_p95_ms: 5000}}}}
  - {{id: rest, use: [accelerator]}}
budgets: [{{id: teams, match: {{team: "*"}}, usd: 100, per: day, when_spent: reject}}]
"""
CSV = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("replay")
    (root / "fleets.yaml").write_text(FLEETS)
    (root / "a.yaml").write_text(POLICY.format(name="cpu-first", first="cpu, accelerator"))
    (root / "b.yaml").write_text(POLICY.format(name="large-first", first="accelerator, cpu"))
    return root


def called(folder, *args, trace=TRACE, policy="a.yaml"):
    given = ["replay", trace, "--fleets", f"{folder}/fleets.yaml", "--state", f"{folder}/state"]
    given += ["--policy", f"{folder}/{policy}"] if policy else []
    return CliRunner().invoke(cli, [*given, *map(str, args)])


@pytest.fixture(scope="module")
def told(folder):
    """The JSON of two policies against each other, with everything beside them."""
    found = called(folder, "--against", folder / "b.yaml", "--json")
    assert found.exit_code == 0, found.output
    return orjson.loads(found.stdout)


# -- what comes out --------------------------------------------------------------------------------


def test_the_money_closes(told):
    parts = ("usd_allocated", "usd_idle", "usd_variance", "usd_router")
    assert sum(told[part] for part in parts) == pytest.approx(told["usd_total"], abs=1e-8)
    bills = sum(row["usd_bill"] for row in told["by_fleet"])
    assert bills + told["usd_router"] == pytest.approx(told["usd_total"], abs=1e-8)


def test_every_request_is_in_one_rule_one_flow_and_one_outcome(told):
    assert told["requests"] == sum(row["requests"] for row in told["by_rule"])
    assert told["requests"] == sum(row["requests"] for row in told["flows"])
    assert told["requests"] == told["served"] + told["refused"] + told["timed_out"]


def test_the_baseline_attains_what_the_policy_does_with_one_replica_less_it_does_not(told):
    alone = told["baseline"]
    assert alone["reached"]
    assert alone["slo_attainment"] >= told["slo_attainment"]
    assert (alone["fleet"], told["usd_baseline"] > alone["usd_idle"] > 0) == ("p5", True)


def test_all_rivals_are_beside_the_policy(told):
    names = [row["rival"] for row in told["rivals"]]
    assert names == ["always-large", "always-small", "random", "length-rule", "oracle"]
    share = {row["rival"]: row["small_share"] for row in told["rivals"]}
    assert share["always-large"] == 0
    assert share["random"] == pytest.approx(told["quality"]["small_share"], abs=0.05)


def test_the_saving_is_told_for_every_simple_share(told):
    curve = told["saving_by_simple_share"]
    assert [row["simple_share"] for row in curve] == [step / 10 for step in range(11)]
    small = [row["small_share"] for row in curve]
    assert small[0] == 0 < small[-1]
    (here,) = [row for row in curve if row["simple_share"] == 0.6]
    assert here["usd_total"] == told["usd_total"]  # the share that the rest of the report is for


def test_the_delta_is_the_difference_to_the_other_policy(told):
    delta, other = told["delta"], told["against"]
    assert delta["against"]["name"] == "large-first" == other["policy"]["name"]
    assert delta["usd_total"] == pytest.approx(told["usd_total"] - other["usd_total"], abs=2e-9)
    assert delta["moved"] > 0


def test_every_field_is_documented(told):
    page = (Path(__file__).parents[2] / "docs" / "replay.md").read_text("utf-8")
    (table,) = re.findall(r"^\| field of `replay --json`.*?\n\n", page, re.MULTILINE | re.DOTALL)
    listed = {
        name
        for row in table.strip().splitlines()
        for name in re.findall("`(.*?)`", row.split("|")[1])
    }
    assert listed - {"policies", "replay --json"} == set(told)


def test_what_was_assumed_is_told(told):
    said = " ".join(told["assumptions"])
    assert "60% of the requests are taken for simple" in said
    assert told["settings"]["seed"] == 0


def test_several_policies_stand_beside_each_other(folder):
    args = ("--policy", folder / "b.yaml", "--no-curve", "--no-rivals", "--json")
    told = orjson.loads(called(folder, *args).stdout)
    assert [row["policy"]["name"] for row in told["policies"]] == ["cpu-first", "large-first"]
    assert told["policies"][0]["usd_total"] == told["usd_total"]
    assert told["delta"] is None
    assert told["rivals"] == []


def test_the_text_has_the_money_the_rules_the_rivals_the_curve_and_the_assumptions(folder):
    found = called(folder, "--policy", folder / "b.yaml")
    assert found.exit_code == 0, found.output
    for said in ("cpu-first", "large-first", "always-small", "saving over the simple share"):
        assert said in found.stdout
    assert found.stdout.rstrip().splitlines()[-1].startswith("  - ")
    assert "cpu-first: " in found.stderr  # what it was busy with


def test_another_seed_is_another_run(folder):
    quick = ("--no-curve", "--no-rivals", "--json")
    assert called(folder, *quick).stdout != called(folder, *quick, "--seed", 1).stdout


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def azure(folder):
    path = folder / "azure.csv.gz"
    rows = [f"2023-11-16 18:17:{s:02d}.0000000,{300 + 10 * s},{5 + s % 7}" for s in range(60)]
    path.write_bytes(gzip.compress((CSV + "\n".join(rows) + "\n").encode(), mtime=0))
    return path


@pytest.fixture(scope="module")
def report(folder, azure):
    """Two pages and what was printed: of this process, and of one of its own."""
    pages = [folder / "one.html", folder / "two.html"]
    here = called(folder, "--html", pages[0], "--json", trace=str(azure))
    args = [sys.executable, "-m", "router.cli", "replay", str(azure), "--html", str(pages[1])]
    args += ["--fleets", f"{folder}/fleets.yaml", "--policy", f"{folder}/a.yaml", "--json"]
    done = subprocess.run(args, capture_output=True, check=True, timeout=300)
    return pages, [here.stdout_bytes, done.stdout]


def test_the_same_input_gives_the_same_bytes(report):
    (one, two), (printed, again) = report
    assert printed == again
    assert one.read_bytes() == two.read_bytes()


def test_the_page_is_whole_and_asks_the_network_for_nothing(report):
    page = report[0][0].read_text("utf-8")
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    for heading in ("What it comes to", "Saving over the simple share", "Budgets", "assumed"):
        assert heading in page


def test_each_picture_has_a_title_and_ids_of_its_own(report):
    page = report[0][0].read_text("utf-8")
    assert page.count("<svg") == page.count('role="img"') == page.count("<figure>") > 5
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    named = set(re.findall(r'aria-labelledby="([^"]+)"', page))
    assert named <= set(ids)


def test_texts_of_pictures_stay_texts(report):
    page = report[0][0].read_text("utf-8")
    assert re.search(r"<text[^>]*>[^<]*minutes since the trace", page)


def test_an_interrupted_replay_writes_no_report(folder):
    report, long = folder / "cut.html", "gen:poisson?rate=100&seconds=3600"
    args = [sys.executable, "-m", "router.cli", "replay", long, "--html", str(report)]
    # What is started in the background of a script has it ignored; no thread runs here.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(args, **pipes, text=True, preexec_fn=heard) as ran:  # noqa: PLW1509
        assert "requests" in ran.stderr.readline()  # at work
        ran.send_signal(signal.SIGINT)
        said = ran.stderr.read()
    assert ran.returncode == 1
    assert "Aborted" in said
    assert not report.exists()


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--policy", "{folder}/a.yaml"], "given twice"),
        (["--against", "{folder}/a.yaml"], "the same policy"),
        (["--against", "{folder}/none.yaml"], "does not exist"),
        (["--html", "{folder}/a.yaml"], "is read as well"),
        (["--html", "{folder}/fleets.yaml"], "is read as well"),
        (["--html", "{folder}"], "is a directory"),
        (["--html", "{folder}/nowhere/report.html"], "no such folder"),
        (["--simple-share", "1.5"], "simple-share"),
        (["--look", "0"], "look"),
        (["--queue", "-1"], "queue"),
        (["--queue", str(2**64)], "queue"),
        (["--queue-s", "inf"], "queue-s"),
        (["--spot-interruptions", "1e300"], "spot-interruptions"),
        (["--seed", str(2**64)], "seed"),
        (["--html", ""], "is a folder, or no name"),
    ],
)
def test_wrong_options_are_invalid_input(folder, args, said):
    found = called(folder, *(arg.format(folder=folder) for arg in args))
    assert found.exit_code in (2, 3)  # 2: click's own, which `main` turns into 3
    assert said in found.output


def test_a_page_over_the_trace_is_refused(folder, azure):
    found = called(folder, "--html", azure, trace=str(azure))
    assert found.exit_code == 3
    assert "is read as well" in found.output


def test_a_policy_of_other_fleets_is_refused_with_its_line(folder):
    found = CliRunner().invoke(cli, ["replay", TRACE, "--policy", f"{folder}/a.yaml"])
    assert found.exit_code == 3
    assert "a.yaml:4" in found.output
    assert "p5" in found.output


def test_a_trace_without_requests_is_refused(folder):
    (folder / "empty.csv").write_text(CSV)
    found = called(folder, trace=f"{folder}/empty.csv")
    assert found.exit_code == 3
    assert "empty.csv" in found.output


def test_a_trace_that_is_not_there_is_refused(folder):
    found = called(folder, trace=f"{folder}/none.csv")
    assert found.exit_code == 3
    assert "none.csv" in found.output


def test_without_matplotlib_the_page_is_refused_before_the_work(folder):
    (folder / "matplotlib").mkdir()
    (folder / "matplotlib" / "__init__.py").write_text("raise ImportError('no matplotlib')")
    args = [sys.executable, "-m", "router.cli", "replay", TRACE, "--html", f"{folder}/never.html"]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    ran = subprocess.run(args, capture_output=True, text=True, env=env, check=False, timeout=120)
    assert ran.returncode == 2
    assert "pip install matplotlib" in ran.stderr
    assert "requests" not in ran.stderr


# -- our own receipts ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def receipts(folder):
    """Receipts of a Chinese and an English team, a second apart."""
    catalogue = files.catalogue(folder / "fleets.yaml")
    policy = parse((folder / "a.yaml").read_text("utf-8"), "a.yaml", names_of(catalogue))
    now = world(policy, catalogue)
    idle = [Load(committed=fleet.replicas.min) for fleet in catalogue.fleets]
    written = []
    for second in range(20):
        facts = Facts(
            at=f"2026-01-05T12:00:{second:02d}.000Z",
            tenant="shop",
            team="搜索团队" if second % 2 else "search",
            key="0123abcd",
            tags={},
            task="classification",
            tier="simple" if second % 4 else "heavy",
            complexity=0.1,
            p_small=0.95,
            language="zh-Hans",
            tokens_in=40,
            tokens_out=4,
            tokens_in_bound=300,
        )
        charge = {"tokens_in": 51, "tokens_out": 9}
        outcome = Outcome(charge=charge)
        written.append(receipt(f"req_{second}", now, decide(now, facts, idle), outcome))
    path = folder / "day.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in written))
    return path


def test_receipts_have_real_shares_and_no_curve(folder, receipts):
    told = orjson.loads(called(folder, "--json", trace=str(receipts)).stdout)
    assert told["saving_by_simple_share"] == []
    by_rule = {row["rule"]: row["requests"] for row in told["by_rule"]}
    assert by_rule == {"simple": 15, "rest": 5}
    values = {row["value"] for row in told["budgets"]}
    assert values == {"team=搜索团队", "team=search"}


def test_a_simple_share_for_receipts_is_refused(folder, receipts):
    found = called(folder, "--simple-share", "0.3", trace=str(receipts))
    assert found.exit_code == 3
    assert "without `--simple-share`" in found.output


def test_chinese_names_are_texts_of_the_pictures(folder, receipts):
    page = folder / "zh.html"
    found = called(folder, "--html", page, trace=str(receipts))
    assert found.exit_code == 0, found.output
    assert re.search(r"<text[^>]*>[^<]*搜索团队", page.read_text("utf-8"))

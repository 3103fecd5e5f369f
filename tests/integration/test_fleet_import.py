"""`sluice fleet import`, as typed: what it writes, what it refuses, what routing makes of it."""

import json
from pathlib import Path

import pytest
import yaml
from support import sluice

from backends import files

BENCH = Path(__file__).parents[1] / "data" / "bench"


def imported(tmp_path, name, *more, instance="c8g.xlarge"):
    return sluice(
        "fleet", "import", BENCH / name, "--instance", instance, "--region", "us-east-1",
        "--state", tmp_path, *more,
    )  # fmt: skip


def told(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_report_becomes_a_profile_that_is_read_beside_the_packaged_ones(tmp_path):
    found = told(imported(tmp_path, "llama-batched-bench.jsonl", "--model", "our-model", "--json"))
    assert found["profile"] == "c8g.xlarge/our-model"
    assert found["points"] == 4
    assert found["warnings"] == []
    assert Path(found["written"]).parent == tmp_path / "profiles"
    profile = files.library(tmp_path).profiles["c8g.xlarge/our-model"]
    assert profile.speed(8).tok_s == pytest.approx(145.79, rel=1e-3)
    assert profile.mark == "measured"
    row = yaml.safe_load(Path(found["written"]).read_text())["profiles"][0]
    assert row["source"] == "llama-batched-bench.jsonl (llama-batched-bench)"
    assert row["engine"] == "llama.cpp"


def test_a_machine_that_the_model_fits_in_no_way_is_told(tmp_path):
    scout = "Llama-4-Scout-17B-16E-Instruct"
    for model in ("llama-4-scout", f"meta-llama/{scout}", scout.lower()):
        warnings = told(imported(tmp_path, "vllm-serve.json", "--model", model, "--json"))[
            "warnings"
        ]
        (said,) = [w for w in warnings if "fits c8g.xlarge in no quantisation" in w]
        assert "is `--instance` where it ran?" in said
    report = ["vllm-serve.json", "--model", "llama-4-scout", "--json"]
    assert told(imported(tmp_path, *report, instance="p5.48xlarge"))["warnings"] == []
    assert told(imported(tmp_path, *report, instance="our-own"))["warnings"] == []


def test_an_import_of_a_packaged_profile_takes_its_place(tmp_path):
    told(imported(tmp_path, "llama-batched-bench.jsonl", "--model", "qwen3-0.6b", "--json"))
    profile = files.library(tmp_path).profiles["c8g.xlarge/qwen3-0.6b"]
    assert len(profile.points) == 4


def test_a_second_import_adds_its_points_and_replaces_those_of_the_same_load(tmp_path):
    told(imported(tmp_path, "vllm-serve.json", "--model", "m", "--json"))
    found = told(imported(tmp_path, "vllm-serve-append.jsonl", "--model", "m", "--json"))
    assert found["points"] == 3
    profile = files.library(tmp_path).profiles["c8g.xlarge/m"]
    assert [point.concurrency for point in profile.points] == [1, 8, 16, 32]
    again = told(imported(tmp_path, "vllm-serve.json", "--model", "m", "--json"))
    assert again["warnings"] == ["1 older points at the same loads and lengths are replaced"]
    rows = yaml.safe_load(Path(again["written"]).read_text())["profiles"][0]["points"]
    assert {row.get("source") for row in rows} == {
        "vllm-serve-append.jsonl (vllm bench serve)",
        None,
    }


def test_several_settings_in_one_file_are_several_profiles(tmp_path):
    found = told(imported(tmp_path, "llama-bench.json", "--json"))
    assert [row["profile"] for row in found["profiles"]] == [
        "c8g.xlarge/qwen3-0.6b-q4_0",
        "c8g.xlarge/qwen3-0.6b-q8_0",
    ]
    assert found["points"] == 4
    assert set(found["profiles"][0]) == {"profile", "points", "written"}
    assert "noisy" in found["warnings"][0]


def test_the_profile_may_be_written_elsewhere(tmp_path):
    out = tmp_path / "deep" / "profiles.yaml"
    found = told(imported(tmp_path, "vllm-serve.json", "--out", out, "--json"))
    assert found["written"] == str(out)
    assert found["profile"] == "c8g.xlarge/llama-4-scout-17b-16e-instruct"
    assert not (tmp_path / "profiles").exists()


def test_the_text_says_what_was_taken_and_what_to_do_with_it(tmp_path):
    run = imported(tmp_path, "guidellm-0.4.json")
    assert "c8g.xlarge/qwen3-8b" in run.stdout
    assert "a fleet uses it by `profile: c8g.xlarge/qwen3-8b`" in run.stdout
    assert "1 of 41 requests failed" in run.stderr


@pytest.mark.parametrize(
    ("name", "more", "code", "said"),
    [
        ("llama-batched-bench.jsonl", [], 3, "doesn't say which model it measured: give `--model`"),
        ("vllm-serve.json", ["--model", "a b"], 3, "`--model` `a b` is not a name"),
        ("vllm-serve.json", ["--instance", "../x y"], 3, "is not a name"),
        ("no-such.json", [], 3, "does not exist"),
    ],
)
def test_what_is_missing_is_told_and_nothing_is_written(tmp_path, name, more, code, said):
    run = imported(tmp_path, name, *more)
    assert run.returncode == code
    assert said in run.stderr
    assert not (tmp_path / "profiles").exists()


@pytest.mark.parametrize("missing", ["--instance", "--region"])
def test_a_report_never_says_where_it_was_measured_so_the_user_must(tmp_path, missing):
    flags = {"--instance": "c8g.xlarge", "--region": "us-east-1"}
    del flags[missing]
    given = [part for flag in flags.items() for part in flag]
    run = sluice("fleet", "import", BENCH / "vllm-serve.json", *given, "--state", tmp_path)
    assert run.returncode == 3
    assert f"Missing option '{missing}'" in run.stderr


def test_a_broken_report_is_told_with_its_line_and_leaves_the_profile_as_it_was(tmp_path):
    found = told(imported(tmp_path, "vllm-serve.json", "--model", "m", "--json"))
    before = Path(found["written"]).read_bytes()
    lines = (BENCH / "vllm-serve-append.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace('"completed": 128', '"completed": 0')
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join(lines))
    run = sluice("fleet", "import", broken, "--instance", "c8g.xlarge", "--region", "us-east-1",
                 "--model", "m", "--state", tmp_path)  # fmt: skip
    assert run.returncode == 3
    assert f"{broken}:3: `completed` 0 is none" in run.stderr
    assert Path(found["written"]).read_bytes() == before
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["c8g.xlarge--m.yaml"]


def test_another_engine_is_not_mixed_into_a_profile(tmp_path):
    told(imported(tmp_path, "vllm-serve.json", "--model", "m", "--json"))
    run = imported(tmp_path, "sglang-serving.jsonl", "--model", "m")
    assert run.returncode == 2
    assert "is of engine `vllm`, this is of `sglang`" in run.stderr
    assert "nothing is written" in run.stderr
    other = imported(tmp_path, "sglang-serving.jsonl", "--model", "m", "--engine", "vllm")
    assert other.returncode == 0


def test_of_a_file_with_several_profiles_none_is_written_unless_all_can_be(tmp_path):
    told(imported(tmp_path, "vllm-serve.json", "--model", "qwen3-0.6b-q8_0", "--json"))
    run = imported(tmp_path, "llama-bench.json")  # of Q4_0, which is free, and of Q8_0
    assert run.returncode == 2
    assert "nothing is written" in run.stderr
    names = [path.name for path in (tmp_path / "profiles").iterdir()]
    assert names == ["c8g.xlarge--qwen3-0.6b-q8_0.yaml"]


def test_an_engine_stays_though_a_later_report_does_not_name_it(tmp_path):
    told(imported(tmp_path, "vllm-serve.json", "--model", "m", "--json"))
    told(imported(tmp_path, "guidellm-0.4.json", "--model", "m", "--json"))
    assert imported(tmp_path, "sglang-serving.jsonl", "--model", "m").returncode == 2


def test_of_two_runs_at_one_load_the_earlier_is_left_out_and_told(tmp_path):
    line = (BENCH / "vllm-serve.json").read_text()
    file = tmp_path / "twice.jsonl"
    file.write_text(f"{line}\n{line}")
    found = told(imported(tmp_path, file, "--model", "m", "--json"))
    assert found["points"] == 1
    said = "1 runs at the load and lengths of a later one are left out"
    assert found["warnings"] == [f"profile c8g.xlarge/m: {said}"]


SECRET = "a text of somebody's"
VLLM = (BENCH / "vllm-serve.json").read_text().replace("{", f'{{"generated_texts": ["{SECRET}"], ')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\xff\xfe", "not UTF-8"),
        (b'{"choices": [{"text": "%b"}]}' % SECRET.encode(), "no tool that is known"),
        (VLLM.encode()[:-9], "report.json:1: "),
        (VLLM.replace("1264.97", "-1264.97").encode(), "`output_throughput` -1264.97"),
        (VLLM.encode() + b'\n{"prompt": "%b"}' % SECRET.encode(), "report.json:2: an unknown one"),
    ],
)
def test_a_file_that_is_no_report_ends_with_3_and_repeats_none_of_its_texts(
    tmp_path, content, said
):
    file = tmp_path / "report.json"
    file.write_bytes(content)
    run = imported(tmp_path, file, "--model", "m")
    assert run.returncode == 3
    assert f"{file}" in run.stderr
    assert said in run.stderr
    assert SECRET not in run.stderr + run.stdout
    assert not (tmp_path / "profiles").exists()


def test_a_profile_file_that_was_broken_by_hand_is_told_and_kept(tmp_path):
    path = tmp_path / "profiles" / "c8g.xlarge--m.yaml"
    path.parent.mkdir()
    path.write_text("version: 1\nprofiles: [{id: m}]\n")
    run = imported(tmp_path, "vllm-serve.json", "--model", "m")
    assert run.returncode == 3
    assert f"{path}:2" in run.stderr
    assert path.read_text().endswith("{id: m}]\n")


FLEETS = """\
version: 1
models: [{id: small, context_tokens: 8192}, {id: large, context_tokens: 8192}]
fleets:
  - {id: a, model: small, lane: cpu, engine: vllm, kind: openai_http, url: "http://127.0.0.1:9/v1",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b,
     replicas: {concurrency_each: 4}}
  - {id: b, model: large, lane: cpu, engine: vllm, kind: openai_http, url: "http://127.0.0.1:9/v1",
     instance: c8g.xlarge, region: us-east-1, profile: c7g.xlarge/qwen3-0.6b,
     replicas: {concurrency_each: 4}}
"""
POLICY = """\
version: 1
name: cheapest
baseline: large@b
defaults: {quality_floor: 0, slo: {}, minimize: average_cost}
rules: [{id: all, use: [cpu]}]
"""


def test_decisions_follow_what_was_imported(tmp_path):
    fleets, policy = tmp_path / "fleets.yaml", tmp_path / "policy.yaml"
    fleets.write_text(FLEETS)
    policy.write_text(POLICY)

    def winner():
        run = sluice("route", "hi", "--fleets", fleets, "--policy", policy, "--json",
                     "--state", tmp_path)  # fmt: skip
        return json.loads(run.stdout)["plan"][0]

    assert winner() == "a"  # 36.22 tok/s against 32.65
    # the other one turns out to make a hundred times as many
    told(
        imported(
            tmp_path,
            "vllm-serve-append.jsonl",
            "--model",
            "qwen3-0.6b",
            "--json",
            instance="c7g.xlarge",
        )
    )
    assert winner() == "b"

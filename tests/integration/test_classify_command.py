"""`sluice classify`, as typed."""

import json
import subprocess
import sys

import pytest
from support import sluice

LINES = [
    {"id": "a", "prompt": "把这条工单分类为 billing、technical 或 shipping：我的订单被重复扣款了"},
    {"id": 2, "prompt": "Prove that there are infinitely many primes congruent to 3 mod 4"},
    {
        "id": None,
        "messages": [
            {"role": "system", "content": "You label reviews."},
            {"role": "user", "content": "物流太慢了"},
        ],
    },
]
KEYS = [
    "id", "task", "complexity", "tier", "p_small", "language", "tokens_in", "tokens_out_expected",
    "tokens_out_p90", "sure", "us",
]  # fmt: skip

DEEP = '{"id": 1, "prompt": "hi", "x": ' + "[" * 99_999 + "]" * 99_999 + "}"


def test_every_line_is_judged_in_its_order(tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in LINES) + "\n\n")
    run = sluice("classify", file)
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [list(row) for row in found] == [KEYS] * 3
    assert [row["id"] for row in found] == ["a", 2, None]
    assert [row["tier"] for row in found] == ["simple", "heavy", "simple"]
    assert [row["language"] for row in found[:2]] == ["zh-Hans", "en"]
    assert found[0]["task"] == "classification"
    assert all(0 <= row["complexity"] <= 1 and row["us"] > 0 for row in found)


def test_half_a_surrogate_pair_is_judged_since_nothing_is_sent(tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_text('{"id": 1, "prompt": "Translate \\ud83d to French"}\n')
    run = sluice("classify", file)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["task"] == "translation"


def test_standard_input_is_read(tmp_path):
    command = [sys.executable, "-m", "router.cli", "classify", "-"]
    run = subprocess.run(command, input=json.dumps(LINES[0]), capture_output=True, text=True,
                         check=True)  # fmt: skip
    assert json.loads(run.stdout)["id"] == "a"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", 'either "prompt" or "messages" is expected'),
        ('{"id": 1}', 'either "prompt" or "messages" is expected'),
        ('{"prompt": "hi", "messages": []}', 'either "prompt" or "messages"'),
        ('{"prompt": ["SECRET"]}', "`prompt` must be a text"),
        ('{"messages": [{"role": "user"}]}', "messages"),
        ('{"messages": "SECRET"}', "messages"),
        (DEEP, "nested too deeply"),
        (DEEP.replace("hi", "\\u0061"), "nested too deeply"),
        ('{"prompt": "hi", "id": ' + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
        ('{"prompt": "hi", "id": "\\ud83d"}', "`id` can't be written"),
        ('{"prompt": "hi", "id": "\\u0061", "x": NaN}', "a number that JSON doesn't know"),
        ('{"prompt": "\ud83d"}', "not UTF-8"),
    ],
    ids=range(13),
)
def test_a_line_that_cant_be_judged_is_told_and_the_others_are_judged(tmp_path, line, said):
    file = tmp_path / "lines.jsonl"
    file.write_bytes(f"{line}\n{json.dumps(LINES[0])}\n".encode("utf-8", "surrogatepass"))
    run = sluice("classify", file)
    assert run.returncode == 3
    assert "Traceback" not in run.stderr
    assert f"{file}:1: " in run.stderr
    assert said in run.stderr
    assert "SECRET" not in run.stderr
    assert json.loads(run.stdout)["id"] == "a"


def test_explain_says_which_signals_spoke():
    run = sluice("classify", "--explain", "Prove that there are infinitely many primes")
    assert run.returncode == 0
    assert "heavy" in run.stdout.splitlines()[0]
    assert "prove" in run.stdout
    assert "+" in run.stdout


@pytest.mark.parametrize("text", ["", "   "])
def test_nothing_to_explain_is_told(text):
    run = sluice("classify", "--explain", text)
    assert run.returncode == 3
    assert "is empty" in run.stderr
    assert "Traceback" not in run.stderr


def test_ids_that_stand_twice_are_told_and_those_that_only_look_alike_are_not(tmp_path):
    file = tmp_path / "lines.jsonl"
    rows = [{"id": i, "prompt": "hi"} for i in (1, "1", 1, None, None, {"a": [1]})]
    file.write_text("\n".join(map(json.dumps, rows)))
    run = sluice("classify", file)
    assert run.returncode == 0
    assert len(run.stdout.splitlines()) == 6
    assert "warning: 1 lines bear an id that an earlier line bears" in run.stderr


def test_neither_file_nor_text_is_told(tmp_path):
    assert "give either a FILE or `--explain TEXT`" in sluice("classify").stderr
    missing = sluice("classify", tmp_path / "no.jsonl")
    assert missing.returncode == 3
    assert "no.jsonl" in missing.stderr

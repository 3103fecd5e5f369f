"""`--from`, `--to` and `--tz` of the commands that read a trace."""

import json

import pytest
from support import sluice

POLICY = "version: 1\nname: {}\nbaseline: llama-4-scout@p5-scout\nrules: [{{id: all, use: {}}}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("window")
    lines = [f"2026-11-{day} 12:00:{second:02},20,9" for day in (16, 17, 18) for second in range(9)]
    header = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    (folder / "days.csv").write_text(header + "\n".join(lines), "utf-8")
    for name, lane in (("old", "accelerator"), ("new", "[accelerator, cpu]")):
        (folder / f"{name}.yaml").write_text(POLICY.format(name, lane), "utf-8")
    return folder


def asked(folder, command, *given):
    trace, old, new = folder / "days.csv", folder / "old.yaml", folder / "new.yaml"
    typed = {
        "replay": ("replay", trace, "--no-curve", "--no-rivals"),
        "plan": ("plan", trace, "--slo", "ttft_p95=5s", "--from-zero"),
        "diff": ("policy", "diff", old, new, "--trace", trace),
    }
    return sluice(*typed[command], *given, "--state", folder)


COMMANDS = pytest.mark.parametrize("command", ["replay", "plan", "diff"])


@COMMANDS
def test_a_day_of_a_trace_is_asked_for_by_its_date_and_zone(folder, command):
    day = ("--from", "2026-11-17", "--to", "2026-11-18", "--tz", "Asia/Shanghai", "--json")
    found = asked(folder, command, *day)
    assert found.returncode == 0, found.stderr
    taken = "of the trace's 27 requests the 9 from 2026-11-16T16:00:00.000Z to before"
    assert taken in found.stdout
    json.loads(found.stdout)


@COMMANDS
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--from", "2026-12-01"), "the trace goes from 2026-11-16T12:00:00.000Z to 2026-11-18T"),
        (("--from", "2026-11-18", "--to", "2026-11-17"), "is not before `--to 2026-11-17`"),
        (("--to", "tuesday"), "`--to tuesday` is no time (valid: 2026,"),
        (("--tz", "Asia/Shanghai"), "`--tz` goes with `--from` or `--to` only"),
    ],
)
def test_a_window_that_says_nothing_is_refused(folder, command, given, said):
    found = asked(folder, command, *given)
    assert found.returncode == 3
    assert said in found.stderr


def test_a_diff_without_a_trace_has_no_window(folder):
    found = sluice("policy", "diff", folder / "old.yaml", folder / "new.yaml", "--to", "2026")
    assert found.returncode == 3
    assert "--to goes with `--trace` only" in found.stderr

"""Mooncake's JSON lines: what is read, what is refused."""

import gzip
import json

import pytest

from router.traces.opening import open_trace
from yamlfile import Invalid


def line(at_ms=0, given=100, made=5, **more):
    return {"timestamp": at_ms, "input_length": given, "output_length": made, **more}


@pytest.fixture
def opened(tmp_path):
    def of(*values, pack=False):
        path = tmp_path / "trace.jsonl"
        text = "".join((v if isinstance(v, str) else json.dumps(v)) + "\n" for v in values)
        path.write_bytes(gzip.compress(text.encode()) if pack else text.encode())
        return open_trace(str(path))

    return of


@pytest.mark.parametrize("pack", [False, True])
def test_lines_become_requests_from_a_stated_monday_on(opened, pack):
    trace = opened(line(hash_ids=[1, 2]), line(1500, 7, 8), pack=pack)
    assert list(trace.at_s) == [0, 1.5]
    assert (trace.tokens_in[1], trace.tokens_out[1]) == (7, 8)
    assert trace.facts(1).at == "2026-01-05T00:00:01.500Z"
    told = " ".join(trace.assumptions)
    assert "no dates" in told
    assert "prefixes that requests share (`hash_ids`) are not simulated" in told


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "no JSON: each line is an object with timestamp"),
        ("2023-11-16 18:17:03,5,6", "no JSON: each line is an object with timestamp"),
        ([1], "an object with timestamp, input_length, output_length is due"),
        ({"timestamp": 1, "input_length": 2}, "the line lacks `output_length`"),
        ({"facts": {}}, "a receipt among lines of Mooncake's? One trace has one format"),
        (line(-1), "`timestamp` must be a number of milliseconds, 0 or more"),
        (line("1"), "`timestamp` must be a number of milliseconds, 0 or more"),
        (line(at_ms=True), "`timestamp` must be a number of milliseconds, 0 or more"),
        (line(1e300), "`timestamp` is more than 366 days after the trace began: give a part"),
        (line(366 * 86_400_000 + 1), "`timestamp` is more than 366 days after the trace began"),
        (line(given=-1), "`input_length` must be a whole number of tokens from 0 to 100,000,000"),
        (line(made=1.5), "`output_length` must be a whole number of tokens"),
        (line(made=10**12), "`output_length` must be a whole number of tokens"),
        (line(tenant="x"), "unknown field `tenant` (known: timestamp, input_length,"),
    ],
)
def test_a_wrong_line_is_told_with_its_place_and_what_is_due(opened, wrong, message):
    with pytest.raises(Invalid) as caught:
        opened(line(), wrong)
    (problem,) = caught.value.problems
    assert problem.where.endswith("trace.jsonl:2")
    assert message in problem.message


def test_json_that_is_neither_mooncakes_nor_a_receipt_is_refused_with_what_is_known(opened):
    for first in ({"prompt": "hi"}, [], 5):
        with pytest.raises(Invalid, match=r"trace.jsonl:1: this is no trace \(known: "):
            opened(first)

"""Azure's CSV: what is read, what is told, what is refused."""

import gzip
import os

import pytest

from router.traces.opening import open_trace
from yamlfile import Invalid

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
FIRST = "2023-11-16 18:17:03.9799600,4808,10\n"


@pytest.fixture
def opened(tmp_path):
    """Open a trace of this text."""

    def of(text, name="trace.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return open_trace(str(path))

    return of


def told(opened, text):
    with pytest.raises(Invalid) as caught:
        opened(text)
    (problem,) = caught.value.problems
    return problem.where.rpartition("trace.csv")[2], problem.message


def test_the_form_of_2023_is_read_with_seven_digits_and_without_a_last_line_end(opened):
    trace = opened(HEAD + FIRST + "2023-11-16 18:17:04.0319600,3180,8")
    assert list(trace.tokens_in) == [4808, 3180]
    assert list(trace.tokens_out) == [10, 8]
    assert list(trace.at_s) == pytest.approx([0, 0.052])
    assert trace.facts(0).at == "2023-11-16T18:17:03.979Z"
    assert trace.facts(0).tokens_in == 4808
    assert trace.mixed


def test_the_form_of_2024_is_read_with_its_zone_and_without_fractions(opened):
    lines = "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 02:00:01+02:00,2399,6\n"
    trace = opened(HEAD + lines)
    assert trace.facts(1).at == "2024-05-10T00:00:01.000Z"


def test_windows_line_ends_blank_lines_and_a_byte_order_mark_are_no_mistake(opened):
    text = "\ufeff" + HEAD + FIRST + "\n" + FIRST
    assert len(opened(text.replace("\n", "\r\n"))) == 2


def test_a_packed_file_is_told_by_its_first_bytes(opened):
    assert len(opened(gzip.compress((HEAD + FIRST).encode()))) == 1


def test_lines_out_of_order_are_put_in_order_and_counted(opened):
    late = "2023-11-16 18:17:02.5,1,2\n"
    trace = opened(HEAD + FIRST + late + FIRST)
    assert list(trace.tokens_in) == [1, 4808, 4808]
    assert trace.warnings == (
        "1 of 3 requests stood after a later one, by up to 1.480 s: they were put in order",
    )


def test_a_gap_is_legal_and_told_with_its_place_and_length(opened):
    lines = [f"2023-11-16 18:{n // 60:02}:{n % 60:02},1,1\n" for n in range(100)]
    later = [line.replace(" 18:", " 20:") for line in lines]
    (warning,) = opened(HEAD + "".join(lines + later)).warnings
    assert "the longest is 7,101 s from 2023-11-16T18:01:39.000Z" in warning


def test_an_even_trace_has_no_gap(opened):
    lines = [f"2023-11-16 {n:02}:00:00,1,1\n" for n in range(24)]
    assert opened(HEAD + "".join(lines)).warnings == ()


def test_a_gap_of_an_hour_is_told_however_few_the_requests(opened):
    two = "2023-11-01 00:00:00,1,1\n2023-12-01 00:00:00,1,1\n"
    (warning,) = opened(HEAD + two).warnings
    assert "gaps of more than 3,600 s without a request: 1" in warning
    assert "the longest is 2,592,000 s from 2023-11-01T00:00:00.000Z" in warning


def test_a_time_years_from_the_others_is_refused_with_its_line(opened):
    where, found = told(opened, HEAD + FIRST + "2033-11-16 18:17:03,1,1\n")
    assert where == ":3"
    assert found.startswith("2033-11-16T18:17:00.000Z is more than 366 days after 2023-11-16T18:17")
    assert found.endswith(": correct the time, or give a part of the trace")
    where, found = told(opened, HEAD + FIRST + FIRST + "2013-11-16 18:17:03,1,1\n")
    assert where == ":4"
    assert "2013-11-16T18:17:00.000Z is more than 366 days before 2023-11-16T18:17" in found


def test_a_trace_of_a_leap_year_is_no_mistake(opened):
    assert len(opened(HEAD + "2024-01-01 00:00:00,1,1\n2024-12-31 23:59:59,1,1\n")) == 2


def test_zero_tokens_are_kept_and_told(opened):
    trace = opened(HEAD + "2023-11-16 18:17:03,0,0\n" + FIRST)
    assert list(trace.tokens_out) == [0, 10]
    assert trace.expected[0] >= 1
    assert trace.warnings == (
        "requests with 0 prompt tokens: 1; they are kept as they are",
        "requests with 0 output tokens: 1; they are kept as they are",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2023-11-16 18:17:03,-5,10", "ContextTokens is `-5`: a whole number of tokens is due"),
        ("2023-11-16 18:17:03,5,1.5", "GeneratedTokens is `1.5`: a whole number of tokens is due"),
        ("2023-11-16 18:17:03,5,nan", "GeneratedTokens is `nan`"),
        ("2023-11-16 18:17:03,٥,1", "ContextTokens is `٥`"),
        ("2023-11-16 18:17:03,9999999999,1", "ContextTokens is `9999999999`"),
        ("2023-11-16 18:17:03,100000001,1", "100,000,001 tokens in one request are no figure"),
        ("2023-11-16 18:17:03,5", "2 values instead of 3"),
        ("2023-11-16 18:17:03,5,6,7", "4 values instead of 3"),
        ("yesterday,5,6", "`yesterday` is no time: a TIMESTAMP like"),
        ("2023-02-30 18:17:03,5,6", "`2023-02-30 18:17` is no time: a TIMESTAMP like"),
        ("2023-11-16 18:17:73,5,6", "is no time: a TIMESTAMP like"),
        ("2023-11-16 18:17:03+99:00,5,6", "is no time: a TIMESTAMP like"),
        ("0001-01-01 00:00:00+14:00,5,6", "is no time of a trace: from 1970 to 2199 is valid"),
        ("2923-11-16 18:17:03,5,6", "is no time of a trace: from 1970 to 2199 is valid"),
        ('{"timestamp": 1}', "JSON among lines of CSV: one trace has one format"),
        (HEAD.strip(), "the header again: a trace has it once, on its first line"),
        ("\x00\x01\x02" * 40, "1 values instead of 3"),
    ],
)
def test_a_wrong_line_is_told_with_its_place_and_what_is_due(opened, line, message):
    where, found = told(opened, HEAD + FIRST + line + "\n")
    assert where == ":3"
    assert message in found


def test_what_was_typed_wrong_is_repeated_in_part_and_without_control_characters(opened):
    _, found = told(opened, HEAD + "\x1b[31m" + "x" * 90 + ",5,6\n")
    assert found.startswith("`?[31m" + "x" * 35 + "...` is no time")


def test_the_header_alone_is_no_trace(opened):
    assert told(opened, HEAD) == (":1", "the header alone: no request follows")


def test_wrong_columns_are_refused_with_those_that_are_known(opened):
    where, found = told(opened, "time,tokens\n1,2\n")
    assert where == ":1"
    assert found.startswith("this is no trace (known: Azure's CSV with the header TIMESTAMP,")


def test_an_empty_file_is_refused_with_what_would_be_valid(opened):
    for nothing in ("", "\n \n", gzip.compress(b"")):
        where, found = told(opened, nothing)
        assert where == ""
        assert found.startswith("the file is empty (known: ")


def test_a_packed_file_that_ends_too_early_or_is_damaged_is_told(opened):
    rows = "".join(f"2023-11-16 18:{n // 60:02}:{n % 60:02},{n},1\n" for n in range(3000))
    packed = gzip.compress((HEAD + rows).encode())
    broken = packed[:200] + bytes(20) + packed[220:]
    for file in (packed[: len(packed) // 2], broken, packed[:5]):
        where, found = told(opened, file)
        assert where.startswith(":")
        assert found == "the packed file ends too early or is damaged: pack it again"


def test_a_line_without_an_end_is_not_read_into_memory(opened):
    where, found = told(opened, HEAD.encode() + bytes(9 << 20))
    assert (where, found) == (":2", "a line of more than 4 MB: this is no trace")


def test_a_file_that_is_not_there_is_told_by_its_name(tmp_path):
    with pytest.raises(Invalid, match=r"none\.csv: can't be read: No such file or directory"):
        open_trace(str(tmp_path / "none.csv"))


def test_a_pipe_is_refused_with_what_to_do_since_a_trace_is_read_again(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Invalid, match="read more than once: write it to a file, and give that"):
        open_trace(str(tmp_path / "pipe"))

"""An input file's lines and mistakes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.batches.port import Line
from router.batches.validate import (
    MOST_LINE_BYTES,
    MOST_MISTAKES,
    NAME_CHARACTERS,
    Checker,
    body_of,
    lines_of,
)
from router.http import BODY_LIMIT_BYTES

URL = "/v1/chat/completions"
BODY = {"model": "auto", "messages": [{"role": "user", "content": "你好"}]}


def row(custom_id="a", **more):
    made = {"custom_id": custom_id, "method": "POST", "url": URL, "body": BODY} | more
    return json.dumps({k: v for k, v in made.items() if v is not ...}, ensure_ascii=False).encode()


def checked(text, **more):
    checker = Checker(URL, **more)
    lines = list(checker.lines([text]))
    return lines, checker.mistakes


def test_lines_are_found_where_they_lie_blank_ones_left_out():
    text = b"\xef\xbb\xbf" + row("a") + b"\r\n\n  \n" + row("乙")
    lines, mistakes = checked(text)
    assert mistakes == []
    assert [(line.number, line.custom_id) for line in lines] == [(1, "a"), (4, "乙")]
    for line in lines:
        part = text[line.offset : line.offset + line.length]
        assert json.loads(part)["custom_id"] == line.custom_id
        assert json.loads(body_of(part)) == BODY


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"a": "\xff"}', "invalid_json_line", None),
        (b'{"custom_id": "\\ud800"}', "invalid_json_line", None),
        (row(extra=1), "unknown_field", "extra"),
        (row(custom_id=7), "invalid_custom_id", "custom_id"),
        (row(custom_id=""), "invalid_custom_id", "custom_id"),
        (row(custom_id="x" * 513), "invalid_custom_id", "custom_id"),
        (row(method="GET"), "invalid_method", "method"),
        (row(method=...), "invalid_method", "method"),
        (row(url="/v1/embeddings"), "mismatched_endpoint", "url"),
        (row(body=[]), "invalid_body", "body"),
        (row(body=BODY | {"stream": True}), "stream_not_allowed", "body"),
        (b" " * (MOST_LINE_BYTES - 10) + row(), "line_too_long", None),
    ],
)
def test_each_mistake_is_told_with_its_line(text, code, param):
    lines, mistakes = checked(row("first") + b"\n" + text)
    assert [line.custom_id for line in lines] == ["first"]
    assert [(one.line, one.code, one.param) for one in mistakes] == [(2, code, param)]


def test_a_custom_id_that_comes_again_names_the_first():
    _, mistakes = checked(b"\n".join([row("a"), row("b"), row("a")]))
    assert [(one.line, one.code) for one in mistakes] == [(3, "duplicate_custom_id")]
    assert "line 1" in mistakes[0].message


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_requests_is_told_as_a_whole(text):
    lines, mistakes = checked(text)
    assert (lines, [(one.code, one.line) for one in mistakes]) == ([], [("empty_file", None)])


def test_more_requests_than_allowed_end_it_there():
    lines, mistakes = checked(b"\n".join(row(str(n)) for n in range(5)), most_lines=3)
    assert len(lines) == 3
    assert [(one.line, one.code) for one in mistakes] == [(4, "too_many_requests")]


def test_mistakes_are_told_up_to_a_bound():
    _, mistakes = checked(b"{\n" * (MOST_MISTAKES * 2))
    assert len(mistakes) == MOST_MISTAKES


def test_a_line_may_be_as_long_as_a_requests_body():
    assert MOST_LINE_BYTES == BODY_LIMIT_BYTES


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc\n", b"\n", b"\n\n", b"d\ne", b"\r\n"]), max_size=8)
)
def test_however_a_file_is_cut_it_has_the_same_lines(pieces):
    text = b"".join(pieces)
    lines = list(lines_of(pieces))
    assert [raw for _, _, raw in lines] == text.removesuffix(b"\n").split(b"\n") * bool(text)
    assert [number for number, _, _ in lines] == list(range(1, len(lines) + 1))
    assert all(text[offset : offset + len(raw)] == raw for _, offset, raw in lines)


def test_a_line_that_is_far_too_long_is_not_held_whole_and_others_are_found():
    def pieces():
        yield row("a") + b"\n"
        for _ in range(20):
            yield b"x" * 1_000_000
        yield b"\n" + row("b")

    checker = Checker(URL)
    lines = list(checker.lines(pieces()))
    assert [(one.line, one.code) for one in checker.mistakes] == [(2, "line_too_long")]
    assert lines[1] == Line(3, "b", len(row("a")) + 1 + 20_000_001, len(row("b")))


def test_blank_lines_end_it_before_they_cost_much():
    checker = Checker(URL)
    pieces = iter([b"\n" * 2**20] * 20)
    assert list(checker.lines(pieces)) == []
    assert [(one.code, one.line) for one in checker.mistakes] == [("too_many_blank_lines", 100_001)]
    assert len(list(pieces)) == 19


def test_as_many_blank_lines_as_allowed_are_no_mistake():
    checker = Checker(URL)
    assert [line.number for line in checker.lines([b"\n" * 100_000 + row()])] == [100_001]
    assert not checker.mistakes


def test_a_name_that_a_caller_gave_is_told_cut():
    text = b'{"custom_id":"a","method":"POST","url":"%b","body":{},"%b":1}'
    _, (mistake,) = checked(text % (URL.encode(), b"x" * 500_000))
    assert (mistake.code, mistake.param) == ("unknown_field", "x" * NAME_CHARACTERS)
    assert len(mistake.message) < 200

"""Whole answers as their tests see them, plain and streamed."""

import json

import pytest

from backends.base import Garbled
from backends.sse import Usage
from router.answer import Heard, choices_of_reply, choices_of_stream, without_logprobs

USAGE = Usage(10, 3)


def event(**value):
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def delta(content=None, finish=None, index=0, logprobs=None, **more):
    said = {**({} if content is None else {"content": content}), **more}
    choice = {"index": index, "delta": said, "finish_reason": finish}
    return event(choices=[{**choice, **({} if logprobs is None else {"logprobs": logprobs})}])


def tokens(*pairs):
    return {"content": [{"token": token, "logprob": value} for token, value in pairs]}


def message(content, finish="stop", logprobs=None, **more):
    said = {"role": "assistant", "content": content, **more}
    return {"index": 0, "message": said, "finish_reason": finish, "logprobs": logprobs}


def test_a_plain_answer_and_the_same_one_streamed_are_seen_alike():
    plain = {"choices": [message("账单 ok", logprobs=tokens(("账单", -0.5), (" ok", -1.5)))]}
    stream = (
        delta(role="assistant")
        + delta("账单", logprobs=tokens(("账单", -0.5)))
        + delta(" ok", logprobs=tokens((" ok", -1.5)))
        + delta(finish="stop")
        + b": x-sluice-cost-usd 0.000001000\n\n"
        + b"data: [DONE]\n\n"
    )
    (seen,) = choices_of_reply(plain, USAGE)
    assert (seen,) == choices_of_stream(stream, USAGE)
    assert (seen.text, seen.finish_reason, seen.tokens) == ("账单 ok", "stop", 3)
    assert seen.logprobs == (-0.5, -1.5)


def test_the_end_token_of_a_plain_answer_is_not_counted():
    plain = {"choices": [message("a", logprobs=tokens(("a", -0.5), ("", -0.0001)))]}
    assert choices_of_reply(plain, None)[0].logprobs == (-0.5,)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        tokens(("", -0.1)),
        tokens(("a", None)),
        tokens(("a", -0.1), ("b", "high")),
        tokens(("a", True)),
        "none",
    ],
)
def test_log_probabilities_that_are_not_all_told_are_unknown(logprobs):
    assert (
        choices_of_reply({"choices": [message("a", logprobs=logprobs)]}, None)[0].logprobs is None
    )


def test_several_choices_are_kept_apart_and_share_the_tokens():
    stream = delta("a", index=1) + delta("b") + delta("c", index=1, finish="length")
    stream += delta(finish="stop")
    one, two = choices_of_stream(stream, USAGE)
    assert (one.text, one.finish_reason) == ("ac", "length")
    assert (two.text, two.finish_reason) == ("b", "stop")
    assert one.tokens == two.tokens == 1.5


@pytest.mark.parametrize("usage", [None, Usage(10, None)])
def test_tokens_that_nobody_told_are_unknown(usage):
    assert choices_of_reply({"choices": [message("a")]}, usage)[0].tokens is None


def test_no_tokens_are_none_and_not_unknown():
    assert choices_of_reply({"choices": [message("")]}, Usage(10, 0))[0].tokens == 0


def test_a_refusal_that_is_a_field_is_seen_in_both():
    (plain,) = choices_of_reply({"choices": [message(None, refusal="no")]}, None)
    (streamed,) = choices_of_stream(delta(refusal="no", finish="stop"), None)
    assert plain.declined
    assert streamed.declined


@pytest.mark.parametrize(
    "value", [{}, {"choices": None}, {"choices": "x"}, {"choices": [5]}, {"choices": []}]
)
def test_an_answer_without_choices_has_none(value):
    assert choices_of_reply(value, USAGE) == ()
    assert choices_of_stream(event(**value), USAGE) == ()


def test_odd_choices_are_read_as_far_as_they_go():
    odd = {"choices": [{"index": "first", "message": 5, "finish_reason": 3, "logprobs": 7}]}
    (seen,) = choices_of_reply(odd, None)
    assert (seen.text, seen.finish_reason, seen.logprobs) == ("", None, None)


def test_an_event_that_is_not_json_is_told():
    with pytest.raises(Garbled):
        choices_of_stream(delta("a") + b"data: {oops\n\n", None)


def test_no_text_is_in_what_is_printed_of_a_choice():
    (seen,) = choices_of_reply({"choices": [message("a secret", logprobs=tokens(("a", -1)))]}, None)
    assert "secret" not in repr(seen)


# -- taken out again -------------------------------------------------------------------------------


def test_log_probabilities_become_null_and_no_other_byte_changes():
    logprobs = {
        "content": [{"token": 'a "}]{', "bytes": [97], "logprob": -1, "top_logprobs": [{}]}]
    }
    raw = json.dumps({"choices": [message('say "logprobs":{', logprobs=logprobs)], "x": [1.0]})
    found = without_logprobs(raw.encode())
    assert found.decode() == raw.replace(json.dumps(logprobs), "null")
    assert json.loads(found)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"choices":[{"message":{"content":"logprobs"},"logprobs":null}]}',
        b'{"choices":[{"message":{"content":"\\"logprobs\\":{}"}}]}',
        b'{"a":"\\\\","top_logprobs":[1]}',
        b"",
    ],
)
def test_what_has_none_stays_as_it_is(raw):
    assert without_logprobs(raw) == raw


def test_every_event_loses_its_own():
    one = delta("账", logprobs=tokens(("账", -1)))
    two = delta("单", logprobs=tokens(("单", -1)))
    found = without_logprobs(one + two + b"data: [DONE]\n\n")
    assert found.count(b'"logprobs": null') == 2
    assert found.count("账".encode()) == found.count("单".encode()) == 1
    assert b"-1" not in found
    assert found.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "raw",
    [
        b': a comment: "logprobs": {\n\n',
        b'data: {"logprobs": {"content":\ndata: []}}\n\n',
        b'{"logprobs": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=["comment", "two lines", "deep"],
)
def test_a_value_that_is_not_in_one_piece_stays(raw):
    assert without_logprobs(raw) == raw


def test_bytes_of_a_comment_that_are_no_text_stay():
    data = b": \xff\xfe\n\n" + delta("a", logprobs=tokens(("a", -1)))
    assert without_logprobs(data).startswith(b": \xff\xfe\n\n")


# -- an answer that is heard as it goes out --------------------------------------------------------


def heard(*pieces, most=100):
    found = Heard(most)
    for piece in pieces:
        found.piece(piece)
    return found


STOP = delta(finish="stop")


def test_a_stream_is_heard_however_it_is_cut():
    whole = (
        delta(role="assistant")
        + delta("你")
        + delta("好")
        + STOP
        + b": a comment\n\ndata: [DONE]\n\n"
    )
    for size in (1, 7, 50, len(whole)):
        pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert heard(*pieces).text() == "你好"


def test_an_answer_that_was_cut_or_is_no_text_is_not_heard():
    for pieces in (
        (),
        (delta("x"),),
        (delta("x"), delta(finish="length")),
        (delta("x"), delta(finish="tool_calls")),
        (delta(" "), STOP),
        (delta("x"), delta("y", index=1), STOP),
        (delta("x"), delta(refusal="no"), STOP),
        (delta("x"), b"data: {broken\n\n", STOP),
    ):
        found = heard(*pieces)
        assert found.text() is None
        assert not found.too_long


def test_no_more_is_kept_than_was_said():
    for text in ("x" * 100, "文" * 33 + "x"):
        assert heard(delta(text), STOP).text() == text
        found = heard(delta(text), delta("y"), delta("z" * 1000), STOP)
        assert found.too_long
        assert found.text() is None
        assert not found._parts


def test_a_plain_answer_is_heard_whole():
    found = Heard(10)
    message = {"role": "assistant", "content": "hello"}
    found.reply({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert found.text() == "hello"
    found = Heard(4)
    found.reply({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (found.text(), found.too_long) == (None, True)
    found = Heard(4)
    found.reply({"choices": "none"})
    assert found.text() is None

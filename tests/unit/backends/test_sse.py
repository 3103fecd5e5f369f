import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.base import ContextExceeded, Garbled, Overloaded, ServerFailed
from backends.sse import (
    EVENT_BYTES,
    Events,
    Usage,
    error_of,
    has_content,
    has_finish_reason,
    is_done,
    is_whole,
    only_usage,
    usage_of,
    usage_of_body,
)

ROLE = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant",'
    b'"content":null}}],"created":1795211328,"id":"chatcmpl-4cGQ","model":"qwen3-0.6b",'
    b'"system_fingerprint":"b1-0c1e570","object":"chat.completion.chunk"}\n\n'
)
TOKEN = ROLE.replace(b'"role":"assistant","content":null', b'"content":" shipp"')
LAST = ROLE.replace(b'"role":"assistant","content":null', b"").replace(
    b'"finish_reason":null', b'"finish_reason":"length"'
)
USAGE = (
    b'data: {"choices":[],"created":1795211328,"object":"chat.completion.chunk","usage":'
    b'{"completion_tokens":4,"prompt_tokens":29,"total_tokens":33,"prompt_tokens_details":'
    b'{"cached_tokens":28}},"timings":{"cache_n":28,"prompt_n":1,"prompt_ms":0.384}}\n\n'
)
DONE = b"data: [DONE]\n\n"
RECORDED = [ROLE, TOKEN, TOKEN, LAST, USAGE, DONE]  # llama-server's, with `include_usage`

ENDS = [b"\n", b"\r\n", b"\r"]
LINES = [
    b"data: [DONE]",
    b": ping",
    b"data: x",
    b"event: error",
    "data: 价格多少。價格".encode(),
    b"",
]


def chunk(delta):
    return b'data: {"choices":[{"index":0,"delta":' + delta + b',"finish_reason":null}]}\n\n'


def cut(raw, cuts):
    edges = sorted({0, len(raw), *cuts})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


def scan(parts):
    events = Events()
    found = [event for part in parts for event in events.feed(part)]
    return found, events.rest()


def by_lines(raw):
    """The oracle, byte by byte: an event ends with an empty line; a last CR may become CRLF."""
    events, start, line_is_empty, i = [], 0, True, 0
    while i < len(raw):
        if raw[i : i + 1] == b"\r":
            if i + 1 == len(raw):
                break
            i += raw[i + 1 : i + 2] == b"\n"
        elif raw[i : i + 1] != b"\n":
            line_is_empty = False
            i += 1
            continue
        i += 1
        if line_is_empty:
            events.append(raw[start:i])
            start = i
        line_is_empty = True
    return events, raw[start:]


@st.composite
def _streams(draw):
    lines = draw(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)), max_size=12))
    raw = b"".join(line + end for line, end in lines) + draw(st.sampled_from([b"", b"data: cut"]))
    return raw, draw(st.lists(st.integers(0, len(raw)), max_size=12))


@given(_streams())
@example((b"\ndata: x\n\n", []))
@example((b"data: x\r\rdata: x\n\n", []))
@example((b"data: x\r\n\r\ndata: x\n\n", []))
def test_the_events_are_the_same_however_their_bytes_are_split(stream):
    raw, cuts = stream
    found, rest = scan(cut(raw, cuts))
    assert (found, rest) == by_lines(raw)
    assert b"".join(found) + rest == raw
    assert scan([raw[i : i + 1] for i in range(len(raw))]) == (found, rest)


@given(st.lists(st.sampled_from(RECORDED), max_size=6), st.lists(st.integers(0, 3000), max_size=8))
def test_a_recorded_stream_comes_out_event_by_event(events, cuts):
    raw = b"".join(events)
    assert scan(cut(raw, [at for at in cuts if at < len(raw)])) == (events, b"")


def test_a_part_that_is_one_event_is_passed_on_as_it_is():
    assert Events().feed(TOKEN)[0] is TOKEN


@pytest.mark.parametrize(
    ("rest", "whole"),
    [
        (b'data: {"choices": []}', True),
        (b'data: {"choices": []}\n', True),
        (b"data: [DONE]", True),
        (b'data: {"choices": [', False),
        (b"data: [DO", False),
        (b"da", False),
        (b": a comm", False),
        (b"", False),
    ],
)
def test_a_rest_is_an_event_or_torn_off(rest, whole):
    assert is_whole(rest) == whole


def test_the_rest_is_given_once():
    events = Events()
    assert events.feed(b"data: x" * 9) == []
    assert (events.rest(), events.rest()) == (b"data: x" * 9, b"")
    assert events.feed(DONE + DONE) == [DONE, DONE]


@pytest.mark.parametrize("end", [b"", b"\n\n"])
@pytest.mark.parametrize("step", [4096, EVENT_BYTES * 2])
def test_an_event_without_end_is_garbled_at_its_bound(end, step):
    fits = b"data: " + b"x" * (EVENT_BYTES - 6 - len(end)) + end
    assert b"".join(scan(cut(fits, range(0, len(fits), step)))[0]) == (fits if end else b"")
    too_long = b"x" + fits
    with pytest.raises(Garbled):
        scan(cut(too_long, range(0, len(too_long), step)))


def test_a_long_event_in_small_parts_is_searched_once():
    events, looked_at = Events(), 0
    for _ in range(EVENT_BYTES // 1024 - 1):
        events.feed(b"x" * 1024)
        looked_at += len(events._held) - events._seen
    assert looked_at < EVENT_BYTES // 10


@pytest.mark.parametrize(
    "event",
    [
        DONE,
        b"data:[DONE]\n\n",
        b"data: [DONE]\r\n\r\n",
        b"data: [DONE]\r\r",
        b": x\rdata: [DONE]\r\r",
        b": x\ndata: [DONE]\n\n",
    ],
)
def test_done_is_seen(event):
    assert is_done(event)
    assert not has_content(event)


@pytest.mark.parametrize(
    "event", [ROLE, b": [DONE]\n\n", chunk(b'{"content":"[DONE]"}'), b"data: [DONE] not\n\n", b"\n"]
)
def test_nothing_else_is_done(event):
    assert not is_done(event)


@pytest.mark.parametrize(
    "event",
    [
        TOKEN,
        TOKEN.replace(b"\n", b"\r\n"),
        chunk('{"content":"价"}'.encode()),
        chunk('{"content":"價"}'.encode()),
        chunk(b'{"content":" "}'),
        chunk(b'{"content":null,"reasoning_content":"Let"}'),
        chunk(b'{"content":"","reasoning":"Let"}'),
        chunk(b'{"refusal":"I can\'t"}'),
        chunk(b'{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}'),
        chunk(b'{"function_call":{"name":"f"}}'),
        b'data: {"choices":[{"index":0,"text":"Once"}]}\n\n',
        b'data: {"choices":[{"delta":{}},{"delta":{"content":"second"}}]}\n\n',
        b': ping\nevent: message\ndata: {"choices":\ndata: [{"text":"x"}]}\n\n',
    ],
)
def test_output_of_the_model_is_content(event):
    assert has_content(event)


@pytest.mark.parametrize(
    "event",
    [
        ROLE,
        LAST,
        USAGE,
        DONE,
        b": ping\n\n",
        b"\n",
        b"data: \n\n",
        b"event: x\n\n",
        b"data: null\n\n",
        b"data: []\n\n",
        b'data: {"choices":null}\n\n',
        b'data: {"choices":[null,7]}\n\n',
        b'data: {"choices":{"delta":{"content":"x"}}}\n\n',
        chunk(b"null"),
        chunk(b'{"role":"assistant","content":"","tool_calls":[]}'),
        b'data: {"choices":[{"text":""}]}\n\n',
    ],
)
def test_roles_ends_pings_and_emptiness_are_no_content(event):
    assert not has_content(event)


@pytest.mark.parametrize("event", [b"data: {\n\n", b"data: <html>\n\n", b"data: \xff\n\n"])
def test_an_event_that_is_not_json_is_garbled_and_not_quoted(event):
    with pytest.raises(Garbled) as caught:
        has_content(event)
    assert "html" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert usage_of(event) is error_of(event) is None


def test_the_end_of_a_choice_is_seen():
    assert has_finish_reason(LAST)
    assert has_finish_reason(b'data: {"choices":[{"finish_reason" : "stop"}]}\n\n')
    assert not any(has_finish_reason(event) for event in (ROLE, TOKEN, USAGE, DONE))
    assert not has_finish_reason(chunk(rb'{"content":"\"finish_reason\":\"stop\""}'))


def test_usage_is_read_from_its_event():
    assert usage_of(USAGE) == Usage(29, 4, cached=28)
    assert only_usage(USAGE)


@pytest.mark.parametrize(
    "event",
    [
        ROLE,
        DONE,
        TOKEN.replace(b'"index"', b'"usage":null,"index"'),
        b'data: {"choices":[],"usage" : null}\n\n',
        b'data: {"choices":[],"usage":[]}\n\n',
        b'data: {"choices":[],"usage":{}}\n\n',
        b'data: {"choices":[],"nested":{"usage":{"prompt_tokens":1}}}\n\n',
        chunk(rb'{"content":"\"usage\":{\"prompt_tokens\":1}"}'),
    ],
)
def test_no_usage_is_none_and_never_zero(event):
    assert usage_of(event) is None


@pytest.mark.parametrize(
    "event",
    [
        ROLE,
        DONE,
        chunk(b'{"content":"x"}').replace(b'"choices"', b'"usage":{"prompt_tokens":1},"choices"'),
        b'data: {"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":[],"usage":null}\n\n',
        b'data: {"choices":[],"nested":{"usage":{}}}\n\n',
    ],
)
def test_an_event_that_holds_more_than_usage_is_not_cut_out(event):
    assert not only_usage(event)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (b'{"prompt_tokens":3,"completion_tokens":0}', Usage(3, 0)),
        (b'{"prompt_tokens":3}', Usage(3, None)),
        (b'{"completion_tokens":5}', Usage(None, 5)),
        (b'{"prompt_tokens":-1,"completion_tokens":5}', Usage(None, 5)),
        (b'{"prompt_tokens":true,"completion_tokens":5}', Usage(None, 5)),
        (b'{"prompt_tokens":"3","completion_tokens":5.0}', None),
        (b'{"prompt_tokens":99999999999999999999,"completion_tokens":1}', Usage(None, 1)),
        (b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":0}}', Usage(9, None, 0)),
        (b'{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":10}}', Usage(9, None)),
        (b'{"prompt_tokens":9,"prompt_tokens_details":null}', Usage(9, None)),
        (b'{"prompt_tokens":9,"prompt_tokens_details":[]}', Usage(9, None)),
        (
            b'{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":7}}',
            Usage(None, 9, None, 7),
        ),
        (b"null", None),
        (b"7", None),
    ],
)
def test_a_count_that_is_absent_or_cannot_be_is_unknown(usage, read):
    assert usage_of(b'data: {"choices":[],"usage":' + usage + b"}\n\n") == read
    assert usage_of_body(b'{"choices":[],"usage":' + usage + b"}") == read


COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2},'


@pytest.mark.parametrize(
    ("times", "took_ms", "service_ms"),
    [
        (b'"timings":{"prompt_ms":30.5,"predicted_ms":9.5}', 100.0, 40.0),
        (b'"timings":{"prompt_ms":30.5,"predicted_ms":9.5}', 25.0, 25.0),  # clocks differ
        (b'"metrics":{"queue_time_ms":70.0,"generation_time_ms":5}', 100.0, 30.0),
        (b'"metrics":{"queue_time_ms":170.0}', 100.0, 0.0),
        (b'"timings":{"prompt_ms":30.5}', 100.0, None),
        (b'"timings":{"prompt_ms":-1,"predicted_ms":9.5}', 100.0, None),
        (b'"timings":{"prompt_ms":true,"predicted_ms":9.5}', 100.0, None),
        (b'"timings":{"prompt_ms":1e300,"predicted_ms":9.5}', 100.0, None),
        (b'"timings":[],"metrics":null', 100.0, None),
        (b'"metrics":{"queue_time_ms":"70"}', 100.0, None),
        (b'"x":1', 100.0, None),
    ],
)
def test_the_time_on_a_replica_is_told_by_the_engine_or_unknown(times, took_ms, service_ms):
    usage = usage_of(COUNTS + times + b"}\n\n")
    assert (usage.tokens_in, usage.tokens_out) == (3, 2)
    assert usage.service_ms(took_ms) == service_ms


def test_a_body_without_usage_has_none():
    for body in (b"", b"{}", b'["usage"]', b'{"usage"'):
        assert usage_of_body(body) is None


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b'data: {"error":{"code":503,"message":"Loading model"}}\n\n', Overloaded),
        (b'data: {"error":{"message":"boom","type":"server_error"}}\n\n', ServerFailed),
        (b'event: error\ndata: {"error":"boom"}\n\n', ServerFailed),
        (b'error: {"code":500,"message":"boom"}\n\n', ServerFailed),
        (b'error: {"code":400,"type":"exceed_context_size_error"}\r\n\r\n', ContextExceeded),
        (b"error: boom\n\n", ServerFailed),
    ],
)
def test_an_error_in_a_stream_is_the_error_it_says(event, kind):
    error = error_of(event)
    assert type(error) is kind
    assert "boom" not in str(error)


@pytest.mark.parametrize(
    "event",
    [TOKEN, DONE, b'data: {"error":null,"choices":[]}\n\n', chunk(rb'{"content":"\"error\": 1"}')],
)
def test_what_is_no_error_is_none(event):
    assert error_of(event) is None

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalogue import Fleet, Model, Replicas
from router import wire
from router.errors import Refusal

HI = [{"role": "user", "content": "hi"}]
DEEP = b"[" * 9_999 + b"]" * 9_999


def raw(**body):
    return json.dumps({"model": "auto", "messages": HI, **body}).encode()


def refused(data):
    with pytest.raises(Refusal) as found:
        wire.parse_chat(data)
    assert found.value.status == 400
    return found.value


def fleet(engine="vllm", abilities=("thinking",)):
    model = Model("m", 4096, frozenset(abilities), (), None)
    return Fleet(
        id="f",
        model=model,
        lane="cpu",
        engine=engine,
        kind="openai_http",
        urls=("http://127.0.0.1:1/v1",),
        upstream_model="served-name",
        instance="box",
        region="r",
        purchase="on_demand",
        price=None,
        replicas=Replicas(0, 1, 1, 0.7),
        profile=None,
        context_tokens=4096,
    )


def sent(data, *, thinking=None, max_tokens=77, logprobs=False, **on):
    request = wire.parse_chat(data)
    edit = wire.Edit(request, fleet(**on), max_tokens, thinking, logprobs)
    body, edits = wire.upstream_body(edit)
    return json.loads(body), edits


# -- reading ---------------------------------------------------------------------------------------


def test_a_plain_request_is_read():
    request = wire.parse_chat(raw(max_tokens=9, n=2))
    assert (request.model, request.stream, request.max_tokens, request.n) == ("auto", False, 9, 2)


def test_a_body_of_very_many_fields_is_refused_with_the_number_allowed():
    most = wire.MOST_FIELDS - 2  # beside `model` and `messages`
    assert wire.parse_chat(raw(**{f"x{i}": i for i in range(most)}))
    refusal = refused(raw(**{f"x{i}": i for i in range(most + 1)}))
    assert refusal.message == "the body has 101 fields, at most 100 are passed on"


def test_the_newer_name_of_the_output_limit_counts_too():
    assert wire.parse_chat(raw(max_completion_tokens=5)).max_tokens == 5


def test_null_means_left_out():
    request = wire.parse_chat(raw(temperature=None, n=None, stream=None, max_tokens=None))
    assert (request.n, request.stream, request.max_tokens) == (1, False, None)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[]", "must be a JSON object"),
        (b'{"model": NaN}', "a number that JSON doesn't know"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 20_000, "nested too deeply"),
        (b'{"a":"' + b"]" * 9_999 + b'","b":' + DEEP + b"}", "nested too deeply"),
        (b'{"a":"' + b"[" * 9_999, "not JSON"),
    ],
    ids=["empty", "truncated", "bytes", "list", "nan", "deep", "deep-objects", "hidden", "cut"],
)
def test_a_body_that_is_no_json_object_is_refused(data, said):
    assert said in refused(data).message


@pytest.mark.parametrize("text", ["{" * 1_000_000, "[10:00:00 INFO start\n" * 200, '\\"[' * 999])
def test_brackets_in_a_text_do_not_nest(text):
    said = [{"role": "user", "content": text}]
    assert wire.parse_chat(raw(messages=said)).body["messages"] == said


# Texts that would mislead a count of brackets, and enough of them that one is made.
odd = st.text('[]{}"\\,:a', max_size=30)


@given(st.integers(190, 210), st.lists(st.sampled_from("[{"), min_size=1), odd, odd)
def test_a_body_is_refused_if_and_only_if_it_is_nested_more_than_200_deep(depth, kinds, key, text):
    value = text
    for i in range(depth - 1):
        value = [text, value, []] if kinds[i % len(kinds)] == "[" else {key: value, "": text}
    data = raw(x=value, y="[" * 300)
    if depth_of(json.loads(data)) > 200:
        assert refused(data).message == "the body is nested too deeply"
    else:
        assert wire.parse_chat(data).body["x"] == value


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0) if isinstance(value, dict | list) else 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "boss", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " \n\u3000"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [*HI, {"role": "assistant", "content": None}]}, "messages[1].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"tools": {}}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"stop": 1}, "stop"),
        ({"seed": "a"}, "seed"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(body, param):
    refusal = refused(raw(**body))
    assert refusal.param == param
    assert json.loads(refusal.body())["error"]["param"] == param


def test_a_message_never_repeats_what_the_caller_sent():
    secret = "patient 4711"
    for body in ({"messages": [{"role": secret, "content": "x"}]}, {"stop": {secret: 1}}):
        assert secret not in refused(raw(**body)).message


@pytest.mark.parametrize(
    "last",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "", "tool_call_id": "1"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
    ],
    ids=["tool_calls", "empty tool result", "image", "function_call"],
)
def test_a_last_turn_without_text_may_still_say_something(last):
    assert wire.parse_chat(raw(messages=[*HI, last])).body["messages"][1] == last


def said(**more):
    return [{"role": "user", "content": "hi", **more}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [*HI, *said(content="great \ud83d")]}, "messages[1].content"),
        ({"messages": said(content=[{"type": "text", "text": "\udc00"}])}, "messages[0].content"),
        ({"messages": said(name="\ude00\ud83d")}, "messages[0].name"),
        ({"messages": said(tool_calls=[{"id": "\ud83d"}])}, "messages[0].tool_calls"),
        ({"messages": said(SECRET="\ud83d")}, "messages[0]"),
        ({"messages": said(**{"\ud83d": 1})}, "messages[0]"),
        ({"messages": ["\ud83d"]}, "messages[0]"),
        ({"messages": "\ud83d"}, "messages"),
        ({"model": "\udbff"}, "model"),
        ({"tools": [{"function": {"parameters": {"\ud83d": {}}}}]}, "tools"),
        ({"metadata": {"SECRET": "\udfff"}}, "metadata"),
        ({"\ud83d": 1}, None),
    ],
    ids=range(12),
)
def test_half_a_surrogate_pair_is_refused_and_its_field_named(body, param):
    for data in (raw(**body), raw(**body).replace(b"\\ud", b"\\uD")):
        refusal = refused(data)
        assert (refusal.param, "half a surrogate pair" in refusal.message) == (param, True)
        assert json.loads(refusal.body())["error"]["param"] == param
        assert "SECRET" not in refusal.message


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("😀\ud7ff\ue000\\ud83"), max_size=9))
def test_every_text_that_can_be_sent_is_sent_however_it_is_escaped(text):
    messages = said(content=f"hi{text}")
    unescaped = json.dumps({"model": "auto", "messages": messages}, ensure_ascii=False).encode()
    for data in (raw(messages=messages), unescaped):
        assert sent(data)[0]["messages"] == messages


def test_what_is_only_judged_may_hold_half_a_surrogate_pair():
    halves = said(content="\ud83d")
    assert wire.parse_chat(raw(messages=halves), to_send=False).body["messages"] == halves


# -- hints -----------------------------------------------------------------------------------------


def test_hints_are_read_from_headers():
    hints = wire.parse_hints(
        {
            b"x-sluice-service-class": b"interactive",
            b"x-sluice-max-usd": b"0.002",
            b"x-sluice-slo-ttft-ms": b"250",
            b"x-sluice-tags": "team=搜索, data=private,".encode(),
        }
    )
    assert hints == wire.Hints("interactive", 0.002, 250.0, {"team": "搜索", "data": "private"})


def test_without_hints_the_defaults_hold():
    assert wire.parse_hints({b"host": b"x"}) == wire.NO_HINTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-sluice-service-class", b"urgent"),
        (b"x-sluice-max-usd", b"-1"),
        (b"x-sluice-max-usd", b"nan"),
        (b"x-sluice-max-usd", b"inf"),
        (b"x-sluice-max-usd", b"cheap"),
        (b"x-sluice-slo-ttft-ms", b"0"),
        (b"x-sluice-tags", b"private"),
        (b"x-sluice-tags", b"=private"),
        (b"idempotency-key", b"a b"),
    ],
)
def test_a_wrong_hint_is_named(name, value):
    with pytest.raises(Refusal) as found:
        wire.parse_hints({name: value})
    assert (found.value.status, found.value.param) == (400, name.decode())


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("data=private，x=y", "`，` is a full-width sign: write `,`"),
        ("a=b,data=private、x=y", "`、` is not an ASCII character: write `,`"),
        ("data=private；x=y", "`；` is a full-width sign: write `,` between tags"),
        ("data＝private", "`＝` is a full-width sign: write `=`"),
        ("data：private", "`：` is a full-width colon: write `=`"),
        ("from=9：30", "`：` is a full-width colon: write `:`"),
        ("ｄata=private", "`ｄ` is a full-width sign: write `d`"),
        ("a=b,data２=private", "`２` is a full-width sign: write `2`"),
    ],
)
def test_a_tag_that_a_rule_would_not_know_for_a_full_width_sign_is_refused(tags, said):
    with pytest.raises(Refusal) as found:
        wire.parse_hints({b"x-sluice-tags": tags.encode()})
    assert (found.value.status, found.value.param) == (400, "x-sluice-tags")
    assert found.value.message == f"`x-sluice-tags`: {said}"


def test_tags_may_hold_other_chinese_text_and_traditional_too():
    tags = "部门（北京）=客服。「一」, 資料=隱私（Ａ）"
    found = wire.parse_hints({b"x-sluice-tags": tags.encode()}).tags
    assert found == {"部门（北京）": "客服。「一」", "資料": "隱私（Ａ）"}


# -- editing ---------------------------------------------------------------------------------------


def test_the_model_is_sent_on_under_the_fleets_own_name():
    body, edits = sent(raw(max_tokens=5))
    assert body == {"model": "served-name", "messages": HI, "max_tokens": 5}
    assert edits == ["model"]


def test_the_policys_output_limit_is_sent_where_the_caller_sets_none():
    body, edits = sent(raw())
    assert body["max_tokens"] == 77
    assert "output_limit" in edits
    body, edits = sent(raw(max_completion_tokens=5))
    assert "max_tokens" not in body
    assert "output_limit" not in edits


def test_usage_is_asked_for_in_streams_and_other_options_stay():
    body, edits = sent(raw(stream=True, stream_options={"x": 1}))
    assert body["stream_options"] == {"x": 1, "include_usage": True}
    assert "include_usage" in edits
    body, edits = sent(raw(stream=True, stream_options={"include_usage": True}))
    assert "include_usage" not in edits


@pytest.mark.parametrize("engine", ["vllm", "llama.cpp", "sglang"])
def test_thinking_is_switched_by_the_chat_template(engine):
    body, edits = sent(raw(chat_template_kwargs={"x": 1}), thinking="off", engine=engine)
    assert body["chat_template_kwargs"] == {"x": 1, "enable_thinking": False}
    assert "thinking" in edits
    body, _ = sent(raw(), thinking="on", engine=engine)
    assert body["chat_template_kwargs"] == {"enable_thinking": True}


def test_ollama_has_its_own_thinking_switch():
    body, _ = sent(raw(), thinking="off", engine="ollama")
    assert body["reasoning_effort"] == "none"
    body, edits = sent(raw(), thinking="on", engine="ollama")
    assert "reasoning_effort" not in body
    assert "thinking" not in edits


def test_a_model_without_thinking_is_left_alone():
    body, edits = sent(raw(), thinking="off", abilities=())
    assert "chat_template_kwargs" not in body
    assert "thinking" not in edits


@pytest.mark.parametrize("asked", [{}, {"logprobs": False}, {"logprobs": None}])
def test_log_probabilities_are_asked_for_where_the_answer_is_tested_by_them(asked):
    body, edits = sent(raw(**asked), logprobs=True)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
    assert "logprobs" in edits
    body, edits = sent(raw(**asked))
    assert body.get("logprobs") == asked.get("logprobs")
    assert "logprobs" not in edits


def test_log_probabilities_that_the_caller_asks_for_are_left_as_they_are():
    body, edits = sent(raw(logprobs=True, top_logprobs=5), logprobs=True)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    assert "logprobs" not in edits


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([0.1, 1e300, -2.5]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["x", "logit_bias", "metadata", "扩展"]), json_values))
def test_whatever_the_router_does_not_know_passes_through(extra):
    body, _ = sent(raw(max_tokens=5, **extra))
    assert body == {"model": "served-name", "messages": HI, "max_tokens": 5, **extra}


def test_chinese_is_sent_on_unescaped():
    request = wire.parse_chat(raw(messages=[{"role": "user", "content": "你好，繁體也好"}]))
    body, _ = wire.upstream_body(wire.Edit(request, fleet(), 5, None))
    assert "你好，繁體也好".encode() in body


def test_the_callers_own_body_is_not_touched():
    request = wire.parse_chat(raw())
    wire.upstream_body(wire.Edit(request, fleet(), 5, "off"))
    assert request.body == {"model": "auto", "messages": HI}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 309, "-1" + "0" * 5000])
def test_a_number_beyond_those_of_engines_is_refused(number):
    data = raw(x=0).replace(b"0", number.encode())
    assert "too large" in refused(data).message


@pytest.mark.parametrize("number", [2**63, -(2**64), 10**308, 1.7e308])
def test_a_large_number_is_sent_on_as_it_is(number):
    assert sent(raw(x=number))[0]["x"] == number


def test_of_a_field_that_stands_twice_the_last_is_checked_and_sent():
    twice = raw().replace(b'"model"', b'"max_tokens": "SECRET", "max_tokens": 5, "model"')
    request = wire.parse_chat(twice)
    assert request.max_tokens == 5
    body, _ = wire.upstream_body(wire.Edit(request, fleet(), 77, None))
    assert (body.count(b"max_tokens"), b"SECRET" in body) == (1, False)

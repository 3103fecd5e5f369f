"""What an emulated fleet reads in a request, and what it refuses."""

import json
from dataclasses import replace

import pytest

from backends.catalogue import Fleet, Model, Replicas
from backends.engines.emulated_request import IMAGE_TOKENS, MESSAGE_TOKENS, Refused, parse

FLEET = Fleet(
    id="p5-scout",
    model=Model("llama-4-scout", 1000, frozenset(), ("en", "zh"), None),
    lane="accelerator",
    engine="emulated",
    kind="emulated",
    urls=("http://127.0.0.1:1/p5-scout/v1",),
    upstream_model="llama-4-scout",
    instance="p5.48xlarge",
    region="local",
    purchase="on_demand",
    price=None,
    replicas=Replicas(0, 1, 4, 0.7),
    profile=None,
    context_tokens=1000,
)
SECRET = "wolpertinger"  # stands in every prompt; nothing we say may have it
MESSAGES = [{"role": "user", "content": SECRET}]


def ask(**fields):
    return parse(json.dumps({"messages": MESSAGES, **fields}).encode(), FLEET, "chat")


def ask_text(prompt, **fields):
    return parse(json.dumps({"prompt": prompt, **fields}).encode(), FLEET, "text")


def image():
    return {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"messages": None}, 400, "`messages` is missing"),
        ({"messages": []}, 400, "`messages` is not a list with a message"),
        ({"messages": SECRET}, 400, "`messages` is not a list with a message"),
        ({"messages": [SECRET]}, 400, "`messages[0]` is not an object with a `role`"),
        ({"messages": [{"content": SECRET}]}, 400, "`messages[0]` is not an object with a `role`"),
        ({"messages": [*MESSAGES, {"role": 1}]}, 400, "`messages[1]`"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "`messages[0].content`"),
        ({"messages": [{"role": "user", "content": [SECRET]}]}, 400, "`messages[0].content`"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "type text or"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, 400, "type text or"),
        ({"model": 5}, 400, "`model` is not a text"),
        ({"model": "gpt-4"}, 404, "the model `gpt-4` does not exist (known: llama-4-scout)"),
        ({"model": ""}, 404, "(known: llama-4-scout)"),
        ({"max_tokens": 0}, 400, "`max_tokens` is not an integer of at least 1"),
        ({"max_tokens": "5"}, 400, "`max_tokens` is not an integer"),
        ({"max_tokens": 5.0}, 400, "`max_tokens` is not an integer"),
        ({"max_tokens": True}, 400, "`max_tokens` is not an integer"),
        ({"max_completion_tokens": -1}, 400, "`max_completion_tokens` is not an integer"),
        ({"min_tokens": -1}, 400, "`min_tokens` is not an integer of at least 0"),
        ({"min_tokens": 6, "max_tokens": 5}, 400, "`min_tokens` is above the output limit of 5"),
        ({"n": 0}, 400, "`n` is not an integer from 1 to 128"),
        ({"n": 129}, 400, "`n` is not an integer from 1 to 128"),
        ({"stream": "yes"}, 400, "`stream` is not true or false"),
        ({"ignore_eos": 1}, 400, "`ignore_eos` is not true or false"),
        ({"stream_options": {"include_usage": True}}, 400, "only be set when `stream` is true"),
        ({"stream": True, "stream_options": True}, 400, "`stream_options` is not an object"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, 400, "`include_usage` is not"),
        ({"stop": 5}, 400, "`stop` is not a text or a list of texts"),
        ({"stop": {}}, 400, "`stop` is not a text or a list of texts"),
        ({"stop": ["a", 5]}, 400, "`stop` is not a text or a list of texts"),
        ({"response_format": "json"}, 400, "`response_format` is not an object"),
        ({"response_format": {"type": "xml"}}, 400, "(known: json_object, json_schema, text)"),
        ({"logprobs": True}, 400, "`logprobs` is not emulated: no model runs here"),
        ({"top_logprobs": 3}, 400, "`top_logprobs` is not emulated"),
        ({"echo": True}, 400, "`echo` is not emulated"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(fields, status, words):
    with pytest.raises(Refused) as caught:
        ask(**fields)
    error = json.loads(caught.value.body())["error"]
    assert words in error["message"]
    assert SECRET not in error["message"]
    assert error["code"] == caught.value.status == status
    assert error["type"] == {400: "BadRequestError", 404: "NotFoundError"}[status]
    assert error["param"] in fields or error["param"] is not None


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"messages": [NaN]}'])
def test_a_body_that_is_no_json_object_is_refused(raw):
    with pytest.raises(Refused, match=r"the body is not (a JSON object|JSON)") as caught:
        parse(raw, FLEET, "chat")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("", 1), ("abcdefgh", 2), (["abcdefgh"], 2), ([1, 2, 3], 3), ([[1, 2, 3]], 3)],
)
def test_a_completion_takes_one_text_or_one_list_of_token_ids(prompt, tokens):
    assert ask_text(prompt).tokens_in == tokens


@pytest.mark.parametrize("prompt", [None, 5, [], ["a", "b"], [[1], [2]], [1, True], [1.5], {}])
def test_a_completion_takes_no_other_prompt(prompt):
    with pytest.raises(Refused, match="`prompt` is not one text"):
        ask_text(prompt)


@pytest.mark.parametrize(
    ("limit", "refused"), [(995, True), (994, True), (993, False), (1, False), (None, False)]
)
def test_prompt_and_output_together_must_fit_the_context(limit, refused):
    # 12 bytes and a template: 3 + 4 tokens of 1000
    if not refused:
        assert ask(max_tokens=limit).tokens_in == 3 + MESSAGE_TOKENS
        return
    with pytest.raises(Refused) as caught:
        ask(max_tokens=limit)
    assert str(caught.value).startswith(
        "This model's maximum context length is 1000 tokens. However, you requested "
        f"{limit} output tokens and your prompt contains 7 input tokens, for a total of {limit + 7}"
    )
    assert caught.value.status == 400


@pytest.mark.parametrize(("characters", "fits"), [(995, True), (996, False)])
def test_a_prompt_that_leaves_no_room_for_one_token_is_too_long(characters, fits):
    messages = [{"role": "user", "content": "長" * characters}]
    if fits:
        assert ask(messages=messages).answer.tokens == 1
        return
    with pytest.raises(Refused, match="requested 0 output tokens and your prompt contains 1000"):
        ask(messages=messages)


def test_without_a_limit_the_context_is_the_limit():
    assert ask(ignore_eos=True).answer.tokens == 1000 - 7


def test_max_completion_tokens_goes_before_max_tokens():
    fields = {"ignore_eos": True, "max_tokens": 9, "max_completion_tokens": 4}
    assert ask(**fields).answer.tokens == 4


def test_everything_that_a_model_would_read_counts_as_input():
    plain = ask().tokens_in
    parts = [{"type": "text", "text": SECRET}]
    assert ask(messages=[{"role": "user", "content": parts}]).tokens_in == plain
    assert ask(messages=[*MESSAGES, *MESSAGES]).tokens_in == 2 * plain
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefgh"}]}
    assert ask(messages=[*MESSAGES, call]).tokens_in > plain + MESSAGE_TOKENS + 2
    assert ask(tools=[{"type": "function", "function": {"name": "f" * 40}}]).tokens_in > plain + 10
    wide = replace(FLEET, context_tokens=100_000)
    body = {"messages": [{"role": "user", "content": [*parts, image()]}]}
    assert parse(json.dumps(body).encode(), wide, "chat").tokens_in == plain + IMAGE_TOKENS


def test_the_language_is_that_of_the_last_turn_of_the_user():
    messages = [
        {"role": "system", "content": "You are a helpful assistant for tickets of a shop."},
        {"role": "user", "content": "Hello there"},
        {"role": "user", "content": "請問我的訂單在哪裡"},
        {"role": "assistant", "content": "Let me see where it is at the moment."},
    ]
    assert ask(messages=messages).answer.text(0, 1) == "[模擬"
    assert ask(messages=messages[:2]).answer.text(0, 1) == "[emulated"


@pytest.mark.parametrize("value", [None, False])
def test_what_is_not_emulated_may_be_switched_off(value):
    assert ask(logprobs=value, top_logprobs=None, echo=value).n == 1


def test_stop_may_be_a_text_or_a_list():
    for stop in ("emulated", ["nothing", "emulated", ""]):
        answer = ask(stop=stop).answer
        assert answer.text(0, answer.tokens) == "["


def test_nothing_of_a_request_shows_in_its_repr():
    assert SECRET not in repr(ask(model="llama-4-scout", stop=[SECRET]))

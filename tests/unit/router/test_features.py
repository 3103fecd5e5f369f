import json

import pytest

from policies.conditions import NEEDS
from router.features.request import (
    BOUND_BYTES_PER_MESSAGE,
    HISTORY_MESSAGES,
    IMAGE_TOKENS,
    SYSTEM_CHARACTERS,
    Features,
    read,
)
from router.wire import parse_chat

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


def features(*messages, **fields):
    return read({"messages": list(messages), **fields}).features


def strengths(*messages):
    return dict(features(*messages).cues)


def test_features_cannot_be_changed():
    with pytest.raises(AttributeError):
        features(user("hi")).turns = 2


def test_features_hold_nothing_that_was_written():
    seen = features(
        system("Codeword zanzibar."),
        user("Is quixotry a noun?"),
        assistant("yes"),
        user("罕见词 flibber?"),
    )

    for word in ("zanzibar", "quixotry", "flibber", "罕见词"):
        assert word not in repr(seen)


# -- tokens ----------------------------------------------------------------------------------------


def test_every_message_costs_its_markers_too():
    one = features(user("hello there"))
    two = features(user("hello"), user(" there"))

    assert one.tokens_in == 2 + 4 + 3
    assert two.tokens_in - one.tokens_in == 4


def test_an_image_counts_as_many_tokens_and_no_bytes():
    plain, seen = (
        features(user("what is it")),
        features(user([{"type": "text", "text": "what is it"}, IMAGE])),
    )

    assert seen.tokens_in - plain.tokens_in == IMAGE_TOKENS
    assert seen.tokens_bound == plain.tokens_bound
    assert seen.images == 1


def test_the_bound_is_the_bytes_and_64_a_message():
    assert features(user("héllo 中")).tokens_bound == 10 + BOUND_BYTES_PER_MESSAGE
    assert features(user("\ud800")).tokens_bound == 3 + BOUND_BYTES_PER_MESSAGE


def test_a_long_text_is_bounded_by_the_body_it_came_in():
    text = "重复" * 20_000
    body = {"model": "auto", "messages": [user(text)]}
    request = parse_chat(json.dumps(body, ensure_ascii=False).encode())
    escaped = parse_chat(json.dumps(body).encode())
    exact = len(text.encode()) + BOUND_BYTES_PER_MESSAGE

    assert escaped.sent_bytes is None
    assert read(escaped.body, escaped.sent_bytes).features.tokens_bound == exact
    bound = read(request.body, request.sent_bytes).features.tokens_bound
    assert exact <= bound <= exact + 100


@pytest.mark.parametrize(
    "fields",
    [{"tools": [TOOL]}, {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}],
)
def test_tools_and_schemas_count_as_input(fields):
    bare, loaded = features(user("hi")), features(user("hi"), **fields)

    assert loaded.tokens_bound - bare.tokens_bound > 40
    assert loaded.tokens_in > bare.tokens_in


def test_tool_calls_and_names_count_as_input():
    bare = features(user("hi"), assistant(None), user("and"))
    calls = features(user("hi"), {**assistant(None), "tool_calls": [CALL]}, user("and"))
    named = features({**user("hi"), "name": "x" * 1000}, assistant(None), user("and"))

    assert calls.tokens_bound > bare.tokens_bound + 80
    assert named.tokens_bound >= bare.tokens_bound + 1000


def test_a_schema_nested_beyond_all_reason_is_still_bounded():
    schema = {"type": "string", "title": "标题"}
    for _ in range(20_000):
        schema = {"items": [schema]}

    seen = features(user("hi"), response_format={"type": "json_schema", "json_schema": schema})

    assert seen.tokens_bound > 20_000 * len('{"items": []}')


# -- needs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, ()),
        ({"tools": [TOOL]}, ("tools",)),
        ({"tools": []}, ()),
        ({"response_format": {"type": "json_object"}}, ("json",)),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, ("json",)),
        ({"response_format": {"type": "text"}}, ()),
        ({"response_format": None}, ()),
        ({"reasoning_effort": "high"}, ("thinking",)),
        ({"reasoning_effort": "none"}, ()),
        ({"reasoning_effort": None}, ()),
        ({"chat_template_kwargs": {"enable_thinking": True}}, ("thinking",)),
        ({"chat_template_kwargs": {"enable_thinking": False}}, ()),
        ({"chat_template_kwargs": ["enable_thinking"]}, ()),  # not OpenAI's: may be anything
        ({"reasoning_effort": ["high"]}, ("thinking",)),
        ({"logprobs": True}, ("logprobs",)),
        ({"logprobs": False}, ()),
        (
            {"logprobs": True, "tools": [TOOL], "response_format": {"type": "json_object"}},
            ("tools", "json", "logprobs"),
        ),
    ],
)
def test_needs_are_read_off_the_body(fields, needs):
    assert features(user("hi"), **fields).needs == needs
    assert set(needs) <= set(NEEDS)


def test_an_image_needs_vision():
    assert features(user([IMAGE])).needs == ("vision",)


# -- what is read of a conversation ----------------------------------------------------------------


def test_the_last_user_message_is_read_first_and_not_the_tool_result_after_it():
    seen = features(
        user("Translate to French: hello"),
        {**assistant(None), "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "prove, derive, design"},
    )

    assert dict(seen.cues).keys() == {"translate"}
    assert (seen.turns, seen.tool_results) == (1, 1)


def test_without_a_user_the_last_message_is_read():
    assert "prove" in strengths(system("prove it"))
    assert "prove" in strengths(system("hello"), assistant("prove it"))


@pytest.mark.parametrize("go_on", ["ok, continue", "继续", "好，接著寫"])
def test_continuing_takes_over_what_was_asked_before(go_on):
    seen = features(user("Prove the theorem"), assistant("First,"), user(go_on))

    assert dict(seen.cues)["prove"] >= 1.0
    assert seen.carried == 1.0


@pytest.mark.parametrize(
    "close", ["thanks, bye", "谢谢，再见", "who is Euler?", "translate to French: yes"]
)
def test_a_turn_with_a_topic_of_its_own_takes_nothing_over(close):
    seen = features(user("Prove the theorem"), assistant("Done."), user(close))

    assert "prove" not in dict(seen.cues)
    assert seen.carried == 0.0


def test_a_longer_turn_without_a_topic_leans_half_on_the_ones_before():
    text = "it has to hold for all of the even numbers below twenty as well as for the odd ones"

    assert features(user("Prove it"), assistant("How?"), user(text)).carried == 0.5


def test_history_is_read_a_few_messages_back_only():
    old = [user("Prove it"), *[assistant("ok")] * HISTORY_MESSAGES]

    assert "prove" not in strengths(*old, user("continue"))
    assert "prove" in strengths(*old[:-1], user("continue"))


def test_an_earlier_turn_lends_neither_thanks_nor_brevity():
    assert strengths(user("thanks, only one word"), assistant("ok"), user("go on")).keys() == {
        "continue"
    }


def test_a_system_prompt_speaks_apart_and_at_its_ends_only():
    padding = "x" * SYSTEM_CHARACTERS
    seen = features(system(f"Label only. {padding} prove {padding} 只回一个词"), user("hello"))

    assert dict(seen.system_cues).keys() == {"classify", "brief"}
    assert "classify" not in dict(seen.cues)


# -- odd content -----------------------------------------------------------------------------------


def test_without_any_text_nothing_is_found():
    for content in (None, "", [], [IMAGE], [{"type": "text", "text": ""}], [{"type": "refusal"}]):
        seen = features({"role": "user", "content": content})

        assert (seen.cues, seen.instruction_tokens, seen.language) == ((), 0, "en")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "“" * 100_000,
        "{a:" * 100_000,
        "\ud800" * 1000,
        "9" * 100_000 + "字",
        "\u202e" * 50,
    ],
    ids=["one letter", "open quotations", "open braces", "surrogates", "digits", "right to left"],
)
def test_odd_texts_are_read_without_complaint(text):
    seen = features(user(text))

    assert isinstance(seen, Features)
    assert 0 < seen.tokens_in <= seen.tokens_bound


def test_counts_are_of_the_instruction():
    seen = features(user("Translate to English: 1 2 3 x = 4 {} internationally? " + "字" * 300))

    assert (seen.numbers, seen.math_signs, seen.code_signs, seen.long_words) == (0, 0, 0, 0)
    assert seen.material_tokens > 150
    plain = features(user("Is 3 = 4 internationally {} known?"))
    assert (plain.numbers, plain.math_signs, plain.code_signs, plain.long_words) == (2, 1, 1, 1)
    assert plain.questions == 1


def test_signs_are_counted_at_the_ends_of_a_long_instruction():
    padding = "lorem " * 150

    assert features(user(f"1 {padding} 2 {padding} 3")).numbers == 2

"""What an emulated fleet says."""

import itertools
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engines.emulated_text import (
    TOKENS_MAX,
    TOKENS_MEDIAN,
    Limits,
    answer,
    language,
    natural_tokens,
    tokens_of,
)

WIDE = Limits(most=5000)
TONGUES = ["en", "zh-Hans", "zh-Hant"]


def said(limits=WIDE, tongue="en", prompt="Why is the sky blue?", as_json=False):
    return answer("p5-scout", prompt, tongue, limits, as_json=as_json)


def whole(it):
    return it.text(0, it.tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summarize this ticket", "en"),
        ("", "en"),
        ("42 + 7", "en"),
        ("请把这张工单归类", "zh-Hans"),
        ("請把這張工單歸類", "zh-Hant"),
        ("好", "zh-Hans"),
        ("请解释 TCP 和 UDP 的区别", "zh-Hans"),
        ("請解釋 TCP 和 UDP 有什麼不同", "zh-Hant"),
        ("Explain what the character 好 means and how it is written", "en"),
        ("この文章を要約してください", "en"),
        ("이 문장을 요약해 주세요", "en"),
    ],
)
def test_the_answer_is_in_the_language_of_the_request(text, expected):
    assert language(text) == expected


@pytest.mark.parametrize(
    ("tongue", "start"),
    [
        ("en", "[emulated p5-scout: no model ran] These words"),
        ("zh-Hans", "[模拟 p5-scout——没有运行模型]这些文字"),
        ("zh-Hant", "[模擬 p5-scout——沒有執行模型]這些文字"),
    ],
)
def test_the_answer_begins_by_saying_that_no_model_ran(tongue, start):
    assert whole(said(tongue=tongue)).startswith(start)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("abcd", 1),
        ("abcde", 2),
        ("你好吗。", 4),
        ("請問abcd", 3),
        ("𠮷野家", 3),  # outside the first plane
        ("привет", 4),
        ("안녕", 2),
    ],
)
def test_tokens_are_a_quarter_of_ascii_bytes_and_one_per_wide_character(text, tokens):
    assert tokens_of(text) == tokens


@given(
    st.text(st.sampled_from("ab é你請ツ한。"), max_size=30),
    st.text(st.sampled_from("a你é"), max_size=9),
)
def test_a_longer_text_never_has_fewer_tokens(text, more):
    assert tokens_of(text) <= tokens_of(text + more) <= tokens_of(text) + tokens_of(more)


@pytest.mark.parametrize("tongue", TONGUES)
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("cuts", [[1], [2, 3, 50], [7], [6, 8], list(range(1, 60))])
def test_the_parts_of_an_answer_make_the_whole(tongue, as_json, cuts):
    it = said(Limits(60, least=60), tongue, as_json=as_json)
    marks = [0, *cuts, it.tokens]
    parts = [it.text(a, b) for a, b in itertools.pairwise(marks)]
    assert "".join(parts) == whole(it)
    assert it.tokens == 60


@pytest.mark.parametrize(
    ("limits", "tokens", "reason"),
    [
        (Limits(3), 3, "length"),
        (Limits(1), 1, "length"),
        (Limits(3, ignore_eos=True), 3, "length"),
        (Limits(3000, ignore_eos=True), 3000, "length"),
        (Limits(3000, least=2000), 2000, "stop"),
        (Limits(2000, least=2000), 2000, "stop"),
    ],
)
def test_the_limits_set_the_length_and_the_reason_of_the_end(limits, tokens, reason):
    it = said(limits)
    assert (it.tokens, it.finish_reason) == (tokens, reason)


def test_the_same_prompt_gets_the_same_answer_and_another_one_another_length():
    assert said() == said()
    lengths = {said(prompt=f"question {i}").tokens for i in range(20)}
    assert len(lengths) > 10
    assert {said(prompt=f"question {i}").finish_reason for i in range(20)} == {"stop"}


def test_natural_lengths_spread_around_their_median_and_are_capped():
    lengths = [natural_tokens(f"問題 {i}") for i in range(4000)]
    assert statistics.median(lengths) == pytest.approx(TOKENS_MEDIAN, rel=0.05)
    quartiles = statistics.quantiles(lengths)
    assert quartiles[2] / quartiles[0] == pytest.approx(2.246, rel=0.1)  # exp(2 x 0.6745 x 0.6)
    assert 1 <= min(lengths) < max(lengths) <= TOKENS_MAX


@pytest.mark.parametrize("tongue", TONGUES)
@pytest.mark.parametrize("limits", [WIDE, Limits(500, least=400), Limits(500, ignore_eos=True)])
def test_a_json_answer_is_valid_json_that_says_it_is_emulated(tongue, limits):
    value = json.loads(whole(said(limits, tongue, as_json=True)))
    assert (value["emulated"], value["fleet"]) == (True, "p5-scout")


def test_a_json_answer_that_is_cut_says_so():
    it = said(Limits(3), as_json=True)
    assert it.finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole(it))


@pytest.mark.parametrize(
    ("stop", "expected", "tokens"),
    [
        (("no model",), "[emulated p5-scout: ", 5),
        (("scout: no",), "[emulated p5-", 4),
        (("[",), "", 1),
        (("absent",), None, 100),
        (("model", "scout"), "[emulated p5-", 2),
        (("d p5-scout:", "p5"), "[emulated ", 2),  # `p5` is whole first
        (("absent", "ran"), "[emulated p5-scout: no model ", 6),
    ],
)
def test_a_stop_text_ends_the_answer_before_it(stop, expected, tokens):
    unstopped = said(Limits(100, ignore_eos=True))
    it = said(Limits(100, ignore_eos=True, stop=stop))
    assert whole(it) == (whole(unstopped) if expected is None else expected)
    assert it.tokens == tokens
    assert it.finish_reason == ("length" if expected is None else "stop")


def test_a_stop_text_counts_only_after_the_least_tokens():
    it = said(Limits(100, least=9, stop=("These", "e")))
    assert whole(it) == "[emulated p5-scout: no model ran] These words only tak"

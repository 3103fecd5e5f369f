"""The estimate against counts of the Qwen2 vocabulary, made once with its tokenizer."""

from statistics import median

import pytest

from router.features.tokens import EXACT_CHARACTERS, SAMPLE_CHARACTERS, rough_tokens, tokens_in_text

COUNTED = [
    (
        19,
        "Classify this ticket as billing, technical or shipping: I was charged twice for my order.",
    ),
    (
        31,
        (
            "The council met on Monday evening to hear the report of the bridge engineers, "
            "who found that the northern pier has moved by four millimetres since spring."
        ),
    ),
    (
        50,
        (
            "Please call me back before 17:30 on 555-0142, or write to ana@example.org; "
            "order A-55310, total 1,284.50 euros."
        ),
    ),
    (24, "把这条工单分类为账单、技术或物流：我的订单被重复扣款了，请尽快处理。"),
    (
        33,
        (
            "市议会周一晚上听取了桥梁工程师的报告，报告说北侧桥墩自春天以来移动了四毫米，"
            "建议冬天之前让货车绕行。"
        ),
    ),
    (31, "請把這張工單分類為帳單、技術或物流：我的訂單被重複扣款了，請盡快處理。"),
    (
        42,
        (
            "市議會週一晚上聽取了橋樑工程師的報告，報告說北側橋墩自春天以來移動了四公釐，"
            "建議冬天之前讓貨車繞行。"
        ),
    ),
    (
        25,
        (
            "帮我看看这个 SQL query 为什么慢：SELECT * FROM orders "
            "WHERE created_at > now() - interval '7 days'"
        ),
    ),
    (
        58,
        (
            "def longest_run(values: list[int]) -> int:\n    best = current = 0\n"
            "    for left, right in pairwise(values):\n"
            "        current = current + 1 if left == right else 0\n"
            "        best = max(best, current)\n    return best + 1\n"
        ),
    ),
    (
        53,
        (
            "## Setup\n\n1. Install the package: `pip install example`\n"
            "2. Copy `config.example.yaml` to `config.yaml`\n"
            "3. Run `make up` and open http://127.0.0.1:8080/\n"
        ),
    ),
    (
        41,
        (
            "Let $f(x) = x^3 - 3x + 1$. Show that $f$ has three real roots "
            "and that $\\sum_{i} r_i^2 = 6$."
        ),
    ),
    (
        25,
        "注文した商品がまだ届いていません。もう二週間が過ぎましたので、カードに返金してください。",
    ),
    (27, "Здравствуйте, мой заказ до сих пор не пришёл, хотя прошло уже две недели."),
    (
        66,
        (
            "U2x1aWNlIHJvdXRlcyBlYWNoIHJlcXVlc3QgdG8gdGhlIGNoZWFwZXN0IGZsZWV0IHRoYXQgbWVldHMgdGhlIHBv"
            "bGljeS4="
        ),
    ),
]


def error(counted, text):
    return abs(tokens_in_text(text) / counted - 1)


@pytest.mark.parametrize(("counted", "text"), COUNTED)
def test_an_estimate_is_within_a_fifth_of_the_real_count(counted, text):
    assert error(counted, text) <= 0.21


def test_the_median_estimate_is_within_a_tenth():
    assert median(error(counted, text) for counted, text in COUNTED) < 0.1


def test_nothing_has_no_tokens():
    assert tokens_in_text("") == rough_tokens("") == 0


@pytest.mark.parametrize("text", ["a", "。", "的", "7"])
def test_a_character_repeated_is_extrapolated_from_samples_without_a_gap(text):
    just_read = tokens_in_text(text * (EXACT_CHARACTERS + SAMPLE_CHARACTERS))
    sampled = tokens_in_text(text * (EXACT_CHARACTERS + 2 * SAMPLE_CHARACTERS))

    assert just_read * 1.05 < sampled < just_read * 1.25


def test_a_sample_stands_for_the_stretch_behind_it():
    english, digits = "word " * (EXACT_CHARACTERS // 5), "7" * EXACT_CHARACTERS * 9

    assert tokens_in_text(english + digits) == tokens_in_text(english) + len(digits)


def test_indentation_is_cheap_and_never_negative():
    assert 0 < tokens_in_text(" " * 40) <= tokens_in_text(" " * 41) < 10


def test_a_chinese_full_stop_is_one_token():
    assert tokens_in_text("。" * 10) == 10


@pytest.mark.parametrize("text", ["\ud800", "a\udfff中", "\x00\x07", "שלום", "👍🏽" * 3])
def test_odd_characters_are_counted_too(text):
    assert 0 < tokens_in_text(text) <= 4 * len(text)


@pytest.mark.parametrize(("counted", "text"), COUNTED)
def test_the_rough_count_is_of_the_same_size(counted, text):
    assert 1 / 3 < rough_tokens(text) / counted < 1.6

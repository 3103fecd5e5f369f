import pytest

from router.features.phrases import words_of
from router.features.signs import (
    chinese_number,
    code_signs_in,
    math_signs_in,
    numbers_in,
    tokens_asked_in,
)


def asked(text):
    return tokens_asked_in(text, words_of(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("write 200 words about rain", 270),
        ("a 200-word summary", 270),
        ("in two thousand words", 2700),
        ("an essay of twelve hundred words", 1620),
        ("one word", 1),
        ("three sentences, then 2 paragraphs", 220),
        ("a page of ten lines", 140),
        ("写一篇两千字的文章", 1400),
        ("寫一篇兩千字的文章", 1400),
        ("写 1500 字左右", 1050),
        ("不超过 20 个字", 14),
        ("用三句话回答", 66),
        ("只回一个词", 1),
        ("写十万字的小说", 70_000),
        ("words fail me", None),
        ("word", None),
        ("the first page", None),
        ("这个字怎么读", None),
        ("", None),
    ],
)
def test_the_length_asked_for_is_read_in_both_languages(text, tokens):
    assert asked(text) == tokens


def test_a_length_beyond_reason_is_capped():
    assert asked("999999999999 words") == asked("写九千九百万字") == 100_000


@pytest.mark.parametrize(
    ("numeral", "number"),
    [("一", 1), ("十", 10), ("十五", 15), ("一百二十", 120), ("两千", 2000), ("兩千五百", 2500),
     ("一万两千", 12_000), ("三萬", 30_000), ("万", 10_000), ("二〇二五", 5)],
)  # fmt: skip
def test_chinese_numerals_are_read(numeral, number):
    assert chinese_number(numeral) == number


def test_numbers_are_counted_not_words_with_digits():
    assert numbers_in(words_of("3 apples, 4.5 pears and p99")) == 3


@pytest.mark.parametrize(
    ("text", "signs"), [("x^2 = 4", 2), ("√2 ≤ π", 3), ("\\frac{1}{2}", 1), ("plain", 0)]
)
def test_math_signs_are_counted(text, signs):
    assert math_signs_in(text) == signs


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("def f(): return g() == 1", 5),
        ("a (plain) remark; indeed", 0),
        ("plain", 0),
        ("if (a) {\n}", 1),
    ],
)
def test_code_signs_are_counted(text, signs):
    assert code_signs_in(text) == signs

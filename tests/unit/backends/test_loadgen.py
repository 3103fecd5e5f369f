"""What single requests saw, summed up to one measurement; and prompts of a wanted length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.loadgen.prompts import prompt, words_for
from backends.loadgen.samples import NothingMeasured, Sample, itl_ms, measurement, percentiles

DAY = "2026-11-21"


def sample(began=0.0, first=0.1, last=1.0, tokens_in=100, tokens_out=10, failed=None):
    return Sample(began, first, last, tokens_in, tokens_out, failed)


def test_a_load_is_summed_up_over_its_whole_time():
    found = measurement([sample(), sample(began=1.0, first=1.3, last=2.0)], 2, DAY)
    assert found.concurrency == 2
    assert found.mix_tok_s == pytest.approx(20 / 2.0)
    assert (found.tokens_in, found.tokens_out) == (100, 10)
    assert found.ttft_ms.p50 == pytest.approx(200)
    assert found.e2e_ms.mean == pytest.approx(1000)
    assert found.itl_ms.mean == pytest.approx((900 / 9 + 700 / 9) / 2)
    assert (found.completed, found.failed, found.date) == (2, 0, DAY)


def test_what_failed_is_counted_and_adds_nothing_to_the_figures():
    failed = sample(began=-5.0, last=50.0, failed="timed_out")
    silent = sample(tokens_out=None, last=60.0)
    empty = sample(first=None, last=70.0)
    found = measurement([sample(), failed, silent, empty], 4, DAY)
    assert (found.completed, found.failed) == (1, 3)
    assert found.mix_tok_s == pytest.approx(10)


def test_a_load_without_an_answer_says_what_went_wrong_how_often():
    samples = [sample(failed="overloaded")] * 2 + [sample(failed="broken"), sample(tokens_out=0)]
    with pytest.raises(NothingMeasured, match="2 x overloaded, 1 x broken, 1 x no usage"):
        measurement(samples, 4, DAY)
    with pytest.raises(NothingMeasured, match="no request ended"):
        measurement([], 1, DAY)


def test_one_token_has_no_time_between_tokens():
    assert itl_ms(sample(tokens_out=1)) is None
    assert measurement([sample(tokens_out=1)], 1, DAY).itl_ms is None


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, 50.0, 900.0]), min_size=1, max_size=12))
def test_percentiles_rise_and_stay_within_what_was_seen(values):
    found = percentiles(values)
    ranks = [min(values), found.p50, found.p90, found.p95, found.p99, max(values)]
    assert ranks == sorted(ranks)
    assert min(values) <= found.mean <= max(values)


def test_percentiles_lie_between_their_neighbours():
    found = percentiles([10.0, 20.0, 30.0, 40.0, 50.0])
    assert (found.p50, found.p90) == (30.0, 46.0)
    assert percentiles([]) is None


@given(st.sampled_from([1, 2, 9, 200]), st.sampled_from([1, 2]))
def test_no_two_prompts_begin_alike_and_each_has_its_words(words, number):
    text = prompt(words, number)
    assert len(text.split()) == words
    assert prompt(words, number + 10).split()[0] != text.split()[0]


def test_prompts_are_english_and_chinese():
    text = prompt(100, 1)
    assert "refund" in text
    assert "订单" in text
    assert "請" in text


@pytest.mark.parametrize(("tokens", "words"), [(30, 10), (10, 0), (230, 110)])
def test_the_words_of_a_length_lie_on_the_line_through_two_seen(tokens, words):
    assert words_for(tokens, ((10, 30), (60, 130))) == max(1, words)


def test_a_count_that_does_not_grow_is_taken_as_a_token_a_word():
    assert words_for(50, ((10, 30), (60, 30))) == 50

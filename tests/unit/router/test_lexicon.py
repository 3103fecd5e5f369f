from collections import Counter

import pytest

from router.features.lexicon import CUES, HEAVY, LIGHT
from router.features.phrases import STRENGTH_MAX, cues_in, words_of

NAMES = {cue.name for cue in CUES}


def phrases(column):
    return column.split("|")


def found(text):
    return cues_in(text)


@pytest.mark.parametrize("cue", CUES, ids=lambda cue: cue.name)
def test_every_cue_speaks_all_three_columns_about_equally(cue):
    sizes = [len(phrases(column)) for column in (cue.en, cue.hans, cue.hant)]

    assert min(sizes) >= 5
    assert max(sizes) <= 2.7 * min(sizes)
    assert sizes[2] >= sizes[1]


@pytest.mark.parametrize("cue", CUES, ids=lambda cue: cue.name)
def test_every_phrase_finds_its_own_cue(cue):
    for phrase in phrases(f"{cue.en}|{cue.hans}|{cue.hant}"):
        assert cue.name in found(f"{phrase} ..."), phrase


@pytest.mark.parametrize("cue", CUES, ids=lambda cue: cue.name)
def test_no_phrase_stands_twice_in_a_column_or_has_blanks_around_it(cue):
    for column in (cue.en, cue.hans, cue.hant):
        assert max(Counter(phrases(column)).values()) == 1
        assert all(phrase == phrase.strip().lower() != "" for phrase in phrases(column))


def test_names_are_unique_and_light_and_heavy_ones_are_among_them():
    assert len(NAMES) == len(CUES)
    assert LIGHT | HEAVY <= NAMES
    assert not LIGHT & HEAVY


def test_a_word_inside_another_is_no_cue():
    assert "agent" not in found("the deployment of renamed footballs")
    assert "close" not in found("把 shipping 归到 which 一类")  # `hi` stands in both


def test_a_cue_is_stronger_at_the_start_than_far_inside():
    filler = "and so on " * 100

    start, inside = found(f"prove it {filler}"), found(f"{filler} prove it {filler}")

    assert start["prove"] == 1.0
    assert inside["prove"] == 0.25
    assert found(f"{filler} prove it")["prove"] == 0.5


def test_strength_is_capped():
    assert (
        found("sentiment, emotion, tone of, mood of, happy or angry or")["sentiment"]
        == STRENGTH_MAX
    )


def test_words_are_ascii_words_and_numbers():
    assert words_of("can't 分类 a-55310, naïve") == ["can", "t", "a", "55310", "na", "ve"]

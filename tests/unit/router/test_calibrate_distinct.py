"""Labels of one text are one label, whatever they are called and however often they come."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibrate.distinct import distinct
from router.calibrate.fit import Label, counts

LABEL = Label("1", "Refund me", "en", 0.5, 1.0, 1.0)
BAD = replace(LABEL, id="2", weak=0.0)


def test_labels_of_one_text_are_the_mean_of_their_outcomes():
    found = distinct([LABEL, BAD, replace(BAD, id="3"), replace(LABEL, id="4", text="other")])
    one, other = found.labels
    assert (one.weak, one.strong) == (pytest.approx(1 / 3), 1.0)
    assert one.acceptable == pytest.approx(1 / 3)
    assert other.acceptable == 1
    assert (found.doubled, found.repeated, found.torn) == (0, 2, 0)


def test_a_gain_and_a_loss_of_the_strong_model_are_not_acceptable_together():
    """Their gains make up for one another, yet one of the two answers was not acceptable."""
    found = distinct([BAD, replace(LABEL, id="3", strong=0.0)])
    assert found.labels[0].gain == 0
    assert found.labels[0].acceptable == 0.5


def test_lines_of_one_id_and_text_count_once_in_the_mean():
    found = distinct([LABEL, *[BAD] * 9])
    assert found.labels[0].acceptable == 0.5
    assert (found.doubled, found.repeated) == (8, 1)


def test_lines_without_an_id_are_never_doubled_ones():
    found = distinct([replace(LABEL, id="")] * 3)
    assert (len(found.labels), found.doubled, found.repeated, found.torn) == (1, 0, 2, 0)


def test_case_and_blanks_make_no_other_text():
    texts = ["Refund me", "refund  ME\n", " Refund me", "Refund me!"]
    found = distinct([replace(LABEL, id=text, text=text) for text in texts])
    assert (len(found.labels), found.repeated) == (2, 2)


def test_an_id_of_several_texts_is_counted_once():
    texts = ["a", "b", "c", "a"]
    found = distinct([replace(LABEL, text=text) for text in texts])
    assert (len(found.labels), found.doubled, found.torn) == (3, 1, 1)


def test_labels_without_text_are_all_kept():
    found = distinct([replace(LABEL, text=None)] * 5)
    assert (len(found.labels), found.doubled, found.repeated, found.torn) == (5, 0, 0, 0)


drawn = st.tuples(st.sampled_from("ab1"), st.sampled_from(["x", "X", "y", None]), st.booleans())


@given(st.lists(drawn, max_size=12))
def test_copies_more_or_less_never_change_how_many_labels_count(rows):
    labels = [Label(id_, text, "en", 0.5, float(good), 1.0) for id_, text, good in rows]
    found = distinct(labels)
    assert len(found.labels) + found.doubled + found.repeated == len(labels)
    assert distinct(found.labels).labels == found.labels
    copied = distinct([*labels, *(one for one in labels if one.text is not None)])
    assert [one.text for one in copied.labels] == [one.text for one in found.labels]
    known = len({text.casefold() for _, text, _ in rows if text is not None})
    assert sum(n for n, _ in counts(found.labels).values()) == known + sum(
        text is None for _, text, _ in rows
    )

"""Calibrating on labels: what is learnt, how it is judged, and that a shuffled model fails."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.calibrate.fit import Label, fit
from router.calibrate.report import floors, ordering, reliability, threshold_for
from router.calibrate.ridge import ridge
from router.classify import judge_by
from router.classify.calibration import from_json, to_json
from router.classify.words import HEAD, TAIL, size, words
from router.features import read

EASY = ["refund", "parcel", "invoice", "发票", "物流"]
HARD = ["eigenvalue", "theorem", "integral", "矩阵", "定理"]


def labels(count=240, seed=1):
    """Return labels of two topics: of one the small model knows most, of the other little."""
    draw = random.Random(seed)
    made = []
    for i in range(count):
        hard = draw.random() < 0.5
        topic = draw.choice(HARD if hard else EASY)
        other = draw.choice(["today", "please", "again", "一下", "吗"])
        weak = float(draw.random() < (0.2 if hard else 0.9))
        text = f"{topic} {other} question {i % 7}"
        made.append(Label(str(i), text, "en", 0.5, weak, max(weak, float(draw.random() < 0.9))))
    return made


LABELS = labels()
FITTED = fit(LABELS)


# -- words -----------------------------------------------------------------------------------------


def test_english_is_read_by_words_and_chinese_by_characters_with_their_pairs():
    assert len(words("Refund my order")) == 3 + 2
    assert len(words("退款订单")) == 4 + 3
    assert words("REFUND, my order!") == words("refund my order")
    assert words("退款 订单") == words("退款订单")
    assert words("") == frozenset()


def test_of_a_long_text_the_beginning_and_the_end_are_read():
    long = "a " * HEAD + "middle " + "b " * TAIL
    assert words("middle") & words(long) == frozenset()
    assert words("b") <= words(long)
    assert size("x" * 1_000_000) < 3


# -- ridge -----------------------------------------------------------------------------------------

small = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])


@given(
    st.lists(st.tuples(small, small, small), min_size=1, max_size=6),
    st.lists(small, min_size=6, max_size=6),
    st.sampled_from([0.1, 1.0, 10.0]),
)
def test_ridge_solves_its_normal_equations(dense, target, penalty):
    rows = [[(i, x) for i, x in enumerate(row) if x] for row in dense]
    target = target[: len(rows)]
    found = ridge(rows, target, 3, penalty)
    for column in range(3):
        off = penalty * found[column]
        for row, wanted in zip(dense, target, strict=True):
            off += row[column] * (sum(x * w for x, w in zip(row, found, strict=True)) - wanted)
        assert off == pytest.approx(0, abs=0.05)


# -- what is learnt --------------------------------------------------------------------------------


def test_prompts_that_were_not_seen_are_ordered_by_what_was_learnt():
    found = ordering(LABELS, [-p for p in FITTED.p_small])
    assert found.low > 0.6
    assert found.low <= found.apgr <= found.high
    assert ordering(LABELS, [label.complexity for label in LABELS]).apgr == pytest.approx(0.5)


def test_a_model_of_shuffled_labels_orders_nothing():
    draw = random.Random(7)
    outcomes = [(label.weak, label.strong) for label in LABELS]
    draw.shuffle(outcomes)
    shuffled = [
        Label(label.id, label.text, label.language, label.complexity, *outcome)
        for label, outcome in zip(LABELS, outcomes, strict=True)
    ]
    found = ordering(shuffled, [-p for p in fit(shuffled).p_small])
    assert found.low <= 0.5
    assert found.apgr < 0.58


def test_p_small_is_as_often_acceptable_as_it_says():
    bins = reliability(LABELS, FITTED.p_small)
    assert sum(row.count for row in bins) == len(LABELS)
    for half in (bins[:5], bins[5:]):
        foretold, found = (
            sum(getattr(row, name) for row in half) / 5 for name in ("foretold", "found")
        )
        assert foretold == pytest.approx(found, abs=0.1)
    mean = sum(FITTED.p_small) / len(LABELS)
    acceptable = sum(label.acceptable for label in LABELS) / len(LABELS)
    assert mean == pytest.approx(acceptable, abs=0.02)


def test_a_fit_is_the_same_every_time_and_survives_its_file():
    again = fit(LABELS)
    assert again == FITTED
    kept = from_json(json.loads(json.dumps(to_json(FITTED.calibration))))
    for label in LABELS[:20]:
        ours, theirs = (c.gain(label.text, 0.5, {"code": 1.0}) for c in (kept, FITTED.calibration))
        assert ours == pytest.approx(theirs, abs=1e-3)


def test_signals_of_the_judge_are_learnt_too():
    """The words are all alike, so only what the judge saw tells."""
    labels = [
        replace(label, text=f"the same words {i}", complexity=0.5, signals={"code": float(i % 2)})
        for i, label in enumerate(LABELS[:200])
    ]
    labels = [replace(label, weak=1 - label.signals["code"], strong=1.0) for label in labels]
    fitted = fit(labels)
    assert fitted.calibration.signals["code"] > 0.05
    assert ordering(labels, [1 - p for p in fitted.p_small]).apgr > 0.7
    assert from_json(json.loads(json.dumps(to_json(fitted.calibration)))).signals.keys() == {"code"}


def test_a_calibration_changes_p_small_alone():
    body = {"model": "auto", "messages": [{"role": "user", "content": "theorem today"}]}
    plain = judge_by()(read(body))
    by = judge_by(calibration=FITTED.calibration)
    learnt = by(read(body))
    assert learnt.p_small != plain.p_small
    assert (learnt.tier, learnt.task, learnt.complexity) == (
        plain.tier,
        plain.task,
        plain.complexity,
    )
    easy = {"model": "auto", "messages": [{"role": "user", "content": "refund today"}]}
    assert by(read(easy)).p_small > learnt.p_small


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"version": 2},
        {"version": 1},
        {**to_json(FITTED.calibration), "idf": [1.0]},
        {**to_json(FITTED.calibration), "mean": "x"},
        {**to_json(FITTED.calibration), "words": 3},
        {**to_json(FITTED.calibration), "signals": 3},
        {**to_json(FITTED.calibration), "signals": {"code": "x"}},
    ],
)
def test_what_is_no_calibration_is_refused(value):
    with pytest.raises(
        ValueError, match=r"calibration|lists of one length|not a number|a number by name"
    ):
        from_json(value)


# -- how it is judged ------------------------------------------------------------------------------


def apgr_by_hand(rows, scores):
    """Return the area under the gain won, every prompt a threshold, over all orders of ties."""
    total, n = sum(row.gain for row in rows), len(rows)
    expected = [0.0]
    for calls in range(1, n + 1):
        cut = sorted(scores, reverse=True)[calls - 1]
        above = [r.gain for r, s in zip(rows, scores, strict=True) if s > cut]
        tied = [r.gain for r, s in zip(rows, scores, strict=True) if s == cut]
        expected.append(sum(above) + sum(tied) * (calls - len(above)) / len(tied))
    return sum((a + b) / 2 for a, b in pairwise(expected)) / n / total


outcomes = st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]))


@given(st.lists(st.tuples(outcomes, st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=8))
def test_apgr_is_the_area_under_every_threshold(drawn):
    rows = [Label(str(i), "", "en", 0.5, *pair) for i, (pair, _) in enumerate(drawn)]
    scores = [score for _, score in drawn]
    found = ordering(rows, scores)
    if sum(row.gain for row in rows) <= 0:
        assert found.apgr is None
    else:
        assert found.apgr == pytest.approx(apgr_by_hand(rows, scores))
        assert 0 < found.cpt50 <= found.cpt80 <= 1


def test_thresholds_tell_what_stays_small_and_how_surely():
    rows = floors(LABELS, FITTED.p_small)
    assert len(rows) > 10
    assert rows[-1].small == 1
    for row in rows:
        kept = sum(p >= row.threshold for p in FITTED.p_small)
        assert row.small == kept / len(LABELS)
        assert row.acceptable_sure <= row.acceptable_low <= row.acceptable
    thresholds = [row.threshold for row in rows]
    assert thresholds == sorted(set(thresholds), reverse=True)
    assert rows[-1].quality == pytest.approx(
        sum(label.weak for label in LABELS) / sum(label.strong for label in LABELS)
    )
    chosen = threshold_for(rows, 0.8)
    assert chosen.acceptable_sure >= 0.8
    assert threshold_for(rows, 1.0) is None


def test_quality_over_a_strong_model_that_answers_nothing_is_unknown():
    nothing = [replace(label, strong=0.0) for label in LABELS]
    assert {row.quality for row in floors(nothing, FITTED.p_small)} == {None}


def noise(seed, count=300):
    draw = random.Random(seed)
    words = [f"word{i}" for i in range(60)]
    return [
        Label(str(i), " ".join(draw.sample(words, 8)), "en", draw.random(), draw.random(), 1.0)
        for i in range(count)
    ]


def test_noise_teaches_the_level_alone():
    """One in a hundred or so passes for more; of these none does."""
    for seed in range(6):
        labels = noise(seed)
        fitted = fit(labels)
        assert (fitted.words, fitted.features, fitted.is_level) == (False, False, True)
        level = (sum(label.acceptable for label in labels) + 1) / (len(labels) + 2)
        assert set(fitted.p_small) == {round(level, 4)}


def p_of(fitted, text):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    return judge_by(calibration=fitted.calibration)(read(body)).p_small


@pytest.mark.parametrize("good", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 60, 400])
def test_labels_of_one_kind_teach_a_level_that_so_many_can_bear_out(good, count):
    text = [Label(str(i), f"refund {i}", "en", 0.5, good, 1.0) for i in range(count)]
    without = [replace(label, text=None) for label in text]
    level = round((good * count + 1) / (count + 2), 4)
    for labels in (text, without, [*text[: count // 2], *without[count // 2 :]]):
        fitted = fit(labels)
        assert fitted.is_level
        assert set(fitted.p_small) == {level}
        assert {p_of(fitted, asked) for asked in ("refund 3", "theorem " * 99, "")} == {level}
        assert fitted.calibration.counts == {"other": (count, int(good) * count)}


def test_p_small_is_never_surer_than_its_labels_can_be():
    """Outcomes that one word tells without fail, and texts that say nothing but that word."""
    labels = [
        Label(str(i), f"{'theorem' if i % 2 else 'refund'} {i}", "en", 0.5, 1.0 - i % 2, 1.0)
        for i in range(60)
    ]
    fitted = fit(labels)
    assert fitted.words
    extreme = [*fitted.p_small, p_of(fitted, "refund"), p_of(fitted, "theorem")]
    assert round(1 / 62, 4) <= min(extreme) < 0.2
    assert 0.8 < max(extreme) <= round(61 / 62, 4)
    steep = replace(fitted.calibration, slope=1e6, offset=-1e6 * fitted.calibration.mean)
    assert {p_of(replace(fitted, calibration=steep), one) for one in ("refund", "theorem")} == {
        round(1 / 62, 4),
        round(61 / 62, 4),
    }


def test_texts_whose_words_tell_nothing_teach_by_complexity_and_size():
    labels = [replace(label, weak=float(label.complexity < 0.5)) for label in noise(1)]
    labels = [replace(label, text=f"{i}") for i, label in enumerate(labels)]
    fitted = fit([replace(label, complexity=0.5) for label in labels])
    assert fitted.is_level
    sizes = [replace(one, complexity=0.5, tokens_in=int(300 * one.weak) + 1) for one in labels]
    fitted = fit(sizes)
    assert (fitted.words, fitted.features, fitted.is_level) == (False, True, False)
    assert ordering(sizes, [-p for p in fitted.p_small]).apgr > 0.7


def test_copies_of_a_text_do_not_foretell_one_another():
    """Random outcomes of few texts: by rote they would be foretold nearly without fail."""
    draw = random.Random(5)
    texts = [f"{draw.random()} question {i}" for i in range(30)]
    outcomes = [float(draw.random() < 0.5) for _ in texts]
    labels = [
        Label(f"{i}-{copy}", text, "en", 0.5, outcomes[i], 1.0)
        for i, text in enumerate(texts)
        for copy in range(10)
    ]
    assert ordering(labels, [-p for p in fit(labels).p_small]).apgr < 0.75

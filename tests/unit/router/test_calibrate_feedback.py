"""Calibrating on labels without text: the curve, the weight of a key, and both kinds together."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies import LANGUAGES, TASKS
from router.calibrate.curve import Seen, learn, level, logistic
from router.calibrate.fit import LEAST, Label, counts, fit, weighted
from router.calibrate.report import confusion, floors, ordering
from router.calibrate.weights import fair_share, weigh
from router.classify import judge_by
from router.classify.calibration import from_json, pooled, to_json
from router.features import read


def seen(task="math", complexity=0.5, language="en", tokens_in=100, good=1.0, weight=1.0):
    return Seen(task, complexity, language, tokens_in, good, weight)


def p_of(curve, task="math", complexity=0.5, language="en", tokens_in=100):
    odds = curve.log_odds(task, complexity, language, tokens_in)
    return 1 / (1 + exp(-odds))


def labels(count=300, seed=1, key="k1"):
    """Return labels as feedback has them: math is hard for the small model, the rest easy."""
    draw = random.Random(seed)
    made = []
    for i in range(count):
        task = draw.choice(["math", "sentiment", "translation"])
        hardness = draw.choice([0.1, 0.5, 0.9])
        good = float(draw.random() < (0.25 if task == "math" else 0.97 - 0.2 * hardness))
        language = draw.choice(["en", "zh-Hans"])
        tokens = draw.choice([20, 200])
        made.append(
            Label(str(i), None, language, hardness, good, 1.0, task, tokens, key, bool(good))
        )
    return made


# -- the curve -------------------------------------------------------------------------------------


numbers = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
rows_of = st.tuples(numbers, numbers, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.5, 1.0]))


@given(st.lists(rows_of, min_size=1, max_size=8), st.sampled_from([0.1, 4.0]))
def test_the_logistic_curve_lies_where_every_slope_is_zero(drawn, penalty):
    rows = [((0, 1.0), (1, x), (2, y)) for x, y, _, _ in drawn]
    found = logistic(rows, [g for _, _, g, _ in drawn], [w for *_, w in drawn], [penalty] * 3)
    for column in range(3):
        slope = -penalty * found[column]
        for row, (_, _, good, weight) in zip(rows, drawn, strict=True):
            odds = sum(found[i] * x for i, x in row)
            slope += weight * (good - 1 / (1 + exp(-odds))) * dict(row)[column]
        assert slope == pytest.approx(0, abs=1e-6)


def test_a_task_of_many_labels_speaks_for_itself_and_one_of_few_for_the_whole():
    whole = [seen("sentiment", good=float(i % 10 > 0)) for i in range(400)]
    shares = []
    for count in (1, 4, 16, 400):
        curve = learn([*whole, *(seen("math", good=0.0) for _ in range(count))])
        shares.append(p_of(curve))
    assert all(later < sooner for sooner, later in pairwise(shares))
    assert shares[0] > 0.8
    assert shares[1] > 0.6
    assert shares[-1] < 0.05
    assert p_of(curve, "sentiment") == pytest.approx(0.9, abs=0.03)


def test_a_task_and_a_language_that_were_never_seen_are_as_the_whole():
    curve = learn([seen(good=float(i % 2)) for i in range(100)])
    assert 0.3 < p_of(curve, "planning", language="other") < 0.7


def test_complexity_and_size_are_learnt_and_size_ends_where_the_labels_do():
    curve = learn(
        [
            seen(complexity=hard / 10, tokens_in=10 + 30 * size, good=float(hard + size < 10))
            for hard in range(11)
            for size in range(11)
        ]
    )
    assert p_of(curve, complexity=0.1) > p_of(curve, complexity=0.9)
    assert p_of(curve, tokens_in=15) > p_of(curve, tokens_in=300)
    assert p_of(curve, tokens_in=10**9) == p_of(curve, tokens_in=310)
    assert p_of(curve, tokens_in=0) == p_of(curve, tokens_in=10)


def test_labels_of_one_kind_leave_a_doubt():
    for good in (0.0, 1.0):
        p = p_of(learn([seen(good=good) for _ in range(100)]))
        assert 0.001 < abs(p - good) < 0.1


def test_a_label_of_half_the_weight_counts_half():
    whole = [seen(good=float(i % 2)) for i in range(50)]
    twice = learn([*whole, *(seen("code", good=1.0, weight=0.5) for _ in range(20))])
    once = learn([*whole, *(seen("code", good=1.0) for _ in range(10))])
    assert p_of(twice, "code") == pytest.approx(p_of(once, "code"), abs=1e-6)
    assert twice.labels == once.labels == 60


# -- the weight of a key ---------------------------------------------------------------------------

keys_of = st.lists(st.sampled_from([None, "a", "a", "a", "b", "c"]), min_size=1, max_size=30)


@given(keys_of, st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]))
def test_no_key_makes_up_more_than_its_share_and_none_is_cut_without_need(keys, share):
    allowed = fair_share(keys, share)
    weights = weigh(keys, allowed)
    total = sum(weights)
    for key in set(keys) - {None}:
        mine = sum(w for w, k in zip(weights, keys, strict=True) if k == key)
        assert mine <= allowed * total + 1e-9
        if mine < keys.count(key) - 1e-9:  # it was cut, so no further than to its share
            assert mine == pytest.approx(allowed * total)
    assert all(w == 1.0 for w, k in zip(weights, keys, strict=True) if k is None)
    assert total > 0


@given(keys_of)
def test_keys_that_are_alike_weigh_alike_and_fewer_labels_never_weigh_more(keys):
    weights = weigh(keys, fair_share(keys, 0.5))
    mine = {k: sum(w for w, x in zip(weights, keys, strict=True) if x == k) for k in set(keys)}
    mine.pop(None, None)
    by_size = sorted(mine, key=keys.count)
    for fewer, more in pairwise(by_size):
        assert mine[fewer] <= mine[more] + 1e-9
        if keys.count(fewer) == keys.count(more):
            assert mine[fewer] == pytest.approx(mine[more])


@pytest.mark.parametrize(
    ("keys", "share", "weighs"),
    [
        (["a"] * 9, 0.5, {"a": 9}),  # there is nobody else
        (["a"] * 9 + ["b"], 0.5, {"a": 1, "b": 1}),
        (["a"] * 9 + ["b"] * 2 + ["c"] * 2, 0.5, {"a": 4, "b": 2, "c": 2}),
        (["a"] * 9 + ["b"], 0.1, {"a": 1, "b": 1}),  # as much as each of two must have
        (["a"] * 9 + [None] * 3, 0.5, {"a": 9}),  # the file is the operator's own
        (["a"] * 9 + ["b"] + [None] * 3, 0.5, {"a": 4, "b": 1}),
        (["a"] * 9 + ["b"], 1.0, {"a": 9, "b": 1}),
    ],
)
def test_how_much_a_key_weighs(keys, share, weighs):
    weights = weigh(keys, fair_share(keys, share))
    for key, expected in weighs.items():
        mine = sum(w for w, k in zip(weights, keys, strict=True) if k == key)
        assert mine == pytest.approx(expected)


def test_a_key_that_floods_cannot_turn_the_fit_round():
    honest = [
        replace(label, key=f"honest-{i % 3}", weak=1.0, said=True)
        for i, label in enumerate(labels(150))
    ]
    flood = [
        replace(label, id=f"f{label.id}", key="flood", weak=0.0, said=False)
        for label in labels(3000, seed=2)
    ]
    bounded, unbounded = fit([*honest, *flood]), fit([*honest, *flood], key_share=1.0)
    p = {
        name: p_of(fitted.calibration.curve, "sentiment")
        for name, fitted in (("bounded", bounded), ("unbounded", unbounded))
    }
    assert p["unbounded"] < 0.1
    assert 0.4 < p["bounded"] < 0.6
    assert bounded.calibration.curve.labels == pytest.approx(300)
    task = counts([*honest, *flood])["sentiment"]
    assert task[1] == pytest.approx(task[0] / 2, abs=1)


def test_a_key_alone_in_a_task_proves_nothing_there_while_others_are_about():
    mine = [replace(label, task="code") for label in labels(100, key="a")]
    others = [replace(label, task="math") for label in labels(100, key="b")]
    assert counts([*mine, *others]) == {"code": (0, 0), "math": (0, 0)}
    assert counts(mine)["code"][0] == 100
    file = [replace(label, task="code", key=None) for label in labels(10)]
    assert counts([*mine, *others, *file])["code"][0] == 20
    assert counts([*mine, *others], key_share=1.0)["code"][0] == 100


# -- fits ------------------------------------------------------------------------------------------

LABELS = labels()
FITTED = fit(LABELS)


def test_labels_without_text_order_what_they_have_not_seen():
    found = ordering(LABELS, [-p for p in FITTED.p_small])
    assert found.low > 0.6
    assert FITTED.calibration.labels == 0
    assert FITTED.calibration.curve.labels == len(LABELS)
    mean = sum(FITTED.p_small) / len(LABELS)
    assert mean == pytest.approx(sum(label.weak for label in LABELS) / len(LABELS), abs=0.02)


def test_a_curve_of_shuffled_labels_orders_nothing():
    draw = random.Random(7)
    outcomes = [label.weak for label in LABELS]
    draw.shuffle(outcomes)
    shuffled = [replace(label, weak=weak) for label, weak in zip(LABELS, outcomes, strict=True)]
    found = ordering(shuffled, [-p for p in fit(shuffled).p_small])
    assert found.low <= 0.5
    assert found.apgr < 0.58


def test_a_curve_of_chance_is_the_level_of_its_labels():
    for seed in range(6):
        draw = random.Random(seed)
        tossed = [replace(label, weak=float(draw.random() < 0.5), said=None) for label in LABELS]
        fitted = fit(tossed)
        assert (fitted.words, fitted.features, fitted.is_level) == (None, False, True)
        good = sum(label.weak for label in tossed)
        assert set(fitted.p_small) == {round((good + 1) / (len(tossed) + 2), 4)}


def test_a_level_counts_labels_by_their_weight():
    rows = [Seen("math", 0.5, "en", 9, good, weight) for good, weight in ((1.0, 1.0), (0.0, 0.5))]
    assert p_of(level(rows)) == pytest.approx(2 / 3.5)


def test_counts_are_by_what_was_said_and_the_fit_by_the_score():
    half = [replace(label, weak=0.5, said=True) for label in labels(60)]
    fitted = fit(half)
    assert sum(good for _, good in fitted.calibration.counts.values()) == 60
    assert all(0.4 < p < 0.6 for p in fitted.p_small)


def with_text(count):
    return [
        Label(f"t{i}", f"{'theorem' if i % 2 else 'refund'} {i}", "en", 0.5, weak, 1.0)
        for i in range(count)
        for weak in [float(i % 2 == (i % 7 == 0))]
    ]


def test_text_and_features_are_averaged_by_the_labels_behind_each():
    text = with_text(100)
    both = fit([*text, *LABELS])
    alone = fit(text)
    assert both.calibration.idf == alone.calibration.idf
    assert both.calibration.curve == FITTED.calibration.curve
    body = {"model": "auto", "messages": [{"role": "user", "content": "theorem 1"}]}
    reading = read(body)
    judged = judge_by()(reading)
    by = {
        name: fitted.calibration.apply(judged, reading).p_small
        for name, fitted in (("both", both), ("text", alone), ("curve", FITTED))
    }
    assert by["text"] < by["both"] < by["curve"]
    odds = {name: _odds(p) for name, p in by.items()}
    assert odds["both"] == pytest.approx((100 * odds["text"] + 300 * odds["curve"]) / 400, abs=0.05)
    assert judge_by(calibration=both.calibration)(reading).p_small == by["both"]


def test_what_is_foretold_of_a_text_is_what_a_router_would_say():
    """The curve of the others has not seen it: no fold is needed there."""
    text = with_text(100)
    both = fit([*text, *LABELS])
    alone, curve = fit(text), FITTED.calibration.curve
    for i in (0, 1):
        told = -curve.log_odds("other", 0.5, "en", 0)
        assert both.p_small[i] != alone.p_small[i]
        logit = pooled(_odds(alone.p_small[i]), 100, told, 300)
        assert _odds(both.p_small[i]) == pytest.approx(logit, abs=0.01)


def _odds(p):
    return log((1 - p) / p)


def test_texts_too_few_for_their_words_teach_as_the_others_do():
    fitted = fit([*with_text(LEAST - 1), *LABELS])
    assert fitted.calibration.labels == 0
    assert fitted.calibration.curve.labels == len(LABELS) + LEAST - 1


@given(st.integers(0, 4), st.integers(0, 4))
def test_any_few_labels_have_a_fit(texts, others):
    assume(texts + others)
    fitted = fit([*with_text(texts), *labels(others)])
    assert len(fitted.p_small) == texts + others
    assert all(0 <= p <= 1 for p in fitted.p_small)


def test_weights_count_in_what_a_threshold_keeps():
    rows = weighted([*labels(20, key="a"), *labels(4, key="b")])
    light, heavy = floors(rows, [0.9] * 24)[-1], floors(labels(24), [0.9] * 24)[-1]
    assert light.acceptable - light.acceptable_low > heavy.acceptable - heavy.acceptable_low


def test_the_confusion_tells_each_language_apart():
    rows = [replace(label, language="en") for label in labels(10)]
    rows += [replace(label, language="zh-Hant") for label in labels(6)]
    found = confusion(rows, [0.9] * 8 + [0.1] * 8, 0.5)
    assert list(found) == ["en", "zh-Hant"]
    good = sum(label.weak for label in rows[:8])
    assert (found["en"].small_good, found["en"].small_bad) == (good, 8 - good)
    zh = found["zh-Hant"]
    assert (zh.small_good, zh.small_bad, zh.strong_good + zh.strong_bad) == (0, 0, 6)


# -- its file --------------------------------------------------------------------------------------


def test_a_curve_and_its_counts_survive_their_file():
    kept = from_json(json.loads(json.dumps(to_json(FITTED.calibration))))
    assert kept.curve == FITTED.calibration.curve
    assert kept.counts == FITTED.calibration.counts
    for task in TASKS:
        for language in LANGUAGES:
            assert p_of(kept.curve, task, language=language) > 0


def test_a_file_of_the_first_version_is_read_as_before():
    old = to_json(fit(with_text(100)).calibration)
    new = from_json(old)
    del old["curve"], old["counts"], old["signals"]
    found = from_json({**old, "version": 1})
    assert (found.curve, found.counts) == (None, {})
    assert found.idf == new.idf
    assert found.gain("theorem", 0.5, {}) == new.gain("theorem", 0.5, {})


WHOLE = to_json(FITTED.calibration)


@pytest.mark.parametrize(
    "wrong",
    [
        {"curve": 3},
        {"curve": {}},
        {"curve": {**WHOLE["curve"], "base": "x"}},
        {"curve": {**WHOLE["curve"], "tokens": [1]}},
        {"curve": {**WHOLE["curve"], "tasks": {"math": True}}},
        {"curve": {**WHOLE["curve"], "labels": 0}},
        {"counts": []},
        {"counts": {"math": [1]}},
        {"counts": {"math": [1, 2]}},
        {"counts": {"math": [2, -1]}},
        {"counts": {"math": [2.0, 1.0]}},
    ],
)
def test_a_curve_or_counts_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=r"curve|counts"):
        from_json({**WHOLE, **wrong})

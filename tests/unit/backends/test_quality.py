import pytest

from backends.quality import Curve, QualityTable, quality, rests_on_p_small

SMALL = QualityTable("small", "p_small", {}, "here")
BASE = QualityTable("base", "scores", {"default": 50, "code": 40}, "here")
BETTER = QualityTable("better", "scores", {"default": 60, "code": 60}, "here")
OTHER = QualityTable("other", "scores", {"math": 60}, "here")


def of(table, baseline=BASE, task="code", in_lane=False, complexity=0.5):
    return quality(table, baseline, task, complexity, 0.7, in_baseline_lane=in_lane)


def test_a_small_model_is_as_good_as_the_classifier_says():
    assert of(SMALL) == (0.7, False)


def test_scores_are_relative_to_the_baseline_by_task():
    assert of(BETTER) == (1.5, False)
    assert of(BETTER, task="sentiment") == (1.2, False)
    assert of(BASE) == (1.0, False)


def test_a_model_without_a_table_is_as_good_as_the_baseline_in_its_lane():
    assert of(None, in_lane=True) == (1.0, True)


def test_a_model_without_a_table_elsewhere_counts_as_the_small_one():
    assert of(None) == (0.7, True)


def test_scores_that_cant_be_compared_are_assumed_equal():
    assert of(BETTER, baseline=None) == (1.0, True)
    assert of(BETTER, baseline=SMALL) == (1.0, True)
    assert of(OTHER) == (1.0, True)


LABELLED = Curve(((0.2, 0.9), (0.6, 0.5), (0.8, 0.1)), "measured", "our labels", labels=300)
PRIOR = Curve(((0.5, 0.4),), "assumed", "a guess")
CURVES = QualityTable("own", "curves", {}, "here", {"code": LABELLED, "default": PRIOR})


@pytest.mark.parametrize(
    ("complexity", "p"), [(0.0, 0.9), (0.2, 0.9), (0.4, 0.7), (0.6, 0.5), (0.7, 0.3), (1.0, 0.1)]
)
def test_a_curve_is_a_line_between_its_points_and_held_beyond_them(complexity, p):
    found, assumed = of(CURVES, complexity=complexity)
    assert found == pytest.approx(p)
    assert not assumed


def test_a_curve_without_labels_is_a_prior_and_says_so():
    assert of(CURVES, task="math") == (0.4, True)


def test_a_table_of_curves_without_one_for_the_task_leaves_it_to_the_classifier():
    assert of(QualityTable("own", "curves", {}, "here", {"code": LABELLED}), task="math") == (
        0.7,
        True,
    )


@pytest.mark.parametrize(
    ("table", "task", "in_lane", "expected"),
    [
        (SMALL, "code", True, True),
        (None, "code", False, True),
        (None, "code", True, False),
        (BASE, "code", False, False),
        (BETTER, "code", False, False),
        (OTHER, "code", False, False),
        (CURVES, "math", False, False),
        (QualityTable("own", "curves", {}, "here", {"code": LABELLED}), "math", False, True),
        (QualityTable("own", "curves", {}, "here", {"code": LABELLED}), "code", False, False),
    ],
)
def test_what_rests_on_p_small_moves_with_it_and_nothing_else_does(table, task, in_lane, expected):
    assert rests_on_p_small(table, BASE, task, in_baseline_lane=in_lane) is expected
    one, other = (
        quality(table, BASE, task, 0.5, p_small, in_baseline_lane=in_lane)[0]
        for p_small in (0.11, 0.22)
    )
    assert (one != other) is expected


def test_the_baselines_own_table_is_one_by_definition():
    assert not rests_on_p_small(SMALL, SMALL, "code", in_baseline_lane=True)
    assert of(SMALL, baseline=SMALL) == (1.0, False)

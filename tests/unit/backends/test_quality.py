from backends.quality import QualityTable, quality

SMALL = QualityTable("small", "p_small", {}, "here")
BASE = QualityTable("base", "scores", {"default": 50, "code": 40}, "here")
BETTER = QualityTable("better", "scores", {"default": 60, "code": 60}, "here")
OTHER = QualityTable("other", "scores", {"math": 60}, "here")


def of(table, baseline=BASE, task="code", in_lane=False):
    return quality(table, baseline, task, 0.7, in_baseline_lane=in_lane)


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

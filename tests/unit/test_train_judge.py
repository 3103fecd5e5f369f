"""How the classifier is learnt, beyond what its own tests show of the result."""

import subprocess
import sys

import numpy as np
import pytest

from tools.train_judge.__main__ import auc
from tools.train_judge.solve import Rows, least_squares, logistic


def test_without_the_data_nothing_is_learnt_and_it_is_said_which_files_lack(tmp_path):
    out = tmp_path / "judge.json"
    command = [sys.executable, "-m", "tools.train_judge", str(tmp_path), "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "nothing is learnt: task_complexity.jsonl.gz, outcomes.jsonl.gz" in run.stdout
    assert not out.exists()


def test_auc_is_how_often_a_heavy_one_scores_higher_a_tie_counting_half():
    assert auc(np.array([0.9, 0.5]), np.array([0.1, 0.5])) == pytest.approx(3.5 / 4)


ROWS = Rows.of([[(0, 1.0)], [(0, 1.0), (1, 1.0)], [(0, 1.0), (1, 2.0)], [(0, 1.0), (1, 3.0)]], 2)


def test_least_squares_are_the_closed_form_of_a_ridge():
    x = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    y, weights, ridge = np.array([0.1, 0.3, 0.2, 0.9]), np.array([1.0, 2.0, 0.5, 1.0]), [0.1, 0.4]
    wanted = np.linalg.solve(x.T @ (weights[:, None] * x) + np.diag(ridge), x.T @ (weights * y))
    assert least_squares(ROWS, y, weights, np.array(ridge)) == pytest.approx(wanted, abs=1e-6)


def test_logistic_regression_ends_where_its_gradient_is_nothing():
    targets, weights, ridge = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4), np.array([0.1, 0.4])
    at = logistic(ROWS, targets, weights, ridge, None, 0.0)
    x = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    p = 1 / (1 + np.exp(-x @ at))
    assert x.T @ (p - targets) + ridge * at == pytest.approx(np.zeros(2), abs=1e-4)


def test_versions_of_a_request_are_drawn_together():
    targets, weights, ridge = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4), np.array([0.1, 0.1])
    alike = Rows.of([[(1, 3.0)]], 2)  # the first and the last are the same request
    free, drawn = (logistic(ROWS, targets, weights, ridge, alike, pull) for pull in (0.0, 5.0))
    assert abs(drawn[1]) < abs(free[1]) / 2

"""What is foretold is held against what chance foretells."""

import random

import pytest

from router.calibrate.chance import better_than_chance


def test_what_agrees_is_better_than_chance_and_what_disagrees_is_not():
    found = [float(i % 3 > 0) for i in range(60)]
    ones = [1.0] * 60
    assert better_than_chance(found, found, ones)
    assert not better_than_chance([-x for x in found], found, ones)


@pytest.mark.parametrize(
    ("foretold", "found", "weights"),
    [
        ([0.5] * 60, [0.0, 1.0] * 30, [1.0] * 60),
        ([0.0, 1.0] * 30, [0.1] * 60, [1 / 3] * 60),
        ([0.0, 1.0], [0.0, 1.0], [0.0, 0.0]),
        ([1.0], [1.0], [1.0]),
    ],
)
def test_what_is_constant_or_nothing_tells_nothing(foretold, found, weights):
    assert not better_than_chance(foretold, found, weights)


def test_labels_that_weigh_little_tell_little():
    foretold, found = [0.0, 1.0] * 10, [0.0, 1.0, 0.0, 1.0, 1.0] * 4
    assert not better_than_chance(foretold, found, [1.0] * 20)
    agreeing = [1.0 if a == b else 0.01 for a, b in zip(foretold, found, strict=True)]
    assert better_than_chance(foretold, found, agreeing)
    few = [1.0] * 4 + [1e-6] * 16
    assert not better_than_chance(found, found, few)


def test_of_random_orders_about_one_in_a_hundred_passes():
    passed = 0
    for seed in range(1000):
        draw = random.Random(seed)
        foretold, found = ([draw.random() for _ in range(60)] for _ in range(2))
        passed += better_than_chance(foretold, found, [1.0] * 60)
    assert 2 <= passed <= 25

"""The fewest replicas that are good enough."""

import pytest

from router.replay.fewest import fewest


def counting(attained):
    asked = []

    def count(n):
        asked.append(n)
        return attained(n)

    return count, asked


@pytest.mark.parametrize("needed", [1, 2, 3, 7, 8, 9, 100, 1000])
def test_it_is_the_first_number_that_attains_what_is_wanted(needed):
    assert fewest(lambda n: min(1.0, n / needed), 1.0) == (needed, True)


def test_it_asks_for_few_sizes():
    attained, asked = counting(lambda n: min(1.0, n / 700))
    assert fewest(attained, 1.0) == (700, True)
    assert len(set(asked)) < 25


def test_where_none_is_enough_it_is_the_smallest_that_attains_the_most():
    assert fewest(lambda n: min(n, 5) / 10, 0.9) == (5, False)
    assert fewest(lambda _: 0.3, 0.9) == (1, False)


def test_it_ends_at_the_most():
    assert fewest(lambda n: n / 10_000, 1.0, most=64) == (64, False)

"""Exact percentiles."""

from math import ceil, nan

from hypothesis import given
from hypothesis import strategies as st

from router.replay.quantiles import known, quantile, quantiles

SMALL = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), min_size=1, max_size=40)


def test_a_percentile_is_a_value_that_was_there():
    assert quantile([float(n) for n in range(1, 21)], 0.95) == 19.0
    assert quantile([float(n) for n in range(1, 21)], 0.5) == 10.0
    assert quantile([7.0], 0.99) == 7.0


def test_of_nothing_there_is_none():
    assert quantiles([nan, nan]).p50 is None


@given(SMALL, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_so_many_are_not_above_it_and_fewer_not_above_any_smaller_one(values, share):
    ordered = known(values)
    found = quantile(ordered, share)
    enough = ceil(round(share * len(values), 9))
    assert sum(value <= found for value in values) >= enough
    assert sum(value < found for value in values) < enough

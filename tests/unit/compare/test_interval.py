"""How sure the difference of two bills is."""

from math import exp, sqrt

import pytest

from router.compare.interval import _next, _t, block_of, settled, spread


def uniform(seed):
    """Yield numbers from 0 to 1."""
    state = seed
    while True:
        state, number = _next(state)
        yield (number + 1) / 2**64


def series(seed, count, *, rho=0.0, skewed=False):
    """Return autocorrelated noise about 0."""
    draw = uniform(seed)
    found, last = [], 0.0
    for _ in range(count + 50):
        noise = sum(next(draw) for _ in range(6)) - 3.0  # nearly normal, deviation 0.71
        if skewed:
            noise = exp(noise) - exp(0.25)
        last = rho * last + noise
        found.append(last)
    return found[50:]


def covered(count, cases=120, **kind):
    """Return in which share of cases the interval of new - old holds the true one."""
    inside = 0
    for seed in range(cases):
        noise = series(1000 + seed, count, **kind)
        low, high = _ends([10.0] * count, [10.0 + each for each in noise], seed)
        inside += low <= 0.0 <= high
    return inside / cases


def _ends(old, new, seed):
    found = spread(old, new, seed, draws=300).change
    return found.low, found.high


@pytest.mark.parametrize("kind", [{}, {"rho": 0.5}, {"skewed": True}])
def test_it_holds_the_true_difference_about_as_often_as_it_says(kind):
    assert covered(60, **kind) >= 0.88


def test_it_is_the_same_for_the_same_seed_and_hardly_another_for_another():
    old, new = [1.0] * 60, [1.0 + each for each in series(3, 60)]
    assert spread(old, new, 1) == spread(old, new, 1)
    one, other = spread(old, new, 1).change, spread(old, new, 2).change
    assert one != other
    assert one.high - one.low == pytest.approx(other.high - other.low, rel=0.2)


def test_old_and_new_are_drawn_together_so_that_what_both_share_cancels():
    shared = [100.0 + 10 * each for each in series(5, 60)]
    found = spread(shared, [each + 1.0 for each in shared], 1)
    assert (found.change.low, found.change.high) == pytest.approx((60.0, 60.0))
    assert found.new.high - found.new.low > 10.0


def test_a_ratio_is_new_to_old_and_unknown_where_old_is_nothing():
    found = spread([2.0] * 40, [3.0] * 40, 1)
    assert (found.ratio.low, found.ratio.high) == pytest.approx((0.5, 0.5))
    assert spread([0.0] * 40, [3.0] * 40, 1).ratio is None


def test_too_few_blocks_give_no_interval():
    assert spread([1.0] * 29, [2.0] * 29, 1) is None
    assert spread([1.0] * 30, [2.0] * 30, 1) is not None
    assert spread([], [], 1) is None


def test_blocks_are_ten_minutes_at_least_and_longer_in_long_traces():
    assert [block_of(looks) for looks in (30, 57, 1000, 10_080)] == [10, 11, 47, 151]


def test_students_t_is_near_the_tables():
    for degrees, t in ((2, 4.303), (4, 2.776), (10, 2.228), (100, 1.984)):
        assert _t(degrees) == pytest.approx(t, rel=0.04)


def test_the_rounding_of_bills_is_no_difference():
    assert settled(3e-9) == 0.0
    assert settled(-0.01) == -0.01


def test_the_noise_of_these_tests_is_what_they_take_it_for():
    noise = series(9, 5000)
    assert abs(sum(noise) / 5000) < 0.05
    assert sqrt(sum(each**2 for each in noise) / 5000) == pytest.approx(0.707, rel=0.05)

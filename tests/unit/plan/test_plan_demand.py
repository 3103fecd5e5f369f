from random import Random

import pytest
from unit.plan import made

from router.plan.demand import (
    WEEK_HOURS,
    Sort,
    bucket,
    demand,
    mean_below,
    merged,
    normal_quantile,
    quantile,
)

ALL = Sort(0, "all", frozenset({"a"}))


def poisson(rate, seconds, seed=1):
    draw, at_s, found = Random(seed), 0.0, []
    while (at_s := at_s + draw.expovariate(rate)) < seconds:
        found.append(at_s)
    return found


def test_steady_random_arrivals_are_no_busier_than_their_mean():
    found = demand(made.trace(poisson(2.0, 3600)), lambda _: ALL)
    (hour,) = found.hours
    assert hour.peak < 1.1
    assert sum(hour.rates) == pytest.approx(2.0, rel=0.12)


def test_busy_minutes_count_beyond_the_mean():
    quiet = poisson(1.0, 3600, seed=2)
    rush = [1200 + each for each in poisson(10.0, 600, seed=3)]
    found = demand(made.trace(sorted(quiet + rush)), lambda _: ALL)
    assert sum(found.hours[0].rates) == pytest.approx(11.0, rel=0.15)


def test_a_trace_shorter_than_a_week_stands_for_the_week():
    found = demand(made.trace(poisson(0.5, 2 * 3600)), lambda _: ALL)
    assert len(found.hours) == 2
    assert found.per_week == pytest.approx(WEEK_HOURS / 2, rel=0.01)


def test_a_partial_last_hour_weighs_what_it_covers():
    found = demand(made.trace(poisson(1.0, 3600 + 900)), lambda _: ALL)
    assert found.hours[1].weight == pytest.approx(0.25, abs=0.01)
    assert sum(found.hours[1].rates) == pytest.approx(1.0, rel=0.3)


def test_a_week_is_counted_by_the_hour_of_the_week():
    at_s = [hour * 3600.0 + 3599 for hour in range(2 * WEEK_HOURS)]
    found = demand(made.trace(at_s, start_s=4 * 24 * 3600.0), lambda _: ALL)
    assert found.weekly
    assert len(found.hours) == WEEK_HOURS
    assert found.per_week == pytest.approx(1.0)
    assert {round(sum(hour.rates) * 3600) for hour in found.hours} == {1}


def test_classes_are_split_by_length_and_by_who_may_serve():
    lengths = [(100, 10), (300, 10), (300, 30)]
    sorts = [ALL, ALL, Sort(1, "others", frozenset({"b"}))]
    found = demand(made.trace([1.0, 2.0, 3.0], lengths), lambda i: sorts[i])
    assert [(c.fleets, c.tokens_in) for c in found.classes] == [
        (frozenset({"a"}), 100.0),
        (frozenset({"a"}), 300.0),
        (frozenset({"b"}), 300.0),
    ]


def test_hours_that_are_alike_become_one_level_that_holds_for_each():
    at_s = [h * 3600 + i * 3600 / (10 + h % 3) for h in range(60) for i in range(10 + h % 3)]
    found = demand(made.trace(at_s), lambda _: ALL)
    levels, of = merged(found, most=5)
    assert len(levels) <= 5
    for hour, level in zip(found.hours, of, strict=True):
        assert all(a <= b for a, b in zip(hour.rates, levels[level].rates, strict=True))
    assert sum(level.weight for level in levels) == pytest.approx(
        sum(hour.weight for hour in found.hours)
    )


@pytest.mark.parametrize(("tokens", "below"), [(0, 256), (255, 256), (256, 512), (4800, 8192)])
def test_a_bucket_is_the_power_of_two_above(tokens, below):
    assert bucket(tokens) == below


def test_the_mean_below_a_quantile_gives_it_back():
    mean = mean_below(100.0, 1.6449)
    assert mean + 1.6449 * mean**0.5 == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("share", "z"), [(0.5, 0.0), (0.9, 1.2816), (0.95, 1.6449), (0.99, 2.3263)]
)
def test_normal_quantiles(share, z):
    assert normal_quantile(share) == pytest.approx(z, abs=0.001)


def test_a_quantile_is_a_value_that_was_there():
    assert quantile([1, 2, 3, 4], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.95) == 4

"""How much load retries may add."""

import pytest

from router.retry_budget import RetryBudget


def taken(budget, fleet="a", most=1000):
    count = 0
    while count < most and budget.take(fleet):
        count += 1
    return count


def test_a_burst_may_be_retried_at_once_and_no_more():
    budget = RetryBudget()
    assert taken(budget) == 10
    assert not budget.take("a")


@pytest.mark.parametrize(("tries", "retries"), [(9, 0), (10, 1), (19, 1), (20, 2), (1000, 10)])
def test_ten_first_tries_earn_one_retry_up_to_the_burst(tries, retries):
    budget = RetryBudget()
    taken(budget)
    for _ in range(tries):
        budget.tried("a")
    assert taken(budget) == retries


def test_retries_of_a_fleet_that_always_fails_add_a_tenth_and_the_burst():
    budget, retries = RetryBudget(), 0
    for _ in range(1000):
        budget.tried("a")
        retries += budget.take("a")
    assert retries == 100 + 9  # the burst was full, so that the first tries earned nothing


def test_fleets_have_a_budget_each():
    budget = RetryBudget()
    taken(budget, "a")
    assert taken(budget, "b") == 10

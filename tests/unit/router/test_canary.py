"""When a canary is stopped, and that chance alone hardly ever stops one."""

import random

import pytest

from policies.model import StopIf
from router.board import Board as OneBoard
from router.board import create
from router.board_canary import BoardSums
from router.canaries import OwnSums
from router.canary import LEAST_CHARGED, LEAST_REQUESTS, Sums, one, too_bad

BOTH = StopIf(error_rate_above=0.02, cost_ratio_above=1.2)


def arm(*requests):
    """Return the sums of requests, each the USD of an answer or None for a failed one."""
    total = Sums()
    for usd in requests:
        total += one(error=usd is None, usd=usd)
    return total


def test_a_canary_that_fails_altogether_is_stopped_after_twenty_requests():
    failing = arm(*[None] * (LEAST_REQUESTS - 1))
    assert too_bad(failing, Sums(), BOTH) is None
    why = too_bad(failing + one(error=True, usd=None), Sums(), BOTH)
    assert why == "20 of 20 requests failed (100.0%), more than 2.0%"


def test_a_few_errors_of_many_requests_are_taken_for_chance():
    assert too_bad(arm(*[None] * 6, *[1.0] * 94), Sums(), BOTH) is None  # 6 %, of 100
    assert too_bad(arm(*[None] * 60, *[1.0] * 940), Sums(), BOTH) is not None  # 6 %, of 1,000


def test_a_dearer_canary_is_stopped_with_both_means():
    stable = arm(*[0.001, 0.003] * 500)
    why = too_bad(arm(*[0.002, 0.006] * 100), stable, BOTH)
    means = "it costs $0.004000 a request against $0.002000"
    assert why == f"{means} (over 200 and 1000 of them), more than 1.2 times as much"


@pytest.mark.parametrize(("canary", "stable"), [(LEAST_CHARGED - 1, 1000), (1000, 99), (0, 0)])
def test_means_of_fewer_than_a_hundred_answers_are_not_compared(canary, stable):
    assert too_bad(arm(*[9.0] * canary), arm(*[1.0] * stable), BOTH) is None


def test_charges_that_are_all_alike_are_compared_too():
    stable = arm(*[0.1] * 1000)
    assert too_bad(arm(*[0.12] * 1000), stable, BOTH) is None  # 1.2 times: not above it
    assert too_bad(arm(*[0.13] * 1000), stable, BOTH) is not None


def test_a_canary_beside_a_policy_that_costs_nothing_is_stopped_if_it_costs_anything():
    free = arm(*[0.0] * 200)
    assert too_bad(free, free, BOTH) is None
    assert too_bad(arm(*[0.1] * 200), free, BOTH) is not None


def test_without_stop_if_nothing_stops_it():
    assert too_bad(arm(*[None] * 1000), Sums(), StopIf()) is None


def stopped(seed, *, error_rate=0.0, ratio=1.0, requests=400):
    """Run a canary of these odds, looked at after each request; tell whether it is stopped."""
    chance = random.Random(seed)
    canary = Sums()
    for _ in range(requests):
        usd = ratio * chance.lognormvariate(0, 1)
        canary += one(error=chance.random() < error_rate, usd=usd)
        if too_bad(canary, STABLE, BOTH):
            return True
    return False


# Charges as uneven as those of requests are: their deviation is 1.3 times their mean.
UNEVEN = random.Random(1)
STABLE = arm(*[UNEVEN.lognormvariate(0, 1) for _ in range(4000)])
RUNS = 40


def test_chance_stops_none_that_is_as_good_and_few_that_stand_at_their_limit():
    assert not any(stopped(seed, error_rate=0.005) for seed in range(RUNS))
    at_limits = sum(stopped(seed, error_rate=0.02, ratio=1.2) for seed in range(RUNS))
    assert at_limits <= 0.15 * RUNS
    assert all(stopped(seed, error_rate=0.1) for seed in range(10))
    assert all(stopped(seed, ratio=2.0) for seed in range(10))


def boards(workers):
    parent = create(workers)
    return [BoardSums(OneBoard(parent.fd, workers, slot)) for slot in range(workers)]


def test_what_workers_count_is_one_sum_for_all_of_them():
    first, second = boards(2)
    first.add("one", canary=True, sums=one(error=False, usd=2.0))
    second.add("one", canary=True, sums=one(error=True, usd=None))
    second.add("one", canary=False, sums=one(error=False, usd=1.0))
    expected = (arm(1.0), arm(2.0, None))
    assert first.sums("one") == expected
    assert second.sums("one") == expected


def test_what_is_of_another_canary_is_not_counted():
    first, second = boards(2)
    first.add("one", canary=True, sums=arm(1.0))
    second.add("two", canary=True, sums=arm(2.0))
    assert first.sums("two") == (Sums(), arm(2.0))
    first.add("two", canary=True, sums=arm(3.0))
    assert second.sums("two") == (Sums(), arm(2.0, 3.0))
    assert second.sums("one") == (Sums(), Sums())


@pytest.mark.parametrize("counts", [OwnSums(), boards(1)[0]], ids=["own", "board"])
def test_what_is_forgotten_begins_anew(counts):
    counts.add("one", canary=True, sums=arm(1.0))
    counts.forget("other")
    assert counts.sums("one") == (Sums(), arm(1.0))
    counts.forget("one")
    assert counts.sums("one") == (Sums(), Sums())
    counts.add("one", canary=False, sums=arm(2.0))
    assert counts.sums("one") == (arm(2.0), Sums())

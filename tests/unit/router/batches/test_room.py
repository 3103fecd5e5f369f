"""How many lines of a key are under way."""

import pytest

from router.batches.room import Room
from router.identity import Key

NOW = 1000.0


def key(**limits):
    return Key(id="k", tenant="t", **limits)


def test_a_key_without_limits_has_all_the_room():
    assert Room().free(key(), 100, NOW) is None


@pytest.mark.parametrize(("concurrent", "running", "free"), [(4, 0, 2), (4, 2, 0), (1, 0, 1)])
def test_half_of_what_may_run_at_once_is_left(concurrent, running, free):
    assert Room().free(key(concurrent=concurrent), running, NOW) == free


def test_half_of_a_minutes_requests_are_left():
    room, mine, began = Room(), key(requests_per_min=30), 0
    for second in range(600):
        free = room.free(mine, 0, NOW + second)
        room.began(mine, free)
        began += free
    assert 149 <= began <= 151


def test_a_refusal_holds_the_key_until_retry_after_and_then_one_tries():
    room, mine = Room(), key()
    room.told(mine, 429, 7.0, NOW)
    assert [room.free(mine, 0, NOW + s) for s in (0, 6.9, 7)] == [0, 0, 1]
    assert room.free(mine, 1, NOW + 7) == 0
    room.told(mine, 200, 0.0, NOW + 8)
    assert room.free(mine, 5, NOW + 8) is None


def test_those_that_were_refused_together_count_once():
    room, mine = Room(), key()
    for _ in range(8):
        room.told(mine, 402, 0.0, NOW)
    assert room.free(mine, 0, NOW + 30) == 1


def test_a_spent_budget_is_looked_at_ever_more_rarely_at_most_hourly():
    room, mine, now_s, sends = Room(), key(), NOW, 0
    while now_s < NOW + 86_400:
        if room.free(mine, 0, now_s) != 0:
            room.told(mine, 402, 40_000.0, now_s)
            sends += 1
        now_s += 10
    assert 24 < sends < 35


def test_one_key_does_not_hold_another():
    room = Room()
    room.told(key(), 402, 0.0, NOW)
    assert room.free(Key(id="other", tenant="t"), 0, NOW) is None


def test_what_nothing_is_under_way_of_is_forgotten():
    room = Room()
    room.told(key(), 402, 0.0, NOW)
    room.forget(set())
    assert room.free(key(), 0, NOW) is None

"""When lines may be sent, and whose."""

import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.batches.schedule import RESERVE_S, Pace, Window, Work, window_of

SHANGHAI = window_of("22:00-06:00@Asia/Shanghai")
HOUR = 3600.0


def at(text):
    return datetime.fromisoformat(text).timestamp()


def work(name="b", tenant="t", deadline=10 * HOUR, left=10, line_s=1.0):
    return Work(name, tenant, deadline, left, line_s)


@pytest.mark.parametrize(
    ("when", "is_open"),
    [
        ("2026-01-05T21:59:59+08:00", False),
        ("2026-01-05T22:00:00+08:00", True),
        ("2026-01-06T00:00:00+08:00", True),
        ("2026-01-06T05:59:59+08:00", True),
        ("2026-01-06T06:00:00+08:00", False),
    ],
)
def test_a_window_goes_over_midnight(when, is_open):
    assert SHANGHAI.is_open(at(when)) is is_open


def test_it_opens_next_in_the_evening_and_now_if_it_is_open():
    assert SHANGHAI.opens_s(at("2026-01-05T12:00:30+08:00")) == at("2026-01-05T22:00:00+08:00")
    now = at("2026-01-05T23:00:30+08:00")
    assert SHANGHAI.opens_s(now) == now


def test_an_hour_that_clocks_skip_is_in_no_window():
    window = window_of("02:00-03:00@America/New_York")  # 2026-03-08: 01:59:59 EST, 03:00 EDT
    assert window.opens_s(at("2026-03-08T06:00:00+00:00")) == at("2026-03-09T06:00:00+00:00")
    half = window_of("02:30-04:00@America/New_York")
    assert half.opens_s(at("2026-03-08T06:00:00+00:00")) == at("2026-03-08T07:00:00+00:00")


def test_an_hour_that_clocks_show_twice_is_in_it_twice():
    window = window_of("01:00-02:00@America/New_York")  # 2026-11-01: 01:00 EDT and 01:00 EST
    minutes = (at("2026-11-01T04:00:00+00:00") + 60 * n for n in range(240))
    assert sum(map(window.is_open, minutes)) == 120


@given(
    begins=st.integers(0, 1439),
    ends=st.integers(0, 1439),
    tz=st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"]),
    now_s=st.integers(0, 2_000_000_000),
)
def test_it_opens_at_the_first_minute_in_which_it_is_open(begins, ends, tz, now_s):
    window = Window(begins, ends if ends != begins else (begins + 1) % 1440, tz)
    opens_s = window.opens_s(now_s)
    assert opens_s >= now_s
    assert window.is_open(opens_s)
    assert opens_s == now_s or not window.is_open(opens_s - 60) or opens_s - now_s < 60


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("22:00-06:00", "is no window"),
        ("24:00-06:00@UTC", "is no window"),
        ("10pm-6am@UTC", "is no window"),
        ("22:00-22:00@UTC", "begins when it ends"),
        ("22:00-06:00@Shanghai", "Asia/Shanghai"),
    ],
)
def test_a_window_that_is_none_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        window_of(text)


def test_without_a_window_lines_are_sent_at_any_time_until_the_deadline():
    pace = Pace(None, 4)
    assert pace.may_send(work(), 0)
    assert not pace.may_send(work(), 10 * HOUR)


def test_outside_it_nothing_is_sent_until_the_rest_needs_the_time():
    noon = at("2026-01-05T12:00:00+08:00")
    pace = Pace(SHANGHAI, 4)
    late = work(deadline=noon + 6 * HOUR, left=4000, line_s=10.0)  # 1000 x 10 s x 1.5
    begins = noon + 6 * HOUR - 15_000 - RESERVE_S
    assert pace.must_begin_s(late) == begins
    assert not pace.may_send(late, begins - 1)
    assert pace.may_send(late, begins)
    assert pace.next_s([late], noon) == begins
    assert pace.next_s([work(deadline=noon + 24 * HOUR)], noon) == noon + 10 * HOUR
    assert pace.next_s([], noon) == math.inf


def test_what_was_never_measured_is_thought_slow():
    pace = Pace(SHANGHAI, 1)
    assert pace.must_begin_s(work(line_s=None)) < pace.must_begin_s(work(line_s=1.0))


def test_two_tenants_have_the_same_share_however_much_one_has():
    pace = Pace(None, 4)
    many, few = work("a", "big", left=1000), work("b", "small", deadline=11 * HOUR, left=1000)
    assert pace.shares([many, few], {}, 0) == {"a": 2, "b": 2}
    assert pace.shares([many, few], {"big": 2}, 0) == {"b": 2}
    assert pace.shares([many, few], {"big": 4}, 0) == {}


def test_what_presses_goes_before_all_else():
    pace = Pace(None, 4)
    pressed = work("p", "one", deadline=200.0, left=3)
    assert pace.shares([work("a", "two"), pressed], {}, 0) == {"p": 3, "a": 1}


@given(
    works=st.lists(
        st.builds(
            Work,
            batch_id=st.sampled_from("abcdef"),
            tenant=st.sampled_from(["x", "y"]),
            deadline_s=st.sampled_from([100.0, 5000.0, 90_000.0]),
            left=st.integers(0, 5),
            line_s=st.sampled_from([None, 1.0]),
        ),
        max_size=5,
        unique_by=lambda one: one.batch_id,
    ),
    at_once=st.integers(1, 6),
    running=st.fixed_dictionaries({}, optional={"x": st.integers(0, 6), "y": st.integers(0, 6)}),
    night=st.booleans(),
)
def test_no_more_is_given_than_there_are_places_and_lines_and_none_is_left_free(
    works, at_once, running, night
):
    now_s = datetime(1970, 1, 1, 0 if night else 12, tzinfo=UTC).timestamp()
    pace = Pace(window_of("22:00-06:00@UTC"), at_once)
    works = [Work(w.batch_id, w.tenant, w.deadline_s + now_s, w.left, w.line_s) for w in works]
    given_ = pace.shares(works, running, now_s)
    free = max(0, at_once - sum(running.values()))
    allowed = {w.batch_id: w.left for w in works if pace.may_send(w, now_s)}
    assert sum(given_.values()) == min(free, sum(allowed.values()))
    assert not Counter(given_) - Counter(allowed)

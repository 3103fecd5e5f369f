"""The timing of an emulated replica, against the profile's own figures and a second simulation."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engines.emulation import QUEUE_PER_PLACE, Replica, Stream, prompt_steps
from backends.points import Point, little_consistent
from backends.profiles import Profile

FOREVER = 1_000_000  # tokens
REFUSED = -1.0


def profile(points, **kwargs):
    return Profile(
        id="p",
        model="m",
        instance="i",
        mark="estimated",
        source="test",
        date=None,
        points=points,
        **{"ttft_ms": 100.0, "tokens_in": 512, **kwargs},
    )


# p5 and trn2 of S2, read so that Little's law holds
P5 = profile(
    little_consistent([(1, 4200), (4, 14800), (8, 24500), (16, 35200), (32, 42000)], 8.0)[0],
    ttft_ms=120.0,
    reading="little_consistent",
)
TRN2 = profile(
    little_consistent([(1, 3500), (4, 12500), (8, 21000), (16, 30800), (32, 38500)], 10.0)[0],
    ttft_ms=150.0,
    reading="little_consistent",
)
ONE_POINT = profile((Point(1, 36.22, 1000 / 36.22),), ttft_ms=None, prefill_tok_s=103.0)
SMALL = profile((Point(2, 200.0, 10.0), Point(4, 250.0, 16.0)))  # slower from the third stream on


def start(replica, count, tokens_out=FOREVER, prompt=0.0):
    streams = [Stream(prompt, tokens_out) for _ in range(count)]
    assert all(replica.submit(stream) for stream in streams)
    return streams


@pytest.mark.parametrize("measured", [P5, TRN2, ONE_POINT])
@pytest.mark.parametrize("count", [1, 2, 33, 34, 100, 500])
def test_the_streams_together_get_the_tokens_per_second_of_the_profile(measured, count):
    replica = Replica(measured, 500)
    streams = start(replica, count)
    replica.advance(1000.0)
    before = sum(map(replica.tokens, streams))
    replica.advance(61_000.0)
    tok_s = (sum(map(replica.tokens, streams)) - before) / 60
    assert tok_s == pytest.approx(measured.speed(count).tok_s, abs=2 * count / 60)


@pytest.mark.parametrize(
    ("count", "tokens_in"), [(1, 10), (1, 512), (1, 1024), (34, 512), (300, 9)]
)
def test_the_first_token_comes_after_the_prefill_slowed_down_by_the_load(count, tokens_in):
    replica = Replica(P5, 1076)
    streams = start(replica, count - 1)
    mine = Stream(prompt_steps(P5, tokens_in), 5)
    replica.submit(mine)
    ttft_ms = P5.prefill_ms(tokens_in) * P5.speed(count).slowdown
    replica.advance(ttft_ms * 0.999)
    assert replica.tokens(mine) == 0
    replica.advance(ttft_ms * 1.001)
    assert replica.tokens(mine) == 1
    assert replica.running == len(streams) + 1


def test_a_stream_slows_down_when_others_come_and_speeds_up_when_they_leave():
    replica = Replica(SMALL, 4)
    (mine,) = start(replica, 1)
    replica.advance(100.0)
    alone = replica.tokens(mine)
    others = start(replica, 3)
    replica.advance(260.0)
    crowded = replica.tokens(mine) - alone
    for other in others:
        replica.leave(other)
    replica.advance(360.0)
    again = replica.tokens(mine) - alone - crowded
    assert (alone, crowded, again) == (11, 10, 10)  # the first token is out at once; 160 ms / 16 ms


def test_a_profile_without_the_time_of_a_prompt_gives_no_steps():
    assert prompt_steps(profile(SMALL.points, ttft_ms=None), 512) is None


@pytest.mark.parametrize(
    ("points", "concurrency_each", "capacity"),
    [
        (SMALL.points, 4, 4),
        (SMALL.points, 3, 3),
        (SMALL.points, 9, 4),
        (SMALL.points[:1], 9, 9),  # one point: what the fleet says
        ((Point(0.5, 10.0, 50.0), Point(0.9, 10.0, 90.0)), 4, 1),
        (P5.points, 1076, 1075),
    ],
)
def test_the_places_are_the_profiles_capacity_in_whole_streams(points, concurrency_each, capacity):
    assert Replica(profile(points), concurrency_each).capacity == capacity


def test_beyond_capacity_streams_wait_in_the_order_they_came():
    replica = Replica(SMALL, 2)
    streams = start(replica, 4, tokens_out=3)
    assert (replica.running, replica.waiting) == (2, 2)
    assert [s.first_step is None for s in streams] == [False, False, True, True]
    replica.advance(20.0)  # both have their third token
    assert [s.over for s in streams] == [True, True, False, False]
    assert (replica.running, replica.waiting) == (2, 0)


def test_a_full_queue_takes_no_more_until_one_leaves_it():
    replica = Replica(SMALL, 2)
    running = start(replica, 2)
    waiting = start(replica, QUEUE_PER_PLACE * 2)
    assert not replica.submit(Stream(0.0, 1))
    assert (replica.running, replica.waiting) == (2, 8)
    replica.leave(waiting[3])
    assert replica.submit(Stream(0.0, 1))
    replica.leave(running[0])
    assert waiting[0].first_step is not None
    assert (replica.running, replica.waiting) == (2, 7)


def test_leaving_twice_or_after_the_end_frees_one_place_only():
    replica = Replica(SMALL, 4)
    ended, left, stays = Stream(0.0, 2), Stream(0.0, 9), Stream(0.0, 99)
    for stream in (ended, left, stays):
        replica.submit(stream)
    replica.advance(50.0)
    for stream in (ended, left, left):
        replica.leave(stream)
    assert replica.running == 1
    assert (ended.left, left.left) == (False, True)


def test_choices_take_a_place_each_and_too_many_of_them_run_alone():
    replica = Replica(SMALL, 4)
    pair, trio, horde = Stream(0.0, 5, 2), Stream(0.0, 5, 3), Stream(0.0, 5, 9)
    for stream in (pair, trio, horde):
        replica.submit(stream)
    assert (replica.running, replica.waiting) == (2, 12)
    replica.leave(pair)
    assert (replica.running, replica.waiting) == (3, 9)
    replica.leave(trio)
    assert (replica.running, replica.waiting) == (9, 0)
    assert replica.submit(Stream(0.0, 1))
    assert (replica.running, replica.waiting) == (9, 1)


def test_more_choices_than_the_queue_holds_may_wait_if_nobody_else_does():
    replica = Replica(SMALL, 4)
    start(replica, 4)
    assert replica.submit(Stream(0.0, 1, choices=QUEUE_PER_PLACE * 4 + 1))
    assert not replica.submit(Stream(0.0, 1))


def test_a_watched_stream_is_told_of_once_and_not_before_its_tokens_are_out():
    replica = Replica(SMALL, 1)
    first, second = start(replica, 2, tokens_out=4, prompt=2.0)
    replica.watch(first, 3)
    replica.watch(second, 1)
    seen = []
    while (due_ms := replica.next_ms()) is not None:
        seen += [(due_ms, stream) for stream in replica.advance(due_ms)]
    # 2 steps of prompt; the third token is out at step 4; the second stream starts at step 5
    assert seen == [(pytest.approx(40.0), first), (pytest.approx(70.0), second)]


def test_a_watch_on_a_stream_that_left_is_forgotten():
    replica = Replica(SMALL, 1)
    first, second = start(replica, 2, tokens_out=4)
    replica.watch(first, 3)
    replica.watch(second, 3)
    replica.leave(second)
    replica.leave(first)
    (third,) = start(replica, 1)
    assert replica.advance(1e6) == []
    replica.leave(third)
    assert replica.next_ms() is None


def test_a_clock_that_steps_back_changes_nothing():
    replica = Replica(SMALL, 1)
    (mine,) = start(replica, 1)
    replica.advance(500.0)
    out = replica.tokens(mine)
    replica.advance(100.0)
    assert replica.tokens(mine) == out
    replica.advance(500.0)
    assert replica.tokens(mine) == out


@dataclass
class Arrival:
    """`leaves_ms` after it came, or never."""

    at_ms: int
    prompt: float
    tokens_out: int
    choices: int
    leaves_ms: int | None


ARRIVALS = st.lists(
    st.builds(
        Arrival,
        at_ms=st.sampled_from([0, 0, 10, 16, 25, 40, 100]),
        prompt=st.sampled_from([0.0, 1.0, 2.5]),
        tokens_out=st.sampled_from([1, 2, 5, 9]),
        choices=st.sampled_from([1, 1, 1, 2, 3, 5]),
        leaves_ms=st.sampled_from([None, None, None, 0, 7, 30, 90]),
    ),
    min_size=1,
    max_size=9,
)


def by_remaining_work(arrivals, capacity):
    """Return when each is over, ms: processor sharing by the work that is left of each stream."""
    itl_ms = {0: 10.0, 1: 10.0, 2: 10.0, 3: 13.0, 4: 16.0}
    events = [(a.at_ms, 1, i) for i, a in enumerate(arrivals)]
    events += [
        (a.at_ms + a.leaves_ms, 2, i) for i, a in enumerate(arrivals) if a.leaves_ms is not None
    ]
    events.sort()
    left, queue, over_ms, now_ms = {}, [], {}, 0.0

    def choices(indices):
        return sum(arrivals[i].choices for i in indices)

    while events or left:
        used = choices(left)
        step_ms = itl_ms.get(used, 16.0 * used / 4)
        ends_ms = now_ms + min(left.values(), default=1e9) * step_ms
        event_ms = events[0][0] if events else 1e9
        then_ms = min(ends_ms, event_ms)
        left = {i: work - (then_ms - now_ms) / step_ms for i, work in left.items()}
        now_ms = then_ms
        gone = [i for i, work in left.items() if work < 1e-6]
        if not gone:
            _, what, i = events.pop(0)
            if what == 1 and queue and arrivals[i].choices + choices(queue) > 4 * capacity:
                over_ms[i] = REFUSED
            elif what == 1:
                queue.append(i)
            elif i not in over_ms:
                gone = [i]
        for i in gone:
            left.pop(i, None)
            queue = [j for j in queue if j != i]
            over_ms[i] = now_ms
        while queue:
            used = choices(left)
            if left and used + arrivals[queue[0]].choices > capacity:
                break
            i = queue.pop(0)
            left[i] = arrivals[i].prompt + arrivals[i].tokens_out - 1 or 1e-9
    return over_ms


def by_replica(arrivals, leap_ms):
    """Return when each is over, ms; `leap_ms` 0: stop at every moment, else look that rarely."""
    replica = Replica(SMALL, 4)
    streams = [Stream(a.prompt, a.tokens_out, a.choices) for a in arrivals]
    todo = [(a.at_ms, 1, i) for i, a in enumerate(arrivals)]
    todo += [
        (a.at_ms + a.leaves_ms, 2, i) for i, a in enumerate(arrivals) if a.leaves_ms is not None
    ]
    todo.sort()
    over_ms, now_ms = {}, 0.0

    def look():
        for i, stream in enumerate(streams):
            if stream.over:
                over_ms.setdefault(i, now_ms)

    while todo or replica.running:
        due_ms = (replica.next_ms() or 1e9) if not leap_ms else now_ms + leap_ms
        now_ms = min([due_ms, *(at_ms for at_ms, _, _ in todo)])
        replica.advance(now_ms)
        look()
        while todo and todo[0][0] <= now_ms:
            _, what, i = todo.pop(0)
            if what == 1 and not replica.submit(streams[i]):
                over_ms[i] = REFUSED
            elif what == 2 and over_ms.get(i) != REFUSED:
                replica.leave(streams[i])
            replica.advance(now_ms)
            look()
    return over_ms


@settings(deadline=None, max_examples=300)
@given(ARRIVALS)
def test_every_stream_ends_when_sharing_by_remaining_work_says_so(arrivals):
    expected = by_remaining_work(arrivals, capacity=4)
    assert by_replica(arrivals, leap_ms=0) == pytest.approx(expected, abs=1e-3)


@settings(deadline=None, max_examples=100)
@given(ARRIVALS)
def test_looking_rarely_makes_no_stream_late_by_more_than_the_look(arrivals):
    expected = by_remaining_work(arrivals, capacity=4)
    seen = by_replica(arrivals, leap_ms=35.0)
    assert seen.keys() == expected.keys()
    assert all(-1e-3 <= seen[i] - expected[i] <= 35.0 + 1e-3 for i in expected)

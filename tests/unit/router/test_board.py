"""The board between real processes: what is counted in one is seen in the other, and nothing of a
dead one stays.
"""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.model import Breaker
from router.board import BUCKETS, FLEETS, RUNNING, WAYS, Board, create
from router.board_fleets import BoardFleets
from router.board_rates import BoardBuckets
from router.errors import Refusal
from router.rates import Limit, OwnBuckets, Rates
from router.siblings import ALONE, Missed
from router.tracker import Tracker

PER_MINUTE = Limit(None, "key=ab12", "requests", 6)
AT_ONCE = Limit(None, "key=ab12", "concurrent", 3)
ONCE = Breaker(failures=1, open_ms=10_000)


@pytest.fixture
def parent():
    board = create(2)
    yield board
    os.close(board.fd)


def workers(parent):
    """Return two workers' boards. In one process their locks don't exclude each other."""
    return [Board(parent.fd, parent.workers, slot) for slot in range(parent.workers)]


def of(board, *names):
    fleets = [
        SimpleNamespace(
            fleet=SimpleNamespace(
                id=name,
                replicas=SimpleNamespace(min=1, max=1, concurrency_each=8),
                urls=("u",),
                tariff=SimpleNamespace(committed=lambda *_: 1),
                profile=None,
                wake_seconds=None,
                sagemaker=None,
            ),
            covered=0.0,
        )
        for name in names or ("a", "b")
    ]
    return Tracker(fleets, BoardFleets(board))


def in_flight(tracker):
    return [load.in_flight for load in tracker.loads(0.0)]


def test_requests_in_flight_are_those_of_all(parent):
    one, two = map(of, workers(parent))
    opening = one.started("a")
    two.started("a")
    two.started("b")
    assert in_flight(one) == in_flight(two) == [2, 1]
    one.ended("a", opening)
    assert in_flight(one) == in_flight(two) == [1, 1]


def test_the_last_place_is_held_by_one_worker_until_its_request_has_ended(parent):
    one, two = map(of, workers(parent))
    for _ in range(7):
        one.started("a")
    assert one.hold("a", 0.0)
    assert not two.hold("a", 0.0)
    assert two.is_full("a", 0.0)
    sent = one.started("a", held=True)
    assert in_flight(one) == in_flight(two) == [8, 0]
    one.ended("a", sent)
    assert two.hold("a", 0.0)
    two.let_go("a")
    assert in_flight(one) == in_flight(two) == [7, 0]


def test_free_places_are_left_to_who_waits_before_one_in_another_worker(parent):
    one, two = map(of, workers(parent))
    one.waits("a", 5.0, 100.0)

    def full(tracker, rank, now_s=100.0):
        return [load.in_flight == load.limit for load in tracker.loads(now_s, rank)]

    assert full(two, 6.0) == [True, False]
    assert not two.has_place("a", 100.0, 6.0)
    assert full(two, 4.0) == full(two, 5.0) == [False, False]  # it goes first itself
    assert full(one, 6.0) == [False, False]  # its own line is another matter
    assert full(two, 6.0, 101.0) == [False, False]  # who hangs keeps nothing from others
    one.waits("a", 0.0, 100.0)
    assert full(two, 6.0) == [False, False]


def test_who_waited_in_a_worker_that_has_ended_is_waited_for_no_more(parent):
    one, two = map(of, workers(parent))
    one.waits("a", 5.0, 100.0)
    parent.clear(0)
    assert two.has_place("a", 100.0, 6.0)


def test_fleets_are_found_by_name_whatever_their_order(parent):
    first, second = workers(parent)
    one, two = of(first, "a", "b", "c"), of(second, "c", "a")
    one.started("c")
    assert in_flight(two) == [1, 0]


def test_failures_of_all_open_the_circuit_for_all_and_one_answer_closes_it(parent):
    one, two = map(of, workers(parent))
    twice = Breaker(failures=2, open_ms=10_000)
    for tracker in (one, two):
        opening = tracker.started("a")
        tracker.failed("a", 0.0, twice, None)
        tracker.ended("a", opening)
    assert one.is_open("a", 5.0)
    assert two.is_open("a", 5.0)
    assert [load.state for load in one.loads(5.0)] == ["open-circuit", "ready"]
    opening = two.started("a")
    assert one.is_open("a", 11.0)  # it is being tried
    two.answered("a", opening)
    two.ended("a", opening)
    assert not one.is_open("a", 11.0)
    assert [load.state for load in one.loads(11.0)] == ["ready", "ready"]


def test_of_two_workers_that_would_try_at_the_same_moment_one_does(parent):
    one, two = map(of, workers(parent))
    one.failed("a", 0.0, ONCE, None)
    assert not one.is_open("a", 11.0)
    assert not two.is_open("a", 11.0)
    one.started("a")
    with pytest.raises(Exception, match="another request tries it"):
        two.started("a")
    assert in_flight(two) == [1, 0]


def test_a_dead_workers_requests_and_trial_are_cleared_and_others_stay(parent):
    one, two = map(of, workers(parent))
    two.started("b")
    one.failed("a", 0.0, ONCE, None)
    one.started("a")
    one.started("b")
    assert two.is_open("a", 11.0)
    parent.clear(0)
    assert in_flight(two) == [0, 1]
    assert not two.is_open("a", 11.0)


def test_a_sum_that_a_dying_worker_left_wrong_is_put_right(parent):
    first, second = workers(parent)
    one, two = of(first), of(second)
    one.started("a")
    two.started("a")
    (place,) = [i for i in range(FLEETS) if parent.in_flight[i]]
    first.own_in_flight[place * 2] += 1  # killed between its own count and the sum
    parent.clear(0)
    assert in_flight(two) == [1, 0]


def test_a_fleet_that_went_and_came_back_is_counted_once(parent):
    """Requests of the old generation end after the new one has begun."""
    first, second = workers(parent)
    old, two = of(first), of(second)
    opening = old.started("a")
    new = of(first)
    new.started("a")
    assert in_flight(two) == [2, 0]
    old.ended("a", opening)
    assert in_flight(two) == [1, 0]


def test_a_full_board_shares_no_more_fleets_and_they_work_on(parent):
    first, second = workers(parent)
    names = [f"f{i}" for i in range(FLEETS)]
    BoardFleets(first)
    whole = BoardFleets(first)
    assert all(whole.of(name, SimpleNamespace()) is not ALONE for name in names)
    assert whole.of("one-more", SimpleNamespace()) is ALONE
    late = of(second, "one-more")
    late.started("one-more")
    assert in_flight(late) == [1]
    assert [BoardFleets(second).missed("one-more", 0.0, 60.0, asleep=True) for _ in "ab"] == [1, 1]


@pytest.mark.parametrize("shared", [True, False])
def test_one_is_asked_to_wake_a_fleet_in_the_time_that_it_takes(parent, shared):
    alone = Missed()
    one, two = map(BoardFleets, workers(parent)) if shared else (alone, alone)
    assert one.missed("a", 1.0, 60.0, asleep=True) == 1
    assert two.missed("a", 2.0, 60.0, asleep=True) == 0
    assert one.missed("a", 60.0, 60.0, asleep=False) == 0
    assert two.missed("b", 2.0, 60.0, asleep=True) == 1
    assert two.missed("a", 62.0, 60.0, asleep=False) == 0  # it wakes already
    assert one.missed("a", 63.0, 60.0, asleep=True) == 4


@pytest.mark.parametrize("shared", [True, False])
def test_a_fleet_is_asked_for_once_all_workers_missed_enough_in_its_window(parent, shared):
    alone = Missed()
    one, two = map(BoardFleets, workers(parent)) if shared else (alone, alone)

    def missed(by, now_s):
        return by.missed("a", now_s, 60.0, asleep=True, beyond=1.5, window_s=100.0)

    assert [missed(one, 1.0), missed(two, 101.0), missed(one, 102.0)] == [0, 0, 2]


@pytest.mark.parametrize("shared", [True, False])
def test_where_nobody_could_be_asked_the_next_request_of_any_worker_asks_again(parent, shared):
    alone = Missed()
    one, two = map(BoardFleets, workers(parent)) if shared else (alone, alone)
    assert one.missed("a", 1.0, 60.0, asleep=True) == 1
    one.unasked("a", 1)
    assert two.missed("a", 2.0, 60.0, asleep=True) == 2
    assert one.missed("a", 3.0, 60.0, asleep=True) == 0


def test_the_books_are_kept_by_one_until_it_ends_or_dies(parent):
    one, two = workers(parent)
    assert [two.mine(), one.mine(), two.mine()] == [True, False, True]
    two.pass_on()
    assert [one.mine(), two.mine()] == [True, False]
    two.pass_on()  # of what is not its own
    assert one.mine()
    parent.clear(0)
    assert two.mine()


# -- rates -----------------------------------------------------------------------------------------


def both(parent):
    return [Rates(BoardBuckets(board)) for board in workers(parent)]


def admitted(rates, limits, now_s, tokens=0):
    try:
        return rates.admit(limits, tokens, now_s)
    except Refusal:
        return None


def test_a_minute_is_shared_and_refills_for_all(parent):
    one, two = both(parent)
    got = [admitted(rates, [PER_MINUTE], 0.0) for rates in (one, two) * 5]
    assert sum(each is not None for each in got) == 6
    assert admitted(one, [PER_MINUTE], 10.1) is not None
    assert admitted(two, [PER_MINUTE], 10.1) is None


def test_a_clock_that_was_read_before_the_others_gives_and_takes_nothing(parent):
    one, two = both(parent)
    assert all(admitted(one, [PER_MINUTE], 100.0) for _ in range(5))
    assert admitted(two, [PER_MINUTE], 80.0)
    assert admitted(one, [PER_MINUTE], 100.0) is None
    assert admitted(one, [PER_MINUTE], 110.1)
    assert admitted(one, [PER_MINUTE], 110.1) is None


def test_what_a_dead_worker_ran_is_no_longer_counted(parent):
    one, two = both(parent)
    assert admitted(one, [AT_ONCE], 0.0)
    assert admitted(one, [AT_ONCE], 0.0)
    mine = admitted(two, [AT_ONCE], 0.0)
    assert admitted(two, [AT_ONCE], 0.0) is None
    parent.clear(0)
    again = [admitted(two, [AT_ONCE], 0.0) for _ in range(3)]
    assert [each is not None for each in again] == [True, True, False]
    two.end(mine, 0, 0.0)
    assert admitted(two, [AT_ONCE], 0.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "end"]), st.integers(0, 2), st.integers(0, 12)),
    max_size=60,
)
LIMITS = [
    [PER_MINUTE],
    [AT_ONCE, Limit("p", "all", "tokens", 50)],
    [AT_ONCE, PER_MINUTE, Limit("p", "team=a", "concurrent", 2)],
]


@given(STEPS)
def test_on_the_board_limits_are_those_of_one_process(steps):
    """Whichever worker a request comes to: the same is let in, with the same headers."""
    parent = create(2)
    shared, alone, open_ = both(parent), Rates(OwnBuckets()), []
    now_s = 0.0
    for what, which, step in steps:
        now_s += step
        if what == "admit":
            of_all = admitted(shared[step % 2], LIMITS[which], now_s, tokens=step)
            of_one = admitted(alone, LIMITS[which], now_s, tokens=step)
            assert (of_all is None) == (of_one is None)
            if of_all is not None:
                assert of_all.headers == of_one.headers
                open_.append((shared[step % 2], of_all, of_one))
        elif open_:
            rates, of_all, of_one = open_.pop(which % len(open_))
            rates.end(of_all, step, now_s)
            alone.end(of_one, step, now_s)
    os.close(parent.fd)


class OneSet(Board):
    """All names lie in the same places: by chance that takes thousands of them."""

    def key(self, name):
        return (int("".join(filter(str.isdigit, name))) + 1) * 2 * BUCKETS * RUNNING + 1


def test_where_a_bucket_gives_way_it_is_the_emptiest(parent):
    first = OneSet(parent.fd, parent.workers, 0)
    rates = Rates(BoardBuckets(first))
    limits = [Limit(None, f"key={i}", "requests", 100) for i in range(WAYS + 1)]
    for i, limit in enumerate(limits[:WAYS]):
        for _ in range(2 if i == 3 else 50):
            rates.admit([limit], 0, 0.0)
    rates.admit([limits[WAYS]], 0, 0.0)
    left = [admitted(rates, [limit], 0.0) for limit in limits[4:]]
    assert [dict(each.headers)[b"x-ratelimit-remaining-requests"] for each in left[:-1]] == [
        b"49"
    ] * (WAYS - 4)


def test_where_nothing_more_can_be_counted_the_request_is_refused(parent):
    first = OneSet(parent.fd, parent.workers, 0)
    rates = Rates(BoardBuckets(first))
    limits = [Limit(None, f"key={i}", "concurrent", 5) for i in range(WAYS + 1)]
    running = [rates.admit([limit], 0, 0.0) for limit in limits[:WAYS]]
    assert admitted(rates, [limits[WAYS]], 0.0) is None
    rates.end(running[7], 0, 0.0)
    assert admitted(rates, [limits[WAYS]], 0.0)


# -- between processes -----------------------------------------------------------------------------

WORK = """
import sys
from router.board import Board
from router.board_rates import BoardBuckets
from router.errors import Refusal
from router.rates import Limit, Rates
fd, slot, times = map(int, sys.argv[1:])
rates = Rates(BoardBuckets(Board(fd, 4, slot)))
limits = [Limit(None, "key=x", "requests", 20000), Limit(None, "key=x", "concurrent", 3)]
got = 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(times):
    try:
        admitted = rates.admit(limits, 0, 0.0)
    except Refusal:
        continue
    got += 1
    rates.end(admitted, 0, 0.0)
print(got, flush=True)
if times > 20000:
    while True:
        try:
            rates.end(rates.admit(limits[1:], 0, 0.0), 0, 0.0)
        except Refusal:
            pass
"""


def work(board, slot, times):
    command = [sys.executable, "-c", WORK, str(board.fd), str(slot), str(times)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, pass_fds=[board.fd], **pipes)


def test_processes_at_once_take_together_what_there_is_to_the_last():
    board = create(4)
    running = [work(board, slot, 8000) for slot in range(4)]
    for each in running:
        assert each.stdout.readline() == "ready\n"
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    assert sum(int(each.communicate()[0]) for each in running) == 20000
    assert not any(board.running)
    os.close(board.fd)


def test_a_process_that_is_killed_while_it_holds_the_lock_stops_nobody():
    board = create(4)
    for _ in range(5):
        with work(board, 1, 20001) as each:
            each.stdin.write("go\n")
            each.stdin.flush()
            assert each.stdout.readline() == "ready\n"
            each.stdout.readline()
            each.send_signal(signal.SIGKILL)
        board.clear(1)
        assert not any(board.running)
    rates = Rates(BoardBuckets(Board(board.fd, 4, 0)))
    assert admitted(rates, [AT_ONCE], 0.0)
    os.close(board.fd)

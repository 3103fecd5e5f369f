"""How a fleet's limit begins, grows and shrinks."""

from router.limiter import MOST, SHRINK, Limiter, room

ONE = room(replicas=1, each=10, most=1)
FOUR = room(replicas=4, each=10, most=4)


def answer(limiter, times, at=ONE):
    for _ in range(times):
        limiter.answered(limiter.limit(at), at)


def drop(limiter, now_s, number=1, sent=1, at=ONE):
    limiter.dropped(number, sent, now_s, at)


def test_the_limit_begins_at_the_places_of_the_ready_replicas():
    assert [Limiter().limit(at) for at in (ONE, FOUR)] == [10, 40]


def test_it_grows_by_one_for_as_many_answers_as_it_allows():
    limiter = Limiter()
    answer(limiter, 10)
    assert limiter.limit(ONE) == 10
    answer(limiter, 1)
    assert limiter.limit(ONE) == 11


def test_answers_below_the_limit_teach_nothing():
    limiter = Limiter()
    for _ in range(1000):
        limiter.answered(9, ONE)
    assert limiter == Limiter()


def test_it_never_grows_beyond_a_multiple_of_the_places():
    limiter = Limiter()
    answer(limiter, 5000)
    assert limiter.limit(ONE) == MOST * 10


def test_replicas_that_nobody_tells_of_count_for_the_most():
    hidden = room(replicas=1, each=10, most=3)
    limiter = Limiter()
    answer(limiter, 50_000, hidden)
    assert limiter.limit(hidden) == MOST * 30


def test_it_shrinks_where_the_fleet_has_too_much_and_grows_again_from_there():
    limiter = Limiter()
    drop(limiter, 100)
    assert limiter.limit(ONE) == int(10 * SHRINK) == 7
    answer(limiter, 8)
    assert limiter.limit(ONE) == 8


def test_a_burst_counts_once():
    limiter = Limiter()
    for number in range(1, 11):
        drop(limiter, 100 + number / 100, number=number, sent=10)
    assert limiter.limit(ONE) == 7


def test_what_was_sent_before_it_shrank_counts_no_more_however_late():
    limiter = Limiter()
    drop(limiter, 100, number=1, sent=10)
    drop(limiter, 120, number=10, sent=30)
    assert limiter.limit(ONE) == 7
    drop(limiter, 120, number=11, sent=30)
    assert limiter.limit(ONE) == 4


def test_within_a_second_what_was_sent_since_counts_no_more_either():
    limiter = Limiter()
    drop(limiter, 100, number=1, sent=1)
    drop(limiter, 100.9, number=2, sent=2)
    assert limiter.limit(ONE) == 7
    drop(limiter, 101, number=3, sent=3)
    assert limiter.limit(ONE) == 4


def test_it_never_shrinks_below_one_for_each_replica():
    for at, least in ((ONE, 1), (FOUR, 4)):
        limiter = Limiter()
        for n in range(1, 50):
            drop(limiter, 10 * n, number=n, sent=n, at=at)
        assert limiter.limit(at) == least


def test_it_goes_with_replicas_that_leave_and_come_back():
    limiter = Limiter()
    drop(limiter, 100, at=FOUR)
    assert limiter.limit(FOUR) == 28
    assert limiter.limit(ONE) == 7
    assert limiter.limit(FOUR) == 28


def test_without_any_replica_there_is_room_to_find_out():
    assert Limiter().limit(room(replicas=0, each=10, most=1)) == 10

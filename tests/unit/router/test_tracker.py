from types import SimpleNamespace

import pytest

from backends.base import SEEN_FOR_S, Seen
from backends.load import is_full
from backends.tariff import single
from policies.model import Breaker
from router.tracker import DRIFT_AFTER, EWMA_BOUNDS, Tracker

TWICE = Breaker(failures=2, open_ms=10_000)


def fleet_of(name, profile="a profile", urls=1, least=1, wake_s=None, each=8, most=1):
    return SimpleNamespace(
        id=name,
        replicas=SimpleNamespace(min=least, max=most, concurrency_each=each),
        urls=tuple(f"u{i}" for i in range(urls)),
        tariff=single("on_demand", None),
        profile=profile,
        wake_seconds=wake_s,
        sagemaker=None,
    )


def tracker(*names, **of_each):
    return Tracker(
        [SimpleNamespace(fleet=fleet_of(n, **of_each), covered=0.0) for n in names or ("a", "b")]
    )


def states(t, now_s):
    return [load.state for load in t.loads(now_s)]


def fail(t, now_s, *, times=1, retry_after_s=None, fleet="a"):
    for _ in range(times):
        opening = t.started(fleet)
        t.failed(fleet, now_s, TWICE, retry_after_s)
        t.ended(fleet, opening)


@pytest.mark.parametrize(
    ("least", "urls", "replicas"), [(0, 1, 1), (1, 1, 1), (3, 1, 3), (0, 2, 2), (1, 4, 4)]
)
def test_a_static_url_is_one_replica_unless_more_are_always_there(least, urls, replicas):
    assert committed_and_ready(least, urls, "on_demand") == (least, replicas)


@pytest.mark.parametrize("purchase", ["reserved", "capacity_block"])
def test_what_was_bought_ahead_is_committed(purchase):
    assert committed_and_ready(0, 2, purchase) == (2, 2)


def committed_and_ready(least, urls, purchase):
    fleet = SimpleNamespace(
        id="a",
        sagemaker=None,
        replicas=SimpleNamespace(min=least, max=1, concurrency_each=1),
        urls=("u",) * urls,
        tariff=single(purchase, None),
        profile=None,
        wake_seconds=None,
    )
    (load,) = Tracker([SimpleNamespace(fleet=fleet, covered=0.0)]).loads(0)
    return load.committed, load.replicas


def answer(t, fleet="a"):
    opening = t.started(fleet)
    t.answered(fleet, opening)
    t.ended(fleet, opening)


def test_in_flight_counts_what_started_and_has_not_ended():
    t = tracker()
    t.started("a")
    t.ended("a", t.started("a"))
    assert [load.in_flight for load in t.loads(0)] == [1, 0]


def test_the_circuit_opens_after_as_many_failures_in_a_row_as_the_policy_says():
    t = tracker()
    fail(t, 100)
    assert states(t, 100) == ["ready", "ready"]
    fail(t, 100)
    assert states(t, 109.9) == ["open-circuit", "ready"]


def test_an_answer_in_between_starts_the_count_anew():
    t = tracker()
    fail(t, 100)
    answer(t)
    fail(t, 100)
    assert states(t, 100) == ["ready", "ready"]


def test_after_its_time_one_request_at_a_time_finds_out():
    t = tracker()
    fail(t, 100, times=2)
    assert states(t, 110)[0] == "ready"
    trial = t.started("a")
    assert states(t, 110)[0] == "open-circuit"  # the trial is under way
    t.answered("a", trial)
    t.ended("a", trial)
    assert states(t, 110)[0] == "ready"
    t.started("a")
    assert states(t, 110)[0] == "ready"  # closed again: no more trials


def test_a_failed_trial_opens_the_circuit_again_at_once():
    t = tracker()
    fail(t, 100, times=2)
    fail(t, 110)
    assert states(t, 119)[0] == "open-circuit"
    assert states(t, 120)[0] == "ready"


def test_a_trial_that_the_caller_broke_off_leaves_the_next_one_its_turn():
    t = tracker()
    fail(t, 100, times=2)
    t.ended("a", t.started("a"))
    assert states(t, 110)[0] == "ready"


def test_an_answer_to_an_older_request_says_nothing_of_a_circuit_that_opened_since():
    t = tracker()
    older = t.started("a")
    fail(t, 100, retry_after_s=60)
    t.answered("a", older)
    t.ended("a", older)
    assert states(t, 101)[0] == "open-circuit"
    assert t.is_open("a", 101)


def test_an_older_request_that_ends_does_not_let_a_second_trial_in():
    t = tracker()
    older = t.started("a")
    fail(t, 100, times=2)
    t.started("a")  # the trial
    t.ended("a", older)
    assert states(t, 120)[0] == "open-circuit"


def test_retry_after_closes_a_fleet_for_that_long():
    t = tracker()
    fail(t, 100, retry_after_s=30)
    assert states(t, 129)[0] == "open-circuit"
    assert states(t, 130)[0] == "ready"


def test_the_time_until_the_first_fleet_reopens_is_told():
    t = tracker()
    assert t.reopens_in_s(100) is None
    fail(t, 100, retry_after_s=30)
    fail(t, 100, retry_after_s=7, fleet="b")
    assert t.reopens_in_s(102) == 5
    assert t.reopens_in_s(200) is None  # both may be tried
    t.started("a")
    assert t.reopens_in_s(200) == 0  # one request tries it


def test_corrections_move_towards_what_is_seen_and_stay_in_bounds():
    t = tracker()
    for _ in range(200):
        t.learn("a", 3.0, 1e9)
    load = t.loads(0)[0]
    assert abs(load.ewma_ttft - 3.0) < 0.01
    assert abs(load.ewma_itl - EWMA_BOUNDS[1]) < 0.01
    t.learn("a", None, None)
    assert t.loads(0)[0] == load


def test_a_profile_is_wrong_once_many_answers_are_far_from_what_it_foretold():
    t = tracker()
    for _ in range(DRIFT_AFTER - 1):
        t.learn("a", 1.0, 5.0)
    assert not t.profile_is_wrong("a")  # too few yet
    t.learn("a", 1.0, 5.0)
    assert t.profile_is_wrong("a")
    assert not t.profile_is_wrong("b")
    for _ in range(50):
        t.learn("a", 1.9, 0.6)
    assert not t.profile_is_wrong("a")
    for _ in range(50):
        t.learn("a", 0.2, 1.0)
    assert t.profile_is_wrong("a")


def test_a_new_profile_begins_without_the_corrections_of_the_old_one():
    old = tracker()
    for _ in range(DRIFT_AFTER):
        old.learn("a", 5.0, 5.0)
    new = tracker(profile="another")
    new.keep(old)
    assert new.loads(0)[0].ewma_ttft == 1.0
    assert not new.profile_is_wrong("a")


def test_a_new_catalogue_keeps_what_is_known_of_its_fleets():
    old = tracker("a", "gone")
    old.learn("a", 2.0, 2.0)
    began = old.started("a")
    new = tracker("new", "a")
    new.keep(old)
    assert [load.in_flight for load in new.loads(0)] == [0, 1]
    old.ended("a", began)  # a request of the old generation ends
    assert [load.in_flight for load in new.loads(0)] == [0, 0]
    assert new.loads(0)[1].ewma_ttft > 1


# -- what probes saw -------------------------------------------------------------------------------

DOWN, LOADING, UNKNOWN = Seen("down"), Seen("loading"), Seen("unknown")


def up(running=0, waiting=0, others=0):
    return Seen("up", running=running, waiting=waiting, others=others)


def load_of(t, now_s=100.0):
    return t.loads(now_s)[0]


def test_without_a_probe_a_fleet_is_what_the_catalogue_says():
    load = load_of(tracker("a", urls=2))
    assert (load.state, load.replicas, load.queued, load.stale) == ("ready", 2, None, False)


def test_others_requests_at_the_engines_are_in_flight_beside_ours():
    t = tracker("a", urls=2)
    t.started("a")
    t.saw("a", [up(running=4, waiting=3, others=6), up(running=1, others=1)], 100.0)
    load = load_of(t)
    assert (load.in_flight, load.queued, t.in_flight("a")) == (1 + 6 + 1, 3, 1)
    t.started("a")  # ours go on counting between two probes
    assert load_of(t).in_flight == 9


def test_a_queue_that_one_replica_does_not_tell_is_unknown_and_not_zero():
    t = tracker("a", urls=2)
    t.saw("a", [up(waiting=3), Seen("up", running=1, others=1)], 100.0)
    load = load_of(t)
    assert (load.queued, load.in_flight) == (None, 1)
    t.saw("a", [up(waiting=0), up(waiting=0)], 100.0)
    assert load_of(t).queued == 0


def test_what_was_seen_is_unknown_again_after_its_time_and_the_load_says_that_it_is_stale():
    t = tracker("a")
    t.saw("a", [up(running=4, waiting=3, others=7)], 100.0)
    just = load_of(t, 100.0 + SEEN_FOR_S - 0.01)
    late = load_of(t, 100.0 + SEEN_FOR_S)
    assert (just.in_flight, just.queued, just.stale) == (7, 3, False)
    assert (late.in_flight, late.queued, late.stale) == (0, None, True)


def test_a_probe_that_learnt_nothing_leaves_what_is_known_until_it_is_stale():
    t = tracker("a")
    t.saw("a", [up(waiting=3)], 100.0)
    t.saw("a", [UNKNOWN], 105.0)
    assert load_of(t, 105.0).queued == 3
    assert load_of(t, 110.0).stale


def test_a_replica_that_is_down_is_not_counted_until_it_is_back():
    t = tracker("a", urls=2, least=2)
    t.saw("a", [up(), DOWN], 100.0)
    load = load_of(t)
    assert (load.state, load.replicas, load.committed) == ("ready", 1, 1)
    t.saw("a", [up(), up()], 102.0)
    assert load_of(t, 102.0).replicas == 2


@pytest.mark.parametrize(
    ("wake_s", "seen", "state"),
    [
        (None, [DOWN, DOWN], "open-circuit"),
        (None, [LOADING, DOWN], "open-circuit"),
        (300, [DOWN, DOWN], "cold"),
        (300, [DOWN, LOADING], "waking"),
        (300, [DOWN, UNKNOWN], "ready"),
        (300, [DOWN, Seen("up")], "ready"),
    ],
)
def test_a_fleet_without_a_replica_is_asleep_if_it_can_be_woken(wake_s, seen, state):
    t = tracker("a", urls=2, wake_s=wake_s)
    t.saw("a", seen, 100.0)
    load = load_of(t)
    assert (load.state, load.replicas == 0) == (state, state != "ready")
    assert load_of(t, 100.0 + SEEN_FOR_S).state == "ready"  # nobody looks any more


def test_a_sleeping_fleet_is_tried_again_after_its_time_to_wake():
    t = tracker("a", "b", wake_s=300)
    assert t.reopens_in_s(100.0) is None
    t.saw("a", [DOWN], 100.0)
    assert t.reopens_in_s(100.0) == 300
    fail(t, 100.0, retry_after_s=7, fleet="b")
    assert t.reopens_in_s(100.0) == 7
    assert t.reopens_in_s(108.0) == 300  # it was closed once, and is no more


def test_of_several_replicas_behind_one_url_what_one_says_is_not_the_fleet_s():
    t = tracker("a", least=3)
    t.saw("a", [up(running=4, waiting=3, others=7)], 100.0)
    load = load_of(t)
    assert (load.in_flight, load.queued, load.replicas) == (0, None, 3)
    assert not t.is_observed("a", 100.0)
    t.saw("a", [DOWN], 101.0)
    assert load_of(t, 101.0).replicas == 0


def test_a_fleet_is_observed_while_every_url_was_seen():
    t = tracker("a", urls=2)
    assert not t.is_observed("a", 100.0)
    t.saw("a", [up(), UNKNOWN], 100.0)
    assert not t.is_observed("a", 100.0)
    t.saw("a", [up(), DOWN], 101.0)
    assert t.is_observed("a", 101.0)
    assert not t.is_observed("a", 101.0 + SEEN_FOR_S)


def test_a_new_catalogue_keeps_what_was_seen_of_the_same_urls_only():
    for urls, kept in ((2, 5), (3, 0)):
        old, new = tracker("a", urls=2), tracker("a", urls=urls)
        old.saw("a", [up(others=5), up()], 100.0)
        new.keep(old)
        assert load_of(new).in_flight == kept
        assert load_of(new).replicas == urls


def test_an_open_circuit_does_not_hide_that_a_fleet_sleeps():
    t = tracker("a", wake_s=300)
    fail(t, 100.0, retry_after_s=60)
    t.saw("a", [DOWN], 100.0)
    assert load_of(t).state == "cold"


# -- the limit -------------------------------------------------------------------------------------


def full(t, now_s=100.0):
    return [is_full(load) for load in t.loads(now_s)]


def test_a_fleet_is_full_at_its_replicas_places_and_has_one_again_when_a_request_ends():
    t = tracker("a", urls=2, each=2)
    numbers = [t.started("a") for _ in range(4)]
    assert (load_of(t).limit, full(t), t.is_full("a", 100.0)) == (4, [True], True)
    assert not t.has_place("a", 100.0)
    t.ended("a", numbers[0])
    assert (full(t), t.is_full("a", 100.0), t.has_place("a", 100.0)) == ([False], False, True)


def test_a_place_that_is_held_is_taken():
    t = tracker("a", each=1)
    t.hold("a", 100.0)
    assert (full(t), load_of(t).in_flight, t.in_flight("a")) == ([True], 1, 0)
    t.let_go("a")
    assert (full(t), load_of(t).in_flight) == ([False], 0)


def test_the_limit_shrinks_for_a_fleet_that_has_too_much_and_for_that_one_only():
    t = tracker(each=10)
    t.dropped("a", t.started("a"), 100.0)
    assert [load.limit for load in t.loads(100.0)] == [7, 10]


def test_the_limit_grows_by_what_is_answered_where_it_was_reached():
    t = tracker("a", each=2)
    t.loads(100.0)
    t.started("a")
    for _ in range(3):
        sent = t.started("a")
        t.answered("a", sent)
        t.ended("a", sent)
    assert load_of(t).limit == 3


def test_failures_that_say_nothing_of_load_leave_the_limit_alone():
    t = tracker("a", each=10)
    fail(t, 100, times=2)
    assert load_of(t).limit == 10


def test_a_replica_that_is_down_takes_its_places_with_it():
    t = tracker("a", urls=2, least=2, each=3)
    t.saw("a", [up(), DOWN], 100.0)
    assert load_of(t).limit == 3


def test_others_fill_a_fleet_but_leave_a_place_for_each_replica():
    t = tracker("a", urls=2, each=3)
    t.saw("a", [up(others=4), up(others=1)], 100.0)
    t.started("a")
    assert (load_of(t).in_flight, full(t)) == (6, [False])  # five and ours, of six or more
    t.started("a")
    assert (load_of(t).in_flight, full(t)) == (7, [True])
    t.saw("a", [up(others=70), up(others=1)], 100.0)
    assert full(t) == [True]
    t = tracker("a", urls=2, each=3)
    t.saw("a", [up(others=70), up(others=1)], 100.0)
    t.started("a")
    assert full(t) == [False]


def test_who_waits_is_told_when_a_request_ends_whichever_catalogue_it_began_with():
    told = []
    old, new = tracker("a"), tracker("a", "b")
    old.freed = told.append
    number = old.started("a")
    new.keep(old)
    old.ended("a", number)
    new.ended("b", new.started("b"))
    assert told == ["a", "b"]


def test_a_new_catalogue_s_places_count_at_once():
    old, new = tracker("a", each=2), tracker("a", each=5)
    old.loads(100.0)
    new.keep(old)
    assert load_of(new).limit == 5


def test_half_open_only_one_place_is_given_out():
    t = tracker("a")
    fail(t, 100, times=2)
    assert not t.hold("a", 109)
    assert [t.hold("a", 110) for _ in range(2)] == [True, False]
    assert not t.is_open("a", 110, held=True)  # of who holds it
    assert (states(t, 110), t.is_open("a", 110)) == (["open-circuit"], True)
    t.let_go("a")
    assert not t.is_open("a", 110)
    t.started("a")
    assert t.is_open("a", 110)


def test_open_requests_stand_for_what_an_engine_does_not_tell():
    t = tracker("a")
    t.told("a", 0, 5, None)
    assert t.loads(0)[0].in_flight == 5
    t.saw("a", [Seen("up")], 0)  # it answers, and counts nothing
    assert t.loads(0)[0].in_flight == 5
    t.saw("a", [Seen("up", 2, 0, 2)], 0)  # the engine knows better
    assert t.loads(0)[0].in_flight == 2


def test_our_own_requests_among_the_open_ones_count_once():
    t = tracker("a")
    t.started("a")
    t.told("a", 0, 3, None)
    assert t.loads(0)[0].in_flight == 3


def test_what_was_told_is_unknown_again_after_a_while():
    t = tracker("a")
    t.told("a", 0, 5, 4)
    assert (t.loads(0)[0].replicas, t.is_observed("a", 0)) == (4, True)
    later = t.loads(SEEN_FOR_S)[0]
    assert (later.in_flight, later.replicas, later.stale) == (0, 1, True)
    assert not t.is_observed("a", SEEN_FOR_S)


def test_replicas_that_are_told_decide_whether_a_fleet_is_there():
    t = tracker("a", least=0, wake_s=60)
    t.told("a", 0, None, 0)
    assert (states(t, 0), t.loads(0)[0].replicas) == (["cold"], 0)
    t.saw("a", [Seen("loading")], 1)
    assert states(t, 1) == ["waking"]
    t.saw("a", [Seen("up")], 2)
    t.told("a", 2, None, 3)
    assert (states(t, 2), t.loads(2)[0].replicas) == (["ready"], 3)


def test_nothing_told_is_nothing_observed():
    t = tracker("a")
    t.told("a", 0, None, None)
    assert not t.is_observed("a", 0)
    assert t.loads(0)[0].in_flight == 0


def test_of_several_replicas_behind_one_url_the_one_that_speaks_is_not_all_of_them():
    t = tracker("a", least=0, most=4)
    t.saw("a", [Seen("up", 3, 2, 5)], 0.0)
    t.told("a", 0.0, 12, 1)
    (load,) = t.loads(0.0)
    assert (load.in_flight, load.queued, load.replicas) == (5, 2, 1)
    t.told("a", 0.0, 12, 3)
    (load,) = t.loads(0.0)
    assert (load.in_flight, load.queued, load.replicas) == (12, None, 3)

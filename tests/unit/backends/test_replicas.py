"""Which url is asked first. Times are seconds of no clock."""

import pytest

from backends.base import SEEN_FOR_S, Seen
from backends.replicas import REST_S, Replicas

URLS = tuple(f"http://10.0.0.{i}/v1" for i in range(4))
PREFIXES = [f"prefix {i}".encode() for i in range(200)]


def first(replicas, prefix=b"", now_s=0.0):
    return replicas.in_order(prefix, now_s)[0]


def fill(replicas, i, requests):
    for _ in range(requests):
        replicas.started(i)


def test_one_url_needs_no_choice():
    assert Replicas(URLS[:1]).in_order(b"x", 0.0) == (0,)


def test_every_url_is_in_the_order_once():
    assert sorted(Replicas(URLS).in_order(b"x", 0.0)) == [0, 1, 2, 3]


def test_equal_prefixes_go_to_one_url_and_different_ones_to_all():
    replicas = Replicas(URLS, places=4)
    homes = {prefix: first(replicas, prefix) for prefix in PREFIXES}
    assert all(first(replicas, prefix) == home for prefix, home in homes.items())
    counts = [list(homes.values()).count(i) for i in range(4)]
    assert min(counts) > 25  # of 50


def test_a_url_that_is_added_takes_only_its_own_share():
    few, more = Replicas(URLS[:3], 4), Replicas(URLS, 4)
    moved = [(first(few, p), first(more, p)) for p in PREFIXES if first(few, p) != first(more, p)]
    assert {to for _, to in moved} == {3}
    assert len(moved) < 100


def test_a_full_url_leaves_its_prefixes_to_those_with_a_place():
    replicas = Replicas(URLS[:2], places=2)
    home = first(replicas, b"p")
    fill(replicas, home, 2)
    assert first(replicas, b"p") == 1 - home
    replicas.ended(home)
    assert first(replicas, b"p") == home


def test_where_all_are_full_the_least_loaded_is_asked_whatever_the_prefix():
    replicas = Replicas(URLS[:2], places=1)
    home = first(replicas, b"p")
    fill(replicas, home, 3)
    fill(replicas, 1 - home, 2)
    assert first(replicas, b"p") == 1 - home


def test_without_a_prefix_the_least_loaded_is_asked_and_equals_take_turns():
    replicas = Replicas(URLS[:3], places=8)
    assert {first(replicas) for _ in range(3)} == {0, 1, 2}
    fill(replicas, 0, 2)
    fill(replicas, 1, 1)
    assert {first(replicas) for _ in range(3)} == {2}


def test_what_others_do_on_a_url_counts_until_it_is_out_of_date():
    replicas = Replicas(URLS[:2], places=4)
    home = first(replicas, b"p")
    replicas.saw(home, Seen("up", running=4, waiting=1, others=5), 100.0)
    assert first(replicas, b"p", 100.0 + SEEN_FOR_S - 0.1) == 1 - home
    assert first(replicas, b"p", 100.0 + SEEN_FOR_S) == home


@pytest.mark.parametrize("state", ["down", "loading"])
def test_a_url_that_is_not_there_is_asked_last_until_it_is_back(state):
    replicas = Replicas(URLS[:2], places=1)
    home = first(replicas, b"p")
    replicas.saw(home, Seen(state), 100.0)
    fill(replicas, 1 - home, 5)  # full, and still better
    assert first(replicas, b"p", 101.0) == 1 - home
    replicas.saw(home, Seen("unknown"), 102.0)
    assert first(replicas, b"p", 102.0) == 1 - home
    replicas.saw(home, Seen("up"), 103.0)
    assert first(replicas, b"p", 103.0) == home


def test_a_url_that_was_down_and_answers_a_request_is_there():
    replicas = Replicas(URLS[:2])
    home = first(replicas, b"p")
    replicas.saw(home, Seen("down"), 100.0)
    replicas.reached(home)
    assert first(replicas, b"p", 100.0) == home


def test_a_url_that_could_not_be_reached_rests_for_a_moment():
    replicas = Replicas(URLS[:2])
    home = first(replicas, b"p")
    replicas.unreachable(home, 100.0)
    assert first(replicas, b"p", 100.0) == 1 - home
    assert first(replicas, b"p", 100.0 + REST_S) == home

"""A replay's service does what an emulated fleet does, to the millisecond."""

import random

import pytest
from replay_worlds import POLICIES, world_of

from backends.engines.emulation import Replica, Stream, prompt_steps
from backends.load import Load
from router.replay.service import Service

WORLD = world_of(POLICIES[0])


def fleet(name):
    return next(on for on in WORLD.fleets if on.fleet.id == name)


def requests(seed, rate, many=150):
    """Return (came_s, tokens in, tokens out, choices) of so many requests."""
    draw, now_s, found = random.Random(seed), 0.0, []
    for _ in range(many):
        now_s += draw.expovariate(rate)
        lengths = draw.choice([1, 20, 300, 900]), draw.choice([1, 2, 30, 200])
        found.append((now_s, *lengths, draw.choice([1, 1, 1, 2])))
    return found


def emulated(on, asked):
    """Return when each request's last token is out of an emulated replica."""
    replica = Replica(on.fleet.profile, on.fleet.replicas.concurrency_each)
    streams, ends, coming = {}, {}, list(enumerate(asked))
    while coming or len(ends) < len(asked):
        arrives_ms = coming[0][1][0] * 1000 if coming else float("inf")
        end_ms = replica.next_end_ms()
        now_ms = min(arrives_ms, float("inf") if end_ms is None else end_ms)
        replica.advance(now_ms)
        for i, stream in streams.items():
            if stream.over and i not in ends:
                ends[i] = now_ms / 1000
        if coming and now_ms == arrives_ms:
            i, (_, tokens_in, tokens_out, n) = coming.pop(0)
            streams[i] = Stream(prompt_steps(on.fleet.profile, tokens_in), tokens_out, n)
            assert replica.submit(streams[i])
    return ends


def served(on, asked, replicas=1):
    """Return when each request's last token is out of a replay's service, and its first."""
    service, ends, firsts = Service(on, replicas), {}, {}
    for i, (came_s, tokens_in, tokens_out, n) in enumerate(asked):
        while service.next_s <= came_s:
            end_s = service.next_s
            j, firsts[j] = service.end()
            ends[j] = end_s
        service.start(i, came_s, tokens_in, tokens_out, n)
    while len(ends) < len(asked):
        end_s = service.next_s
        j, firsts[j] = service.end()
        ends[j] = end_s
    return ends, firsts


@pytest.mark.parametrize(("name", "rate"), [("a", 0.1), ("a", 0.13), ("p5", 5.0), ("p5", 60.0)])
@pytest.mark.parametrize("seed", [1, 2])
def test_streams_end_when_those_of_an_emulated_fleet_end(name, rate, seed):
    on, asked = fleet(name), requests(seed, rate, many=60 if name == "a" else 150)
    ends, firsts = served(on, asked)
    expected = emulated(on, asked)
    assert ends == {i: pytest.approx(end_s, abs=1e-3) for i, end_s in expected.items()}
    assert all(asked[i][0] < firsts[i] <= ends[i] for i in ends)


def test_a_lone_stream_takes_what_its_profile_says():
    on = fleet("a")
    ends, firsts = served(on, [(5.0, 300, 200, 1)])
    seen = on.predict(300, 200, 1, Load())
    assert firsts[0] - 5.0 == pytest.approx(seen.ttft_p50_ms / 1000)
    assert ends[0] - 5.0 == pytest.approx(seen.e2e_p50_ms / 1000)


def test_a_fleet_without_a_profile_takes_the_assumed_time():
    ends, firsts = served(fleet("api"), [(0.0, 300, 11, 1), (0.0, 9, 11, 1)])
    assert firsts == {0: pytest.approx(0.3), 1: pytest.approx(0.3)}
    assert ends == {0: pytest.approx(0.45), 1: pytest.approx(0.45)}


def test_two_replicas_serve_twice_as_many_as_fast():
    on = fleet("a")
    one, _ = served(on, [(0.0, 100, 50, 1)] * 2)
    two, _ = served(on, [(0.0, 100, 50, 1)] * 4, replicas=2)
    assert max(two.values()) == pytest.approx(max(one.values()))


def test_who_leaves_makes_room_and_says_how_far_it_was():
    service = Service(fleet("a"), 1)
    for i in range(5):
        service.start(i, 0.0, 1, 1000, 1)
    assert (service.running, service.queued) == (4, 1)
    assert not service.has_begun(4, 1.0)
    assert service.has_begun(0, 1.0)
    made = service.leave(0, 10.0)
    assert 80 < made < 100  # four share 36 tokens a second
    assert (service.running, service.queued) == (4, 0)
    assert service.leave(4, 10.0) == 0
    assert service.here() == [1, 2, 3]


def test_a_first_token_is_found_where_the_speed_changed_on_its_way():
    on = fleet("a")
    lone, first = served(on, [(0.0, 300, 2, 1)])
    _, firsts = served(on, [(0.0, 300, 2, 1), (first[0] / 2, 1, 5000, 1)])
    # Half of the prompt alone, the other half beside another one: twice as long.
    assert firsts[0] == pytest.approx(1.5 * first[0], rel=0.01)
    assert lone[0] > first[0]


@pytest.mark.parametrize(
    ("choices", "goes", "stays"),
    [
        ([1] * 8, ([0, 2, 4, 6], 4, 0), ([1, 3, 5, 7], 4, 0)),
        ([1] * 12, ([0, 2, 4, 6, 8, 10], 4, 2), ([1, 3, 5, 7, 9, 11], 4, 2)),
        # The largest are dealt first, so that both have what they have places for.
        ([1, 3, 2, 2], ([0, 1], 4, 0), ([2, 3], 4, 0)),
    ],
)
def test_a_machine_that_goes_takes_its_share_of_who_runs_and_of_who_waits(choices, goes, stays):
    service = Service(fleet("a"), 2)
    for i in range(len(choices)):
        service.start(i, 0.0, 1, 1000, choices[i])
    one = service.parted(2, 1.0)
    service.resize(1, 1.0)
    assert (one.here(), one.running, one.queued) == goes
    assert (service.here(), service.running, service.queued) == stays


def test_a_machine_that_goes_takes_no_more_running_streams_than_it_has_places():
    service = Service(fleet("a"), 2)
    order = [*range(0, 16, 2), *range(1, 16, 2)]  # every second number runs, the others wait
    for i in order:
        service.start(i, 0.0, 1, 1000, 1)
    one = service.parted(2, 1.0)
    service.resize(1, 1.0)
    assert (one.running, one.queued) == (one.places, 4)
    assert (service.running, service.queued) == (service.places, 4)


def test_streams_hold_no_more_than_all_places():
    service = Service(fleet("a"), 1)
    service.start(0, 0.0, 1, 1000, 6)  # it runs alone, on 4 places
    service.start(1, 0.0, 1, 1000, 1)
    assert (service.running, service.queued, service.unplaced) == (6, 1, 3)
    service.advance(10.0)
    assert service.busy_s == pytest.approx(40.0)
    end_s = service.next_s
    service.end()
    assert service.busy_s == pytest.approx(4 * end_s)
    service.start(2, end_s, 1, 1000, 6)
    assert service.unplaced == 6

"""Who waits, who is out of time since when, and whose place that gives to whom.

A token takes 10 ms, however many are made side by side, and a prompt no time to speak of.
"""

import pytest
from replay_worlds import STEADY, box, catalogue_of, trace_of, world_of

from router.replay.fleet import Fleet
from router.replay.outcome import SERVED, TIMED_OUT, Settings
from router.replay.run import replay

POLICY = """
version: 1
name: in-time
baseline: m@a
defaults:
  quality_floor: 0
  slo: {ttft_p95_ms: null, e2e_p95_ms: null}
  max_output_tokens: 1000000
  limits: LIMITS
rules: [{id: all, use: cpu}]
"""


def world(places, sent=None, most=1, deadline_ms=3_600_000, ttft_ms=3_600_000):
    """Return a fleet of so many places a replica, to which the router sends `sent` at a time."""
    size = {"min": 1, "max": most, "concurrency_each": sent or places}
    fleets = catalogue_of(box("a", profile="box/steady", replicas=size))
    fleets = fleets.replace("context_tokens: 4096", "context_tokens: 100000000")
    limits = f"{{deadline_ms: {deadline_ms}, ttft_timeout_ms: {min(ttft_ms, deadline_ms)}}}"
    policy = POLICY.replace("LIMITS", limits)
    return world_of(policy, fleets, (STEADY.format(c=max(2, places), tok_s=100 * max(2, places)),))


def test_a_request_has_its_deadline_from_its_arrival_wherever_it_waited():
    there = world(1, deadline_ms=15_000)
    out = replay(there, trace_of([(0.0, 1, 501), (2.0, 1, 1401)]))
    assert list(out.outcome) == [SERVED, TIMED_OUT]
    assert out.seconds == pytest.approx(17)  # sent at 5, it would have been whole at 19
    assert out.usd_nano[1] == there.fleets[0].card.charge_nano(1, 0, 1200)


def test_the_time_to_a_first_token_begins_when_a_request_is_sent():
    out = replay(world(1, ttft_ms=3000), trace_of([(0.0, 1, 501), (0.5, 1, 101)]))
    assert list(out.outcome) == [SERVED, SERVED]
    assert out.ttft_ms[1] == pytest.approx(4500)


def test_the_place_of_one_that_was_given_up_goes_to_who_waits_in_the_router():
    out = replay(world(1, deadline_ms=15_000), trace_of([(0.0, 1, 5001), (12.0, 1, 101)]))
    assert list(out.outcome) == [TIMED_OUT, SERVED]
    assert out.e2e_ms[1] == pytest.approx(4000)  # 3 s in line, until 15


def test_who_is_given_up_in_the_fleets_own_line_makes_room_for_who_waits_in_the_routers():
    # Two run until 7 s; six wait in the fleet until 5.5 and leave room at five, as many as a fleet
    # is sent that was silent (router.limiter); the ninth waits in the router from 4 to 6 at most.
    rows = [*[(0.0, 1, 701)] * 2, *[(0.5, 1, 1)] * 6, (4.0, 1, 101)]
    out = replay(world(2, sent=8, ttft_ms=5000), trace_of(rows), Settings(queue_s=2.0))
    assert list(out.outcome) == [SERVED] * 2 + [TIMED_OUT] * 6 + [SERVED]
    assert out.e2e_ms[8] == pytest.approx(4000)


def test_a_fleet_grows_for_who_waits_in_its_own_line_too():
    # Two run and 14 wait; the target is 11.2 of 16.
    out = replay(world(2, sent=16, most=2), trace_of([(0.0, 1, 20_001)] * 16))
    assert out.fleets[0].starts == 1


def test_each_burst_of_silence_shrinks_what_a_fleet_is_sent():
    fleet = Fleet(0, world(10).fleets[0])
    limits = []
    for burst in range(3):
        numbers = [fleet.taken() for _ in range(4)]
        for number in numbers:
            fleet.left(number, 10.0 * burst)
        limits.append(fleet.limit)
    assert limits == [7, 4, 3]

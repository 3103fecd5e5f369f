"""Machines that go take nothing new, and are paid until what runs there has ended.

A stream alone on its machine makes a token in 10 ms, two of them one in 20.
"""

from dataclasses import replace

import pytest
from replay_worlds import box, catalogue_of, strong, trace_of, world_of

from backends.prices import Price
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, Settings
from router.replay.run import replay
from router.world import world as built

SHARING = """
version: 1
profiles:
  - {id: box/steady, model: m, instance: box, source: a test, mark: stated,
     tokens_in: 1, ttft_ms: 0.001,
     points: [{concurrency: 1, tok_s: 100, itl_ms: 10}]}
"""
POLICY = """
version: 1
name: patient
baseline: m@a
defaults:
  quality_floor: 0
  slo: {ttft_p95_ms: null, e2e_p95_ms: null}
  max_output_tokens: 1000000
  limits: {deadline_ms: DEADLINE, ttft_timeout_ms: 300000}
rules: [USE]
"""
ALL = "{id: all, use: cpu}"
CASCADE = "{id: all, cascade: {try: cpu, accept_if: {json_valid: true}, then: accelerator}}"
ALWAYS = Settings(spot_interruptions_per_hour=1e9)  # every machine, at every look
# Of 4 places, at the target of 2.8 streams: a second machine is started at 180 s and there at 240.
BUSY = [(0.0, 1, 5001)] * 4  # 200 s


def world(*boxes, use=ALL, deadline_ms=300_000):
    fleets = catalogue_of(*boxes).replace("context_tokens: 4096", "context_tokens: 100000000")
    policy = POLICY.replace("USE", use).replace("DEADLINE", str(deadline_ms))
    return world_of(policy, fleets, (SHARING,))


def one(fleet_id="a", **more):
    two = {"min": 1, "max": 2, "concurrency_each": 4}
    return box(fleet_id, **{"profile": "box/steady", "replicas": two, **more})


def spot(replicas=1, **more):
    size = {"min": replicas, "max": replicas, "concurrency_each": 4}
    return one(usd_per_hour=None, purchase="spot", replicas=size, **more)


def test_what_runs_on_a_machine_that_goes_runs_on_and_is_paid_until_it_ends():
    # It is below its target at the 15 looks from 240 s on, so at 1080 s one of the two goes.
    out = replay(world(one()), trace_of([*BUSY, (1030.0, 1, 9001), (1030.0, 1, 10_001)]))
    (run,) = out.fleets
    assert out.e2e_ms[4:].tolist() == pytest.approx([90_000, 100_000])  # side by side still
    assert run.replicas[16:].tolist() == [2, 1, 1]
    assert run.paid[16:].tolist() == [2, 2, 1]
    assert run.usd_bill == pytest.approx((1130 + (1120 - 180)) / 3600)
    assert run.usd_busy == pytest.approx(sum(out.e2e_ms) / 1000 / 4 / 3600)


def test_a_machine_on_which_nothing_runs_goes_at_once():
    out = replay(world(one()), trace_of([*BUSY, (1000.0, 1, 101), (1200.0, 1, 1)]))
    assert out.fleets[0].usd_bill == pytest.approx((1200 + (1080 - 180)) / 3600)


def test_what_comes_while_a_machine_goes_is_sent_to_those_that_stay():
    # Two come at 1090 s and are three with the one that was there, for 30 s; then it is alone.
    rows = [*BUSY, (1030.0, 1, 9001), (1030.0, 1, 10_001), (1090.0, 1, 1001), (1090.0, 1, 1001)]
    out = replay(world(one()), trace_of(rows))
    assert out.e2e_ms[4:].tolist() == pytest.approx([90_000, 120_000, 30_000, 30_000])


def test_who_is_out_of_time_on_a_machine_that_goes_is_charged_for_what_was_made_there():
    there = world(one())
    out = replay(there, trace_of([*BUSY, (1030.0, 1, 40_001), (1030.0, 1, 10_001)]))
    assert list(out.outcome[4:]) == [TIMED_OUT, SERVED]
    assert out.seconds == pytest.approx(1330)
    assert out.usd_nano[4] == there.fleets[0].card.charge_nano(1, 0, 30_000)
    assert out.fleets[0].usd_bill == pytest.approx((1330 + (1330 - 180)) / 3600)


def test_who_was_given_up_before_a_machine_goes_weighs_on_nobody():
    # One is given up at 1070 s: for 40 s three share two machines, a token in 15 ms.
    rows = [*BUSY, (770.0, 1, 100_001), (1030.0, 1, 9001), (1030.0, 1, 10_001)]
    out = replay(world(one()), trace_of(rows))
    assert out.outcome[4] == TIMED_OUT
    each_ms = [40_000 + 10 * tokens - 40_000 / 1.5 for tokens in (9000, 10_000)]
    assert out.e2e_ms[5:].tolist() == pytest.approx(each_ms)


def test_an_interrupted_machine_serves_alone_what_it_has_for_two_minutes():
    # Both machines have their notice at 60 s, until 180.
    rows = [(50.0, 1, 10_001), (50.0, 1, 14_001)]
    out = replay(world(spot(2)), trace_of(rows), ALWAYS)
    assert list(out.outcome) == [SERVED, TIMED_OUT]
    assert out.e2e_ms[0] == pytest.approx(100_000)
    assert out.seconds == pytest.approx(180)


def test_a_fleet_that_lost_a_machine_is_sent_as_much_as_before():
    # Its notice at 60 s, it is gone at 180; from 210 to 240 s there is another one.
    there = world(spot(wake={"seconds": 30, "min_run_seconds": 600}))
    rows = [*[(50.0, 1, 20_001)] * 4, *[(215.0, 1, 101)] * 4]
    out = replay(there, trace_of(rows), replace(ALWAYS, queue=0))
    assert list(out.outcome) == [TIMED_OUT] * 4 + [SERVED] * 4


def test_what_went_on_to_another_fleet_is_not_lost_with_the_machine_that_was_asked_first():
    # The box's answer is whole at 110 s, no good, and asked for of `b`; the box goes at 180 s.
    there = world(spot(), strong("b"), use=CASCADE)
    out = replay(there, trace_of([(50.0, 1, 6001, {"acceptable": 0})]), ALWAYS)
    assert out.fleets[out.fleet[0]].fleet == "b"
    assert out.outcome[0] == SERVED
    assert out.seconds > 180


def test_what_went_on_to_another_fleet_has_its_time_there():
    there = world(spot(), strong("b"), use=CASCADE)
    out = replay(there, trace_of([(50.0, 1, 10_001, {"acceptable": 0})]), ALWAYS)
    assert [run.requests for run in out.fleets] == [1, 1]
    assert out.outcome[0] == TIMED_OUT
    assert out.seconds == pytest.approx(350)


def seen_short(replicas):
    """Return the looks after which machines of so many were missing."""
    settings = Settings(spot_interruptions_per_hour=1.0)
    there = world(spot(replicas, wake={"seconds": 290, "min_run_seconds": 600}))
    out = replay(there, trace_of([(0.0, 1, 1), (36_000.0, 1, 1)]), settings)
    return {look for look, ready in enumerate(out.fleets[0].replicas) if ready < replicas}


def test_a_machine_is_interrupted_when_it_is_however_many_others_there_are():
    one, two, four = map(seen_short, (1, 2, 4))
    assert one
    assert one < two < four


def block_of(least, deadline_ms=300_000):
    """Return a fleet of one machine of a block, from 00:10 to 02:00, and others on demand."""
    rows = [
        {
            "option": "capacity_block",
            "replicas": 1,
            "reservation": "cr-0123456789abcdef0",
            "from": "2026-11-21T10:10:00Z",
            "until": "2026-11-21T12:00:00Z",
        },
        {"option": "on_demand"},
    ]
    size = {"min": least, "max": 2, "concurrency_each": 4}
    found = world(one(usd_per_hour=None, purchase=rows, replicas=size), deadline_ms=deadline_ms)
    (fleet,) = found.catalogue.fleets
    tranches = tuple(
        replace(each, price=Price(usd, "2025-01-01", "a test", "stated"))
        for each, usd in zip(fleet.tranches, (10.0, 12.0), strict=True)
    )
    fleet = replace(fleet, tranches=tranches, price=tranches[0].price)
    return built(found.policy, replace(found.catalogue, fleets=(fleet,)))


def test_a_block_is_paid_for_beside_machines_on_demand_while_it_serves_nothing():
    # The block serves from 660 s on, and the other machine goes at 900. At 4800 the block is let
    # go and another machine is started; the block is paid until its end, at 7200.
    out = replay(block_of(1), trace_of([(0.0, 1, 1), (9000.0, 1, 1)]))
    (run,) = out.fleets
    assert run.replicas[9:11].tolist() == [1, 2]
    assert run.usd_bill == pytest.approx(((900 + 4200) * 12 + 6600 * 10) / 3600)


def test_a_block_that_is_let_go_ends_what_it_has_within_ten_minutes():
    rows = [(4700.0, 1, 10_001), (4750.0, 1, 70_001)]
    out = replay(block_of(0, deadline_ms=3_600_000), trace_of(rows))
    assert list(out.outcome) == [SERVED, TIMED_OUT]
    assert out.seconds == pytest.approx(4800 + 600)


def test_a_fleet_whose_block_was_let_go_is_woken():
    out = replay(block_of(0), trace_of([(5000.0, 1, 1), (5100.0, 1, 1)]))
    assert list(out.outcome) == [REFUSED, SERVED]
    assert out.fleets[0].starts == 1

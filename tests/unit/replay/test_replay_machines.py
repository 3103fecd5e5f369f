"""Fleets of a replay grow, shrink, sleep, wake, are interrupted and paid for as lanes are."""

from dataclasses import replace

import pytest
from replay_worlds import START_S, box, catalogue_of, kind, strong, trace_of, world_of

from backends.prices import Price
from backends.scaling import scaling_of
from router.replay.bill import usd_per_hour
from router.replay.outcome import SERVED, TIMED_OUT, Settings
from router.replay.run import replay
from router.replay.size import Size
from router.world import world as built

POLICY = """
version: 1
name: one-lane
baseline: BASE
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules: [{id: all, use: [LANES]}]
"""


def world(*boxes, base="m@a", **limits):
    fleets = catalogue_of(*boxes)
    lanes = [lane for lane in ("cpu", "accelerator") if f'"lane": "{lane}"' in fleets]
    policy = POLICY.replace("BASE", base).replace("LANES", ", ".join(lanes))
    more = "".join(f"{name}: {value}, " for name, value in limits.items())
    return world_of(policy.replace("defaults: {", "defaults: {" + more), fleets)


def priced(found, *usd_per_hour):
    """Return the world with these prices for the tranches of its second fleet."""
    first, second = found.catalogue.fleets
    tranches = tuple(
        replace(each, price=Price(usd, "2025-01-01", "a test", "stated"))
        for each, usd in zip(second.tranches, usd_per_hour, strict=True)
    )
    second = replace(second, tranches=tranches, price=tranches[0].price)
    return built(found.policy, replace(found.catalogue, fleets=(first, second)))


def steadily(seconds, every_s, tokens_out=400):
    return trace_of([(i * every_s, 20, tokens_out) for i in range(int(seconds / every_s))])


def run_of(out, fleet="a"):
    return next(run for run in out.fleets if run.fleet == fleet)


def first_at(values, wanted):
    return next(i for i, value in enumerate(values) if value >= wanted)


def test_a_busy_fleet_grows_after_three_minutes_and_its_time_to_wake():
    # One replica makes 36 tokens a second; 400 every 5 s are 80.
    out = replay(world(box("a")), steadily(3000, 5.0))
    run = run_of(out)
    assert first_at(run.paid, 2) == 2  # looked at after 60, 120 and 180 s
    assert first_at(run.replicas, 2) == 3  # ready 60 s later
    assert max(run.replicas) <= 4
    assert run.starts >= 2
    assert out.outcome[-1] == SERVED
    assert out.outcome.count(SERVED) < len(out.outcome)  # who came before it had grown


def test_an_idle_fleet_shrinks_to_its_least_and_not_before_it_ran_its_shortest_time():
    busy = [(i * 5.0, 20, 400) for i in range(120)]
    quiet = [(600.0 + i * 100, 20, 1) for i in range(80)]
    run = run_of(replay(world(box("a")), trace_of(busy + quiet)))
    most = max(run.replicas)
    grown, last = first_at(run.replicas, most), len(run.replicas) - 1
    shrunk = grown + next(i for i, n in enumerate(run.replicas[grown:]) if n < most)
    assert shrunk - grown >= 10  # its `min_run_seconds` of 600
    assert run.replicas[last] == 1


def test_a_sleeping_fleet_is_woken_for_a_request_that_nobody_else_serves_and_sleeps_again():
    asleep = box("a", replicas={"min": 0, "max": 1, "concurrency_each": 4})
    out = replay(world(asleep), trace_of([(0.0, 20, 20), (30.0, 20, 20), (70.0, 20, 20)]))
    assert list(out.outcome) == [1, 1, SERVED]
    assert out.refusals == {"no_fleet": 2}
    assert run_of(out).starts == 1
    long = trace_of([(0.0, 20, 20), (70.0, 20, 20), (4000.0, 20, 20)])
    run = run_of(replay(world(asleep), long))
    assert run.starts == 2  # it had gone to sleep between
    assert 0 in run.replicas[5:]
    hourly = 1.0
    assert run.usd_bill < hourly * 4000 / 3600 / 2


def test_a_dear_fleet_is_not_woken_where_another_one_serves():
    dear = box("b", usd_per_hour=50, replicas={"min": 0, "max": 1, "concurrency_each": 4})
    out = replay(world(box("a"), dear), steadily(600, 20.0, 20))
    assert run_of(out, "b").starts == 0
    assert run_of(out, "b").usd_bill == 0


def test_what_was_bought_ahead_is_paid_for_used_or_not():
    bought = {
        "usd_per_hour": None,
        "instance": "p5.48xlarge",
        "region": "us-east-1",
        "model": "big",
        "lane": "accelerator",
        "profile": "p5.48xlarge/llama-4-scout",
        "replicas": {"min": 1, "max": 4, "concurrency_each": 64},
    }
    both = strong(
        "p", **bought, purchase=[{"option": "capacity_block", "replicas": 3}, {"option": "spot"}]
    )
    on = priced(world(box("a"), both), 10.0, 4.0).fleets[1]
    block, spot = (each.price.usd_per_hour for each in on.fleet.tranches)
    assert usd_per_hour(on, 1, START_S) == pytest.approx(3 * block)
    assert usd_per_hour(on, 4, START_S) == pytest.approx(3 * block + spot)


def test_a_capacity_block_is_there_and_paid_for_between_its_beginning_and_its_end():
    begins, ends = "2026-11-21T10:10:00Z", "2026-11-21T11:40:00Z"
    tranches = [
        {
            "option": "capacity_block",
            "replicas": 2,
            "reservation": "cr-0123456789abcdef0",
            "from": begins,
            "until": ends,
        },
        {"option": "on_demand"},
    ]
    fleet = strong(
        "p",
        usd_per_hour=None,
        instance="p5.48xlarge",
        region="us-east-1",
        profile="p5.48xlarge/llama-4-scout",
        purchase=tranches,
        replicas={"min": 0, "max": 3, "concurrency_each": 64},
    )
    there = priced(world(box("a"), fleet), 10.0, 12.0)
    out = replay(there, trace_of([(0.0, 20, 1), (3 * 3600.0, 20, 1)]))
    run = run_of(out, "p")
    assert [i + 1 for i, n in enumerate(run.replicas) if n == 2] == list(range(11, 60))
    assert run.usd_bill == pytest.approx(1.5 * 2 * 10.0)


def test_spot_is_interrupted_as_often_as_was_said_and_replaced():
    fleet = strong(
        "p",
        usd_per_hour=None,
        instance="p5.48xlarge",
        region="us-east-1",
        profile="p5.48xlarge/llama-4-scout",
        purchase="spot",
        replicas={"min": 4, "max": 4, "concurrency_each": 64},
    )
    there, asked = world(box("a"), fleet), trace_of([(0.0, 20, 1), (200 * 3600.0, 20, 1)])
    run = run_of(replay(there, asked, Settings(spot_interruptions_per_hour=0.1)), "p")
    assert 50 < run.interruptions < 110  # 4 replicas, 200 hours: 80 are expected
    assert run.starts == run.interruptions
    assert run.replicas[-1] == 4 or run.paid[-1] >= 4
    assert run_of(replay(there, asked, Settings(spot_interruptions_per_hour=0)), "p").starts == 0


def test_what_runs_on_the_last_interrupted_machine_is_lost_when_it_goes():
    fleet = strong(
        "p",
        usd_per_hour=None,
        instance="p5.48xlarge",
        region="us-east-1",
        profile="p5.48xlarge/llama-4-scout",
        purchase="spot",
        replicas={"min": 1, "max": 1, "concurrency_each": 64},
    )
    asked = trace_of([(50.0, 20, 100_000), (50.0, 20, 100_000)])
    there = world(fleet, base="big@p", limits="{deadline_ms: 3600000}", max_output_tokens=90_000)
    out = replay(there, asked, Settings(spot_interruptions_per_hour=1e9))
    assert list(out.outcome) == [TIMED_OUT, TIMED_OUT]
    assert run_of(out, "p").interruptions >= 1
    assert run_of(out, "p").requests == 2


def test_on_kubernetes_one_pod_goes_at_a_time_and_sagemaker_looks_more_often():
    fleet = world(box("a")).fleets[0].fleet
    assert scaling_of(fleet, 1).out_after_s == 180
    assert scaling_of(fleet, 1).in_after_s == 900
    size = Size(scaling_of(fleet, 1), 4)
    changes = [size.look(1.0, 60.0, 60.0 * look) for look in range(1, 40)]
    assert changes[:14] == [0] * 14
    assert changes[14] == -3


def test_a_growing_fleet_counts_what_it_started_already():
    size = Size(scaling_of(world(box("a")).fleets[0].fleet, 1), 1)
    changes = []
    for look in range(1, 8):
        change = size.look(5.0, 60.0, 60.0 * look)
        size.began(max(change, 0))
        changes.append(change)
    assert changes == [0, 0, 1, 0, 0, 0, 0]


def test_a_line_that_is_full_turns_the_least_urgent_away():
    only = box("a", replicas={"min": 1, "max": 1, "concurrency_each": 1})
    kinds = (kind(service_class="deferrable"), kind(service_class="interactive"))
    rows = [(0.0, 20, 40, {"kind": 1})]
    rows += [(0.1, 20, 1, {"kind": 0}), (0.2, 20, 1, {"kind": 0}), (0.3, 20, 1, {"kind": 1})]
    out = replay(world(only), trace_of(rows, kinds), Settings(queue=2))
    assert list(out.outcome) == [SERVED, SERVED, 1, SERVED]
    assert out.refusals == {"overloaded": 1}
    assert out.ttft_ms[3] < out.ttft_ms[1]


def test_who_waits_for_too_long_is_turned_away():
    only = box("a", replicas={"min": 1, "max": 1, "concurrency_each": 1})
    out = replay(world(only), trace_of([(0.0, 20, 1000), (0.1, 20, 1), (26.0, 20, 1)]))
    assert list(out.outcome) == [SERVED, 1, SERVED]


def test_an_answer_that_comes_too_late_is_charged_for_what_was_made():
    limits = "{deadline_ms: 10000, ttft_timeout_ms: 5000, inter_chunk_timeout_ms: 5000}"
    there = world(box("a"), limits=limits)
    out = replay(there, trace_of([(0.0, 20, 1000), (100.0, 4000, 10)]))
    assert list(out.outcome) == [TIMED_OUT, TIMED_OUT]
    card = there.fleets[0].card
    made = int((10 - 20 / 103) * 36.22) + 1
    assert out.usd_nano[0] == pytest.approx(card.charge_nano(20, 0, made), rel=0.01)
    assert out.usd_nano[1] == card.charge_nano(4000, 0, 0)


def blocked(begins, ends, option, usd_per_hour, least=0, places=1):
    """Return a world with a fleet `p` of a block of two machines, which are all it may have."""
    block = {
        "option": "capacity_block",
        "replicas": 2,
        "reservation": "cr-0123456789abcdef0",
        "from": f"2026-11-21T{begins}Z",
        "until": f"2026-11-21T{ends}Z",
    }
    fleet = strong(
        "p",
        usd_per_hour=None,
        instance="p5.48xlarge",
        region="us-east-1",
        profile="p5.48xlarge/llama-4-scout",
        purchase=[block, {"option": option}],
        wake={"seconds": 600, "min_run_seconds": 600},
        replicas={"min": least, "max": 2, "concurrency_each": places},
    )
    return priced(world(box("a"), fleet, base="big@p"), 10.0, usd_per_hour)


def test_a_machine_that_was_started_before_a_block_came_does_not_run_beside_it():
    # The trace begins at 10:00. The block's machines are there at 600 s; what the first request of
    # the accelerator lane wakes would be at 660 s.
    there = blocked("10:00:00", "15:33:20", "on_demand", 12.0)
    asked = [(60.0 + i * 2.0, 20, 900, {"kind": 0}) for i in range(1000)]
    out = replay(there, trace_of(asked, (kind(lanes=("accelerator",)),)))
    run = run_of(out, "p")
    assert run.starts == 1
    assert max(run.replicas) == 2
    assert run.paid[-1] == 2


def test_spot_is_interrupted_in_the_last_of_a_block_when_its_machines_are_let_go():
    # It ends at 50 minutes, so that its machines go at 10, and those on Spot come at 20.
    there = blocked("09:00:00", "10:50:00", "spot", 4.0, least=2)
    always = Settings(spot_interruptions_per_hour=1e9)
    run = run_of(replay(there, trace_of([(0.0, 20, 5), (2900.0, 20, 5)]), always), "p")
    assert run.interruptions


def test_a_request_of_more_streams_than_places_costs_no_more_than_its_machine():
    one = box("a", replicas={"min": 1, "max": 1, "concurrency_each": 1})
    out = replay(world(one), trace_of([(i * 2.0, 20, 100) for i in range(9)], (kind(n=4),)))
    run = run_of(out)
    assert 0 < run.usd_busy <= run.usd_bill


def test_a_request_of_more_streams_than_places_asks_for_as_many_machines():
    one = box("a", replicas={"min": 1, "max": 4, "concurrency_each": 1})
    there = world(one, limits="{deadline_ms: 3600000}", max_output_tokens=3000)
    asked = [(i * 90.0, 20, 12_000, {"expected": 100}) for i in range(10)]
    out = replay(there, trace_of(asked, (kind(n=4),)))
    # The target of a machine of one place is less than one stream.
    assert first_at(run_of(out).paid, 4) == 2

"""A router that doesn't probe reads what an observer saw, beside its requests."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from backends.base import SEEN_FOR_S, Seen
from router.ledger.port import LedgerUnavailable
from router.load_items import ASLEEP_FOR_S, LoadItem
from router.load_reader import TTL_S, LoadReader
from router.tracker import Tracker

WALL_S = 1_795_255_200.0


def fleet_of(name, wake_s=None):
    return SimpleNamespace(
        fleet=SimpleNamespace(
            id=name, urls=("u0",), wake_seconds=wake_s, sagemaker=None, profile=None,
            replicas=SimpleNamespace(min=1, max=1, concurrency_each=8),
            tariff=SimpleNamespace(committed=lambda *_: 0),
        ),
        covered=0.0,
    )  # fmt: skip


class Reading:
    """A reader in a world of its own, whose clocks are `now_s` after they began."""

    def __init__(self, read, **settings):
        self.now_s, self.reads = 0.0, 0
        self.tracker = Tracker([fleet_of("a", wake_s=60)])
        runtime = SimpleNamespace(
            generation=SimpleNamespace(tracker=self.tracker, backends={"a": None}),
            clock=lambda: self.now_s,
        )

        def counted():
            self.reads += 1
            return read()

        self.reader = LoadReader(runtime, counted, lambda: WALL_S + self.now_s, **settings)

    async def settled(self):
        if self.reader._reading is not None:
            await self.reader._reading

    def in_flight(self):
        return self.tracker.loads(self.now_s)[0].in_flight


def item(age_s=0.0, running=3, fleet="a"):
    at_ms = round((WALL_S - age_s) * 1000)
    return LoadItem(fleet, at_ms, (Seen("up", running, 0, running),))


def state_of_one_that_sleeps(age_s, seen="down", replicas=0):
    at_ms = round((WALL_S - age_s) * 1000)
    asleep = LoadItem("a", at_ms, (Seen(seen),), 5, replicas)

    async def main():
        reading = Reading(lambda: [asleep])
        await reading.reader.asked()
        return reading.tracker.loads(0.0)[0]

    return asyncio.run(main())


@pytest.mark.parametrize(("seen", "state"), [("down", "cold"), ("loading", "waking")])
def test_that_a_fleet_sleeps_is_known_until_an_idle_systems_next_look(seen, state):
    load = state_of_one_that_sleeps(60.0, seen)
    assert (load.state, load.replicas, load.in_flight) == (state, 0, 0)


def test_that_a_fleet_slept_is_unknown_once_nobody_looks_any_more():
    assert state_of_one_that_sleeps(ASLEEP_FOR_S).state == "ready"


def test_what_a_fleet_that_runs_was_doing_is_not_known_for_longer():
    assert state_of_one_that_sleeps(60.0, "loading", replicas=1).state == "ready"


def test_the_first_request_waits_for_the_read_and_knows_the_load():
    async def main():
        reading = Reading(lambda: [item()])
        await reading.reader.asked()
        assert reading.in_flight() == 3

    asyncio.run(main())


def test_requests_within_the_ttl_read_nothing_and_later_ones_read_beside():
    async def main():
        reading = Reading(lambda: [item()])
        await reading.reader.asked()
        reading.now_s = TTL_S - 0.1
        await reading.reader.asked()
        assert reading.reads == 1
        reading.now_s = TTL_S
        await reading.reader.asked()  # doesn't wait for it
        assert reading.reader._reading is not None
        await reading.settled()
        assert reading.reads == 2

    asyncio.run(main())


def test_a_slow_read_is_waited_for_as_long_as_is_allowed_and_no_longer():
    hold = threading.Event()

    async def main():
        reading = Reading(lambda: hold.wait(10) and [item()], wait_s=0.05)
        await reading.reader.asked()
        assert reading.in_flight() == 0  # unknown: as the catalogue says
        await reading.reader.asked()
        assert reading.reads == 1  # one at a time
        hold.set()
        await reading.settled()
        assert reading.in_flight() == 3

    asyncio.run(main())


def test_after_a_pause_a_request_waits_again_for_what_is_there_counts_no_more():
    async def main():
        reading = Reading(lambda: [item(age_s=-reading.now_s)])
        await reading.reader.asked()
        reading.now_s = SEEN_FOR_S
        assert reading.in_flight() == 0
        await reading.reader.asked()
        assert (reading.reads, reading.in_flight()) == (2, 3)

    asyncio.run(main())


def test_what_is_old_when_it_is_read_is_unknown_and_what_has_no_fleet_is_left():
    async def main():
        reading = Reading(lambda: [item(age_s=SEEN_FOR_S), item(fleet="gone")])
        await reading.reader.asked()
        assert reading.in_flight() == 0
        reading = Reading(lambda: [item(age_s=SEEN_FOR_S - 1)])
        await reading.reader.asked()
        assert reading.in_flight() == 3
        reading.now_s = 1.5
        assert reading.in_flight() == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "said"),
    [(LedgerUnavailable("it sleeps"), "could not be read: it sleeps"), (KeyError("x"), "KeyError")],
)
def test_a_read_that_fails_costs_no_request_and_is_tried_again_after_the_ttl(error, said, caplog):
    async def main():
        failures = [error]

        def read():
            if failures:
                raise failures.pop()
            return [item(age_s=-TTL_S)]

        reading = Reading(read)
        await reading.reader.asked()
        assert said in caplog.text
        await reading.reader.asked()
        assert reading.reads == 1
        reading.now_s = TTL_S
        await reading.reader.asked()
        assert (reading.reads, reading.in_flight()) == (2, 3)

    asyncio.run(main())


def test_a_reader_that_ends_leaves_no_task_behind():
    hold = threading.Event()

    async def main():
        reading = Reading(lambda: hold.wait(10) and [], wait_s=0.01)
        reading.reader.start()
        await reading.reader.asked()
        task = reading.reader._reading
        ending = asyncio.create_task(reading.reader.aclose())
        await asyncio.sleep(0.01)
        hold.set()
        await ending
        assert task.done()

    asyncio.run(main())

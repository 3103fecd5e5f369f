"""The observer without Lambda: the ledger's table is moto's, the engine a server that says what it
is told to, the clock the test's.
"""

import asyncio
import itertools

import pytest
from ledger_support import NOW, Watched, scope, worst
from wake_support import FLEET, HEAD
from worker_support import FLEETS

from backends.base import Seen
from backends.cost import NANO
from router import load_items, price_item, wake_items
from router.ledger.port import LedgerUnavailable
from router.load_items import LoadItem
from router.price_item import PriceItem
from router.settings import worker
from router.wake_items import WakeItem
from router.workers.endpoints import Described
from router.workers.observer import MOST_BEHIND_S, Observer, watching

TABLES = itertools.count()
TEN, ELEVEN = "2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"
PAGE = b"vllm:num_requests_running %d\nvllm:num_requests_waiting 0\n"


def page(body):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Run:
    """An observer of two fleets: one can be asked, of the other `told` is what SageMaker says."""

    def __init__(self, ledger, upstream, folder):
        upstream.pages["/metrics"] = page(PAGE % 0)
        path = folder / "fleets.yaml"
        path.write_text(FLEETS.format(url=upstream.url))
        settings = worker(
            {
                "SLUICE_STAGE": "test",
                "SLUICE_TABLE": ledger.table.name,
                "SLUICE_FLEETS": str(path),
                "SLUICE_STATE": str(folder / "state"),
            }
        )
        self.now_s, self.later = NOW, lambda: None
        self.told = {"c8g-qwen3": Described(Seen("up"), 2)}
        self.watched = watching(settings, ledger)
        self.observer = Observer(
            ledger, self.watched, self.describe, now=lambda: self.now_s, sleep=self.sleep
        )

    def describe(self, model):
        return self.told.get(model.fleet.id)

    async def sleep(self, seconds):
        self.now_s += seconds
        self.later()

    def minute(self, seconds=55):
        return asyncio.run(self.observer.minute(self.now_s + seconds))


@pytest.fixture
def run(ledger, upstream, tmp_path):
    return Run(ledger, upstream, tmp_path)


def loads(ledger):
    return {item.fleet: item for item in load_items.read(ledger.table)}


def times(ledger):
    rows = ledger.fleet_times("2000", "2100")
    return [(row.fleet, row.minute, row.replicas, row.source, row.seconds) for row in rows]


def test_an_idle_system_is_looked_at_once(run, ledger):
    done = run.minute()
    assert (done.looks, done.requests, done.down) == (1, 0, ())
    assert run.now_s == NOW
    seen = loads(ledger)
    assert seen["asked"].seen == (Seen("up", 0, 0, 0),)
    assert (seen["c8g-qwen3"].seen, seen["c8g-qwen3"].replicas) == ((Seen("up"),), 2)
    assert times(ledger) == [
        ("asked", TEN, 1, "observed", 60.0),
        ("c8g-qwen3", TEN, 2, "observed", 60.0),
    ]


def test_it_goes_on_looking_while_an_engine_is_busy_and_ends_when_that_is(run, ledger, upstream):
    upstream.pages["/metrics"] = page(PAGE % 3)

    def later():
        if run.now_s >= NOW + 20:
            upstream.pages["/metrics"] = page(PAGE % 0)

    run.later = later
    assert run.minute().looks == 5
    assert loads(ledger)["asked"].seen == (Seen("up", 0, 0, 0),)


def test_open_reservations_are_counted_by_fleet_and_keep_it_looking_until_its_minute_ends(
    run, ledger
):
    for number in range(3):
        ledger.reserve(worst(f"r{number}", 10), (scope(),), NOW, NOW + 900)
    ledger.reserve(worst("gone", 10), (scope(),), NOW, NOW - 1)  # its lease ran out
    done = run.minute()
    assert (done.looks, done.requests) == (12, 3)  # 0, 5, ... 55 s
    assert loads(ledger)["c8g-qwen3"].requests == 3
    assert loads(ledger)["asked"].requests == 0


def test_a_run_over_two_minutes_writes_the_replicas_of_each(run, ledger):
    run.now_s = NOW + 50
    ledger.reserve(worst("r1", 10), (scope(),), NOW, NOW + 900)

    def later():
        if run.now_s >= NOW + 60:
            run.told["c8g-qwen3"] = Described(Seen("up"), 1)

    run.later = later
    run.minute(20)
    mine = [row[1:4] for row in times(ledger) if row[0] == "c8g-qwen3"]
    assert mine == [(TEN, 2, "observed"), (ELEVEN, 1, "observed")]


def test_minutes_that_nobody_watched_are_made_up_for_as_they_were_last(run, ledger):
    run.minute()
    run.now_s = NOW + 190
    run.told["c8g-qwen3"] = Described(Seen("down"), 0)
    run.minute()
    mine = [row[1:] for row in times(ledger) if row[0] == "c8g-qwen3"]
    assert mine == [
        (TEN, 2, "observed", 60.0),
        (ELEVEN, 2, "assumed", 60.0),
        ("2026-11-21T10:02:00Z", 2, "assumed", 60.0),
        ("2026-11-21T10:03:00Z", 0, "observed", 60.0),
    ]


def test_of_a_long_time_without_an_observer_no_more_than_an_hour_is_made_up_for(run, ledger):
    load_items.write(ledger.table, [LoadItem("asked", round((NOW - 86400) * 1000))])
    run.minute()
    mine = [row for row in times(ledger) if row[0] == "asked" and row[3] == "assumed"]
    assert len(mine) == MOST_BEHIND_S // 60 - 1


def test_what_answers_no_more_is_down_and_what_sleeps_is_not(run, ledger, upstream):
    run.told["c8g-qwen3"] = Described(Seen("down"), 0)
    upstream.stop()
    assert run.minute().down == ("asked",)
    assert loads(ledger)["asked"].seen == (Seen("down"),)
    assert ("asked", TEN, 1, "assumed", 60.0) in times(ledger)  # it is always paid for


def test_a_fleet_that_nothing_is_known_of_is_neither_observed_nor_down(run, ledger):
    del run.told["c8g-qwen3"]
    assert run.minute().down == ()
    item = loads(ledger)["c8g-qwen3"]
    assert (item.seen, item.replicas, item.requests) == ((), None, 0)
    assert ("c8g-qwen3", TEN, 1, "assumed", 60.0) in times(ledger)


def test_a_bug_in_one_look_hides_no_other_fleet_and_quotes_nothing(run, ledger, caplog):
    def broken(_model):
        raise ZeroDivisionError("the words of a caller")

    run.observer.describe = broken
    run.minute()
    assert "fleet asked: a bug, ZeroDivisionError" in caplog.text
    assert "words" not in caplog.text
    assert set(loads(ledger)) == {"asked", "c8g-qwen3"}


# -- fleets that a stage makes ---------------------------------------------------------------------


class RunOfALane(Run):
    """An observer of one fleet on ECS, of which `told` is what ECS says."""

    def __init__(self, ledger, upstream, folder):
        super().__init__(ledger, upstream, folder)
        runs = 'runs: {on: ecs, weights: "s3://models/m/"}'
        more = f'kind: openai_http, url: "{upstream.url}", {runs}'
        text = HEAD + FLEET.format(id="lane", lane="accelerator", more=more)
        (folder / "fleets.yaml").write_text(text)
        self.told = {"lane": Described(Seen("up"), 1)}
        self.in_use = []
        self.observer.in_use = lambda *told: self.in_use.append(told)

    def ask(self):
        at_s = int(self.now_s)
        wake_items.ask(self.observer.ledger.table, WakeItem("lane", at_s, at_s + 900, 1), 300)


@pytest.fixture
def lane(ledger, upstream, tmp_path):
    return RunOfALane(ledger, upstream, tmp_path)


def test_at_every_look_it_is_said_how_full_a_fleet_is_that_scaling_tracks(lane, upstream):
    upstream.pages["/metrics"] = page(PAGE % 3)
    assert lane.minute(12).looks == 3
    assert lane.in_use == [("lane", 75.0)] * 3
    upstream.pages["/metrics"] = page(PAGE % 0)
    lane.minute()
    assert lane.in_use[3:] == [("lane", 0.0)]


def test_of_a_fleet_that_is_not_ready_it_is_not_said(lane):
    lane.told["lane"] = Described(Seen("loading"), 0)
    lane.minute(0)
    assert lane.in_use == []


def test_a_fleet_that_was_asked_to_wake_is_waking_as_long_as_that_takes(lane, ledger):
    lane.told["lane"] = Described(Seen("down"), 0)
    assert lane.minute().looks == 1
    assert loads(ledger)["lane"].seen == (Seen("down"),)
    lane.ask()
    assert lane.minute().looks == 12  # somebody may wait for it
    assert loads(ledger)["lane"].seen == (Seen("loading"),)
    lane.now_s += 300
    assert lane.minute().looks == 1
    assert loads(ledger)["lane"].seen == (Seen("down"),)


def test_a_task_that_runs_and_does_not_answer_yet_is_waking_and_paid_for(lane, ledger, upstream):
    upstream.stop()
    lane.minute(0)
    item = loads(ledger)["lane"]
    assert (item.seen, item.replicas) == ((Seen("loading"),), 1)
    assert times(ledger) == [("lane", TEN, 1, "observed", 60.0)]


def test_a_fleet_that_loads_for_twice_its_wake_time_is_down_whoever_observes_it(lane, ledger):
    lane.told["lane"] = Described(Seen("loading"), 0)
    assert lane.minute(0).down == ()
    since_ms = loads(ledger)["lane"].loading_ms
    assert since_ms == NOW * 1000
    lane.observer._loading_ms.clear()  # another one, which knows what is written alone
    lane.now_s = NOW + 599
    assert lane.minute(0).down == ()
    lane.now_s = NOW + 601
    assert lane.minute(0).down == ("lane",)
    assert loads(ledger)["lane"].loading_ms == since_ms


@pytest.mark.parametrize("then", [Described(Seen("up"), 1), Described(Seen("down"), 0)])
def test_a_fleet_that_answered_or_slept_meanwhile_has_its_time_anew(lane, ledger, then):
    lane.told["lane"] = Described(Seen("loading"), 0)
    lane.minute(0)
    lane.told["lane"] = then
    lane.now_s = NOW + 300
    lane.minute(0)
    assert loads(ledger)["lane"].loading_ms is None
    lane.told["lane"] = Described(Seen("loading"), 0)
    lane.now_s = NOW + 601
    assert lane.minute(0).down == ()


def test_what_ecs_does_not_tell_of_is_as_the_engine_says(lane, ledger):
    lane.told = {}
    lane.minute()
    item = loads(ledger)["lane"]
    assert (item.seen, item.replicas) == ((Seen("up", 0, 0, 0),), None)
    assert lane.in_use == []


def test_refreshed_prices_are_those_of_the_fleets_time(run, ledger):
    row = "instance: c8g.xlarge, region: us-east-1, purchase: on_demand, usd_per_hour: 9"
    text = "version: 1\ncurrency: USD\nprices:\n"
    text += f"  - {{{row}, as_of: 2026-11-01, source: s, mark: stated}}\n"
    price_item.write(ledger.table, PriceItem(text, "v1", 1), None)
    run.minute()
    (row,) = [row for row in ledger.fleet_times("2000", "2100") if row.fleet == "asked"]
    assert row.nano_hour == 9 * NANO


def test_a_ledger_that_is_gone_ends_the_minute(run, ledger):
    def gone(_operation):
        raise LedgerUnavailable("it sleeps")

    ledger.table._client = Watched(ledger.table._client, before=gone)
    with pytest.raises(LedgerUnavailable):
        run.minute()


def test_an_older_look_does_not_take_the_place_of_a_newer_one(ledger):
    load_items.write(ledger.table, [LoadItem("a", 2000, requests=2)])
    load_items.write(ledger.table, [LoadItem("a", 1000, requests=1)])
    assert loads(ledger)["a"].requests == 2


@pytest.mark.parametrize("seen", ['[{"state": "odd"}]', '[{"state": "up", "new": 1}]', "no json"])
def test_a_load_item_that_cannot_be_read_is_told_and_left(ledger, seen, caplog):
    load_items.write(ledger.table, [LoadItem("good", 1000)])
    ledger.table.put({"pk": "LOAD", "sk": "bad", "at_ms": 1, "seen": seen}, "#pk <> :x", {"x": ""})
    assert set(loads(ledger)) == {"good"}
    assert "the load item of bad can't be read" in caplog.text

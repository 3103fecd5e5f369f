"""The canary that runs: what is looked at, and what is kept of its end."""

import logging
import random
from types import SimpleNamespace

import pytest

from policies.model import Canary, StopIf
from router.canaries import EVERY_S, RECENT_REQUESTS, RECENT_S, Arm, Canaries, OwnSums
from router.metrics import Metrics
from router.stops import Stops
from router.world import Trial

STABLE = SimpleNamespace(
    name="prod", hash="aa", canary=Canary("next", 0.5, StopIf(error_rate_above=0.1))
)
TRIAL = Trial(SimpleNamespace(name="next", hash="bb"), "aa-bb")
WORLD = SimpleNamespace(policy=STABLE, trial=TRIAL)
ARM = Arm(TRIAL, WORLD, canary=True)


RUNS = 8


class Bench:
    """Canaries with a clock to turn, over folders of the test."""

    def __init__(self, *folders):
        self.now_s, self.told, self.stops = 0.0, [], Stops(folders)
        generation = SimpleNamespace(world=WORLD, canary="the canary's")
        self.runtime = SimpleNamespace(
            metrics=Metrics(), clock=lambda: self.now_s, generation=generation
        )
        sources = SimpleNamespace(stops=lambda: self.stops)
        tell = lambda what, message: self.told.append((what, message))  # noqa: E731
        self.canaries = Canaries(self.runtime, sources, OwnSums(), tell, lambda: 0.0)

    def ended(self, *, error, times=1):
        for _ in range(times):
            self.canaries.ended(ARM, error=error)

    @property
    def stopped(self):
        return self.canaries.running()["stopped"]


def test_a_canary_that_was_good_for_long_is_stopped_by_its_last_ten_minutes(tmp_path):
    bench = Bench(tmp_path)
    for _ in range(100):
        bench.now_s += EVERY_S
        bench.ended(error=False, times=20)
    bench.now_s += RECENT_S
    bench.ended(error=False)
    bench.ended(error=True, times=100)
    assert bench.stopped.endswith("more than 10.0%, in the last 17 minutes")
    assert 100 / 2100 < 0.1  # over all of its time it is below


def stopped_after(folder, seed, per_minute, *errors):
    """Run a canary, so many requests at each of these shares of errors, by its own clock; return
    after how many requests it was stopped, or None.
    """
    bench, chance, count = Bench(folder), random.Random(seed), 0
    for share, requests in errors:
        for _ in range(requests):
            count += 1
            bench.now_s += chance.expovariate(per_minute / 60)
            bench.ended(error=chance.random() < share)
            if bench.told:
                return count
    return None


@pytest.mark.parametrize("per_minute", [3, 10])
def test_chance_hardly_stops_one_however_often_its_last_minutes_are_looked_at(tmp_path, per_minute):
    def runs(share):  # the limit is 0.1
        at = [tmp_path / f"{share}-{seed}" for seed in range(RUNS)]
        return [stopped_after(each, i, per_minute, (share, 1_500)) for i, each in enumerate(at)]

    assert runs(0.05) == [None] * RUNS
    assert sum(after is not None for after in runs(0.1)) <= 0.2 * RUNS


@pytest.mark.parametrize("per_minute", [3, 10, 100])
def test_one_that_comes_to_fail_is_stopped_soon_however_few_its_requests(tmp_path, per_minute):
    good, recent = 2_000, max(RECENT_REQUESTS, per_minute * RECENT_S / 60)
    for seed in range(2):
        after = stopped_after(tmp_path / f"{seed}", seed, per_minute, (0.01, good), (0.5, 1_000))
        assert good < after < good + recent / 2  # over all of its time it is far below its limit
        bad = stopped_after(tmp_path / f"bad-{seed}", seed, per_minute, (0.5, 1_000))
        assert bad < 40


def test_its_end_is_kept_and_told_once(tmp_path, caplog):
    bench, other = Bench(tmp_path / "stops"), Bench(tmp_path / "stops")
    with caplog.at_level(logging.WARNING, "sluice"):
        for each in (bench, other):
            each.ended(error=True, times=30)
    assert bench.stopped == other.stopped == "20 of 20 requests failed (100.0%), more than 10.0%"
    kept = bench.stops.find(TRIAL.key)
    assert (kept.policy, kept.stable, kept.why) == ("next", "prod", bench.stopped)
    assert bench.stops.all() == [kept]
    assert len(caplog.messages) == 1
    (what, message) = bench.told[0]
    assert (what, message["policy"], other.told) == ("the alert of canary next", "prod", [])
    assert bench.canaries.of("any") == (bench.runtime.generation, None)


def test_where_the_store_takes_nothing_the_state_folder_does(tmp_path):
    (tmp_path / "store").write_text("a file where a folder would be")
    bench = Bench(tmp_path / "store", tmp_path / "state")
    bench.ended(error=True, times=20)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["aa-bb.json"]


def test_where_nothing_can_be_written_it_is_stopped_here_and_told(tmp_path, caplog):
    (tmp_path / "store").write_text("a file where a folder would be")
    bench = Bench(tmp_path / "store")
    bench.ended(error=True, times=20)
    assert bench.stopped is not None
    (said,) = caplog.messages
    assert "is stopped, but by this process alone (20 of 20 requests failed" in said
    assert len(bench.told) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"why": 1}'])
def test_what_is_kept_and_can_not_be_read_stops_it_too(tmp_path, content):
    (tmp_path / "aa-bb.json").write_bytes(content)
    found = Stops((tmp_path,)).find("aa-bb")
    assert "can't be read" in found.why

import math
from types import SimpleNamespace

import pytest

from router.metrics import Metrics
from router.siblings import Missed
from router.wake_worth import Sleeper
from router.waking import Wakes, WakeUp, tell


def sleeper(state="cold", name="p5", usd_per_hour=36.0, runs=None, beyond=0.0):
    fleet = SimpleNamespace(id=name, wake_seconds=300, min_run_seconds=600, runs=runs)
    on = SimpleNamespace(fleet=fleet, usd_per_hour=usd_per_hour)
    return Sleeper(SimpleNamespace(on=on, state=state), beyond)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def wakes(asked):
    return Wakes(Metrics(), asked.append)


def test_a_wake_up_is_asked_for_at_once_with_what_it_costs(wakes, asked):
    wakes.missed(sleeper(), 100.0)
    assert asked == [WakeUp("p5", 1, pytest.approx(36 * 900 / 3600), 300, 600)]


def test_it_is_asked_for_again_only_after_the_time_that_waking_takes(wakes, asked):
    for now_s in (100.0, 101.0, 399.9, 400.0):
        wakes.missed(sleeper(), now_s)
    assert [wake.requests for wake in asked] == [1, 3]


def test_fleets_are_asked_for_each_on_its_own(wakes, asked):
    wakes.missed(sleeper(), 100.0)
    wakes.missed(sleeper(name="trn2", usd_per_hour=None), 100.0)
    assert [(wake.fleet, wake.usd) for wake in asked] == [("p5", 9.0), ("trn2", None)]


def test_a_fleet_that_wakes_already_is_not_asked_for_but_counted(wakes, asked):
    wakes.missed(sleeper(state="waking"), 100.0)
    assert asked == []
    assert b'sluice_asleep_missed_total{fleet="p5"} 1.0' in wakes._metrics.text()


class Table:
    """Where the fleets of a deployment are asked for: it keeps what comes, and how it may fail."""

    def __init__(self):
        self.asked = []

    def ask(self, asked, failed):
        self.asked.append((asked, failed))


def test_a_fleet_of_a_deployment_is_asked_for_in_its_table_and_others_in_the_log(asked):
    table = Table()
    wakes = Wakes(Metrics(), asked.append, table=table)
    wakes.missed(sleeper(name="made", runs="ecs"), 100.0)
    wakes.missed(sleeper(name="theirs"), 100.0)
    assert [wake.fleet for wake in asked] == ["theirs"]
    assert [wake.fleet for wake, _ in table.asked] == ["made"]


def test_without_a_table_a_fleet_of_a_deployment_is_asked_for_in_the_log_too(wakes, asked):
    wakes.missed(sleeper(runs="ecs"), 100.0)
    assert [wake.fleet for wake in asked] == ["p5"]


def test_where_nobody_could_be_asked_the_next_request_asks_for_both():
    table = Table()
    wakes = Wakes(Metrics(), sleepers=Missed(), table=table)
    wakes.missed(sleeper(runs="ecs"), 100.0)
    ((_, failed),) = table.asked
    wakes.missed(sleeper(runs="ecs"), 101.0)  # it may still be written
    failed()
    wakes.missed(sleeper(runs="ecs"), 102.0)
    assert [wake.requests for wake, _ in table.asked] == [1, 3]


def test_a_fleet_is_asked_for_once_it_missed_as_many_as_pay_for_it(wakes, asked):
    for missed in range(1, 4):
        wakes.missed(sleeper(beyond=2.5), 100.0 + missed)
        assert len(asked) == (missed == 3)
    assert asked[0].requests == 3


def test_only_those_count_that_come_while_it_would_have_to_run(wakes, asked):
    for now_s in (100.0, 999.0, 1000.0, 1001.0):  # it wakes for 300 s and runs for 600 s
        wakes.missed(sleeper(beyond=2), now_s)
    assert asked == []
    wakes.missed(sleeper(beyond=2), 1002.0)
    assert [wake.requests for wake in asked] == [3]


def test_what_pays_for_nothing_is_counted_and_never_asks(wakes, asked):
    for now_s in range(100):
        wakes.missed(sleeper(beyond=math.inf), now_s)
    assert asked == []
    assert b'sluice_asleep_missed_total{fleet="p5"} 100.0' in wakes._metrics.text()


def test_the_log_says_what_is_asked_for(caplog):
    tell(WakeUp("p5", 3, 9.0))
    tell(WakeUp("trn2", 1, None))
    assert "fleet p5 is asleep: a wake-up is asked for (requests it missed: 3, costs $9.00" in (
        caplog.text
    )
    assert "costs an unknown price" in caplog.text

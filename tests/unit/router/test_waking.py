from types import SimpleNamespace

import pytest

from router.metrics import Metrics
from router.waking import Wakes, WakeUp, tell


def refused(code="cold", state="cold", name="p5", usd_per_hour=36.0):
    fleet = SimpleNamespace(id=name, wake_seconds=300, min_run_seconds=600)
    on = SimpleNamespace(fleet=fleet, usd_per_hour=usd_per_hour)
    return SimpleNamespace(code=code, candidate=SimpleNamespace(on=on, state=state))


def decision(*refusals):
    return SimpleNamespace(verdict=SimpleNamespace(refused=refusals))


@pytest.fixture
def asked():
    return []


@pytest.fixture
def wakes(asked):
    return Wakes(Metrics(), asked.append)


def test_a_wake_up_is_asked_for_at_once_with_what_it_costs(wakes, asked):
    wakes.decided(decision(refused()), 100.0)
    assert asked == [WakeUp("p5", requests=1, usd=pytest.approx(36 * 900 / 3600))]


def test_it_is_asked_for_again_only_after_the_time_that_waking_takes(wakes, asked):
    for now_s in (100.0, 101.0, 399.9, 400.0):
        wakes.decided(decision(refused()), now_s)
    assert [wake.requests for wake in asked] == [1, 3]


def test_fleets_are_asked_for_each_on_its_own(wakes, asked):
    wakes.decided(decision(refused(), refused(name="trn2", usd_per_hour=None)), 100.0)
    assert [(wake.fleet, wake.usd) for wake in asked] == [("p5", 9.0), ("trn2", None)]


def test_a_fleet_that_wakes_already_is_not_asked_for_but_counted(wakes, asked):
    wakes.decided(decision(refused(state="waking")), 100.0)
    assert asked == []
    assert b'sluice_asleep_missed_total{fleet="p5"} 1.0' in wakes._metrics.text()


@pytest.mark.parametrize("code", ["not_in_use", "open_circuit", "context", "not_allowed"])
def test_a_fleet_that_would_not_have_served_anyway_is_left_asleep(wakes, asked, code):
    wakes.decided(decision(refused(code=code)), 100.0)
    assert asked == []


def test_the_log_says_what_is_asked_for(caplog):
    tell(WakeUp("p5", 3, 9.0))
    tell(WakeUp("trn2", 1, None))
    assert "fleet p5 is asleep: a wake-up is asked for (requests it missed: 3, costs $9.00" in (
        caplog.text
    )
    assert "costs an unknown price" in caplog.text

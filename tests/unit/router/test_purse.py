"""The purse: periods, and that no concurrency takes more than there is."""

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import pytest

from policies.model import Budget
from router.purse import Purse, period_of

DAY = Budget("b", 1e-6, "day")  # 1,000 nano-USD


def at(text):
    return datetime.fromisoformat(text).timestamp()


NOON = at("2026-01-05T12:00:00+00:00")


@pytest.fixture
def purse(tmp_path):
    opened = Purse(tmp_path / "state")
    yield opened
    opened.close()


# -- periods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per", "tz", "moment", "period"),
    [
        ("day", "UTC", "2026-01-05T23:59:59.999+00:00", "2026-01-05"),
        ("day", "UTC", "2026-01-06T00:00:00+00:00", "2026-01-06"),
        ("day", "Asia/Shanghai", "2026-01-05T15:59:59.999+00:00", "2026-01-05"),
        ("day", "Asia/Shanghai", "2026-01-05T16:00:00+00:00", "2026-01-06"),
        ("week", "Asia/Shanghai", "2026-01-04T15:59:59+00:00", "2026-W01"),
        ("week", "Asia/Shanghai", "2026-01-04T16:00:00+00:00", "2026-W02"),
        ("week", "UTC", "2027-01-01T00:00:00+00:00", "2026-W53"),
        ("month", "Asia/Shanghai", "2026-01-31T15:59:59+00:00", "2026-01"),
        ("month", "Asia/Shanghai", "2026-01-31T16:00:00+00:00", "2026-02"),
        # New York: 2026-03-08 has 23 hours, 2026-11-01 has 25
        ("day", "America/New_York", "2026-03-08T04:59:59+00:00", "2026-03-07"),
        ("day", "America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-08"),
        ("day", "America/New_York", "2026-03-09T03:59:59+00:00", "2026-03-08"),
        ("day", "America/New_York", "2026-03-09T04:00:00+00:00", "2026-03-09"),
        ("day", "America/New_York", "2026-11-01T04:00:00+00:00", "2026-11-01"),
        ("day", "America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("day", "America/New_York", "2026-11-02T05:00:00+00:00", "2026-11-02"),
        # the hour that comes twice is of one day
        ("day", "America/New_York", "2026-11-01T05:30:00+00:00", "2026-11-01"),
        ("day", "America/New_York", "2026-11-01T06:30:00+00:00", "2026-11-01"),
    ],
)
def test_a_period_is_that_of_the_clocks_on_the_wall_there(per, tz, moment, period):
    assert period_of(Budget("b", 1, per, tz), at(moment)) == period


def test_a_new_period_has_the_whole_budget(purse):
    shanghai = replace(DAY, tz="Asia/Shanghai")
    midnight = at("2026-01-06T00:00:00+08:00")
    assert purse.reserve(shanghai, midnight - 0.001, 1000)
    assert purse.reserve(shanghai, midnight - 0.001, 1) is None
    assert purse.reserve(shanghai, midnight, 1000)
    assert purse.taken(shanghai, midnight) == 1000


# -- money -----------------------------------------------------------------------------------------


def test_what_is_set_aside_is_taken_until_it_is_settled(purse):
    first, second = purse.reserve(DAY, NOON, 400), purse.reserve(DAY, NOON, 600)
    assert purse.reserve(DAY, NOON, 1) is None
    purse.settle(first, 100)
    assert purse.taken(DAY, NOON) == 700
    assert purse.reserve(DAY, NOON, 301) is None
    assert purse.reserve(DAY, NOON, 300)
    purse.settle(second, 0)
    assert purse.taken(DAY, NOON) == 400


def test_it_is_settled_in_the_period_in_which_it_was_set_aside(purse):
    held = purse.reserve(DAY, NOON, 400)
    purse.settle(held, 150)
    assert (purse.taken(DAY, NOON), purse.taken(DAY, NOON + 86400)) == (150, 0)


def test_more_than_the_whole_budget_is_never_there(purse):
    assert purse.reserve(DAY, NOON, 1001) is None
    assert purse.taken(DAY, NOON) == 0


def test_what_was_used_beyond_the_reservation_is_taken_as_far_as_there_is_any(purse):
    first, second = purse.reserve(DAY, NOON, 100), purse.reserve(DAY, NOON, 100)
    purse.settle(first, 300)
    assert purse.taken(DAY, NOON) == 400
    purse.settle(second, 5000)
    assert purse.taken(DAY, NOON) == 1000


def test_a_budget_that_was_lowered_is_spent_and_loses_nothing_that_was_taken(purse):
    first, second = purse.reserve(DAY, NOON, 500), purse.reserve(DAY, NOON, 400)
    lower = replace(DAY, usd=2e-7)
    assert purse.reserve(lower, NOON, 1) is None
    purse.settle(replace(first, limit=200), 600)
    assert purse.taken(lower, NOON) == 900
    purse.settle(second, 0)
    assert purse.taken(lower, NOON) == 500


def test_another_budget_has_its_own(purse):
    assert purse.reserve(DAY, NOON, 1000)
    assert purse.reserve(replace(DAY, id="c"), NOON, 1000)


def test_another_process_sees_what_is_taken(purse, tmp_path):
    assert purse.reserve(DAY, NOON, 900)
    other = Purse(tmp_path / "state")
    assert other.reserve(DAY, NOON, 101) is None
    other.close()


def test_a_store_that_cannot_be_written_reserves_nothing(purse, tmp_path):
    db = sqlite3.connect(tmp_path / "state" / "sluice.db")
    db.execute("DROP TABLE purse")
    db.close()
    with pytest.raises(sqlite3.Error):
        purse.reserve(DAY, NOON, 1)


# -- processes -------------------------------------------------------------------------------------

TAKES = """
import sys
from pathlib import Path
from policies.model import Budget
from router.purse import Purse
purse, budget = Purse(Path(sys.argv[1])), Budget("b", 1e-6, "day")
print("ready", flush=True)
sys.stdin.readline()
settled = 0
for _ in range(200):
    held = purse.reserve(budget, float(sys.argv[2]), 10)
    if held is not None:
        purse.settle(held, 3)
        settled += 3
print(settled, flush=True)
"""
HOLDS = """
import sys
from pathlib import Path
from policies.model import Budget
from router.purse import Purse
assert Purse(Path(sys.argv[1])).reserve(Budget("b", 1e-6, "day"), float(sys.argv[2]), 700)
print("held", flush=True)
sys.stdin.readline()
"""


def started(code, tmp_path):
    command = [sys.executable, "-c", code, str(tmp_path / "state"), str(NOON)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_many_processes_together_take_no_more_than_there_is(purse, tmp_path):
    running = [started(TAKES, tmp_path) for _ in range(4)]
    for each in running:
        assert each.stdout.readline() == "ready\n"
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    most = 0
    while any(each.poll() is None for each in running):
        most = max(most, purse.taken(DAY, NOON))
    settled = sum(int(each.communicate(timeout=60)[0]) for each in running)
    assert most <= 1000
    assert purse.taken(DAY, NOON) == settled
    assert 990 < settled <= 1000  # all of it, but for less than one reservation


def test_a_process_that_is_killed_leaves_its_reservation_spent(purse, tmp_path):
    holding = started(HOLDS, tmp_path)
    assert holding.stdout.readline() == "held\n"
    holding.send_signal(signal.SIGKILL)
    holding.communicate(timeout=30)
    assert purse.taken(DAY, NOON) == 700
    assert purse.reserve(DAY, NOON, 301) is None
    assert purse.reserve(DAY, NOON, 300)

"""What is done beside requests, and by which clock: leases, fleets' time, periods. The wall clock
is the test's; the ledger, the fleet and what asks it are real.
"""

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from ledger_support import scope, wrong
from support import catalogue, fleet, plain, policy, wait_until

from backends.base import Seen
from backends.cost import NANO
from router.entry import build
from router.keeper import Keeper
from router.settings import Settings
from router.treasury import Treasury

HOUR_S = 3600
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
ALWAYS = ("2000", "2100")
TODAY = scope("all", 10**9, value="all", period="2026-11-21", ends="2026-11-22T00:00:00Z")
BUDGET = "budgets:\n  - {{id: all, match: {{}}, usd: {usd}, per: {per}, when_spent: reject}}\n"


class Clock:
    def __init__(self):
        self.now_s = NOON

    def __call__(self):
        return self.now_s


class Kept:
    """A router in this process, whose wall clock is `clock`."""

    def __init__(self, folder, upstream, usd=1, per="day"):
        self.clock, self.loop = Clock(), asyncio.Runner()
        self.state = folder / "state"
        fleets, policy_at = folder / "fleets.yaml", folder / "policy.yaml"
        fleets.write_text(catalogue(fleet("one", upstream.url)))
        policy_at.write_text(policy() + BUDGET.format(usd=usd, per=per))
        app = build(Settings(self.state, fleets, policy_at, auth="none"))
        self.ledger = app.treasury.ledger
        unsettled = app.runtime.metrics.unsettled.inc
        treasury = Treasury(self.ledger, self.clock, app.alerts, unsettled)
        self.keeper = Keeper(app.runtime, treasury, self.clock)
        self.app = replace(app, treasury=treasury, keeper=self.keeper, now=self.clock)

    def look(self):
        """Have the keeper look, as it does every few seconds."""
        asyncio.run(self.keeper._look())

    def chat(self):
        return self.loop.run(self._chat())

    async def _chat(self):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            return await client.post("/v1/chat/completions", json=body | {"max_tokens": 10})

    def seconds(self):
        """Return the fleet's seconds by minute."""
        return {row.minute[11:16]: row.seconds for row in self.ledger.fleet_times(*ALWAYS)}

    def books(self):
        assert wrong(self.ledger) == []
        return {row.name.split()[2]: row for row in self.ledger.books().scopes.values()}

    def close(self):
        self.loop.run(self.app.runtime.aclose())
        self.loop.close()
        self.ledger.close()
        self.app.feedback.labels.close()


@pytest.fixture
def keep(tmp_path, upstream):
    upstream.script = lambda body, send, gone: send(plain())
    with contextlib.ExitStack() as running:

        def start(**more):
            kept = Kept(tmp_path, upstream, **more)
            running.callback(kept.close)
            return kept

        yield start


def held(kept):
    other = sqlite3.connect(kept.state / "sluice.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


# -- what probes saw -------------------------------------------------------------------------------


def test_a_machine_that_was_seen_in_a_minute_is_paid_for_that_minute(keep):
    kept = keep()
    tracker = kept.app.runtime.generation.tracker

    def rows():
        found = kept.ledger.fleet_times(*ALWAYS)
        return [(row.minute[11:16], row.seconds, row.replicas, row.source) for row in found]

    def seen(state):
        kept.clock.now_s += 30
        tracker.saw("one", [Seen(state)], kept.app.runtime.clock())
        kept.look()

    seen("up")
    seen("up")
    assert rows() == [("12:00", 60, 1, "observed")]
    seen("down")  # the catalogue says that one is always paid for
    assert rows()[1:] == [("12:01", 30, 1, "assumed")]
    seen("up")
    assert rows()[1:] == [("12:01", 30, 1, "assumed"), ("12:01", 60, 1, "observed")]


# -- a ledger that can't be used for a while -------------------------------------------------------


def test_time_that_could_not_be_written_is_written_at_the_next_look(keep, caplog):
    kept = keep()
    kept.look()
    kept.clock.now_s += 30
    kept.look()
    assert kept.seconds() == {"12:00": 30}
    other = held(kept)
    for _ in range(3):
        kept.clock.now_s += 60
        kept.look()
    assert caplog.text.count("the ledger can't be kept") == 3
    assert kept.seconds() == {"12:00": 30}
    other.execute("ROLLBACK")
    other.close()
    kept.clock.now_s += 5
    kept.look()
    assert kept.seconds() == {"12:00": 60, "12:01": 60, "12:02": 60, "12:03": 35}


def test_a_settlement_that_could_not_be_made_is_made_at_the_next_look(keep, upstream):
    kept = keep()
    kept.chat()
    others = []

    def script(body, send, gone):
        others.append(sqlite3.connect(
            kept.state / "sluice.db", isolation_level=None, check_same_thread=False
        ))  # fmt: skip
        others[0].execute("BEGIN EXCLUSIVE")
        send(plain())

    upstream.script = script
    assert kept.chat().status_code == 200
    kept.look()
    others[0].execute("ROLLBACK")
    others[0].close()
    (before,) = kept.books().values()
    assert before.reserved > 0
    kept.clock.now_s += HOUR_S  # even after its lease: it goes first
    kept.look()
    (after,) = kept.books().values()
    assert (after.reserved, after.spent) == (0, 2 * before.spent)
    assert {row.kind for row in kept.ledger.entries(*ALWAYS)} == {"charge"}


def test_a_bug_in_one_look_does_not_end_the_keeping(keep, caplog):
    kept = keep()
    looks = []

    class Broken:
        async def expire(self):
            looks.append(1)
            raise ZeroDivisionError

    async def keep_on():
        keeper = Keeper(kept.app.runtime, Broken(), kept.clock, every_s=0.01)
        keeper.start()
        await asyncio.to_thread(wait_until, lambda: len(looks) >= 3)
        await keeper.aclose()

    asyncio.run(keep_on())
    assert "the ledger was not kept" in caplog.text


# -- a clock that is set back ----------------------------------------------------------------------


def test_a_clock_set_back_over_a_period_s_end_goes_on_with_what_each_has_spent(keep):
    kept = keep()
    kept.clock.now_s = MIDNIGHT - 600
    kept.chat()
    kept.clock.now_s = MIDNIGHT + 600
    kept.chat()
    one = kept.books()["2026-11-22"].spent
    kept.clock.now_s -= HOUR_S
    kept.chat()
    kept.clock.now_s = MIDNIGHT + 1200
    kept.chat()
    books = kept.books()
    assert {period: row.spent for period, row in books.items()} == {
        "2026-11-21": 2 * one,
        "2026-11-22": 2 * one,
    }
    day, midnight, ever = "2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z", "2100"
    # The days' rows are found by the day's index, though they do not lie one behind the other.
    assert [row.at[:13] for row in kept.ledger.entries(day, midnight)] == ["2026-11-21T23"] * 2
    assert [row.at[:13] for row in kept.ledger.entries(midnight, ever)] == ["2026-11-22T00"] * 2


def test_a_request_under_way_while_the_clock_is_set_back_is_settled_in_its_period(keep, upstream):
    kept = keep()

    def script(body, send, gone):
        kept.clock.now_s -= HOUR_S
        kept.look()
        send(plain())

    upstream.script = script
    kept.clock.now_s = MIDNIGHT + 600
    assert kept.chat().status_code == 200
    (row,) = kept.books().values()
    assert row.name == "all all 2026-11-22"
    assert row.spent > row.reserved == 0
    (charged,) = kept.ledger.entries(*ALWAYS)
    assert (charged.kind, charged.at[:13]) == ("charge", "2026-11-21T23")
    assert charged.period_at[:13] == "2026-11-22T00"


def test_a_lease_ends_later_by_what_the_clock_is_set_back(keep):
    kept = keep()

    kept.chat()
    (row,) = kept.books().values()
    one = row.spent
    dead = replace(
        next(kept.ledger.entries(*ALWAYS)), request_id="of-a-dead-router", kind="expired"
    )
    kept.ledger.reserve(dead, (TODAY,), NOON, NOON + 90)
    for step_s, spent in ((60, one), (-HOUR_S, one), (HOUR_S, one), (60, 2 * one)):
        kept.clock.now_s += step_s
        kept.look()
        (row,) = kept.books().values()
        assert row.spent == spent


def test_minutes_are_paid_once_however_often_the_clock_passes_them(keep):
    kept = keep()
    kept.clock.now_s += 150
    kept.look()
    assert kept.seconds() == {"12:00": 60, "12:01": 60, "12:02": 30}
    kept.clock.now_s -= 120
    for _ in range(3):
        kept.look()
        kept.clock.now_s += 60
    kept.look()
    assert kept.seconds() == {"12:00": 60, "12:01": 60, "12:02": 60, "12:03": 30}


# -- a limit lowered below what is spent -----------------------------------------------------------


@pytest.mark.lowered
def test_a_limit_lowered_below_what_is_spent_refuses_until_the_period_turns(keep):
    kept = keep(per="hour")
    for _ in range(40):
        assert kept.chat().status_code == 200
    (spent,) = [row.spent for row in kept.books().values()]
    world = kept.app.runtime.generation.world
    (budget,) = world.policy.budgets
    lowered = replace(budget, usd=spent // 2 / NANO)
    kept.app.treasury.adopt(replace(world.policy, budgets=(lowered,), hash="lowered"))
    refused = kept.chat()
    assert refused.status_code == 402
    error = refused.json()["error"]
    assert error["left_usd"] == 0  # never a negative one
    assert error["reset"] == "2026-11-21T13:00:00Z"
    (row,) = kept.ledger.books().scopes.values()
    assert (row.spent, row.limit, row.avail) == (spent, spent // 2, spent // 2 - spent)
    kept.clock.now_s += HOUR_S
    assert kept.chat().status_code == 200
    over, running = kept.ledger.books().scopes.values()
    assert over.spent == spent
    assert 0 < running.spent <= running.limit == spent // 2

"""Fleets that are asked to wake, in moto's table: by how many routers at once it may be."""

import asyncio
import threading

import pytest
from ledger_support import Watched

from router import wake_items
from router.ledger.dynamo_table import Table
from router.ledger.port import LedgerUnavailable
from router.wake_items import KEPT_S, WakeItem
from router.waking import WakeTable, WakeUp

NOW, WAKE_S, RUN_S = 1_795_255_200, 300, 600
ASKED = WakeUp("p5", 3, 9.0, WAKE_S, RUN_S)


@pytest.fixture
def table(ledger):
    return ledger.table


def item(at_s=NOW, requests=1, fleet="p5"):
    return WakeItem(fleet, at_s, at_s + WAKE_S + RUN_S, requests)


def test_one_of_many_routers_asks_for_a_fleet(table):
    together, wrote = threading.Barrier(8), []

    def router(number):
        together.wait()
        wrote.append(wake_items.ask(table, item(requests=number), WAKE_S))

    routers = [threading.Thread(target=router, args=(number,)) for number in range(8)]
    for each in routers:
        each.start()
    for each in routers:
        each.join()
    assert sorted(wrote) == [False] * 7 + [True]
    assert len(wake_items.read(table)) == 1


def test_it_is_asked_for_anew_once_waking_should_be_over(table):
    assert wake_items.ask(table, item(), WAKE_S)
    assert not wake_items.ask(table, item(NOW + WAKE_S - 1), WAKE_S)
    assert wake_items.ask(table, item(NOW + WAKE_S, 7), WAKE_S)
    assert wake_items.read(table) == [WakeItem("p5", NOW + 300, NOW + 1200, 7)]


def test_fleets_are_asked_for_each_on_its_own(table):
    assert wake_items.ask(table, item(), WAKE_S)
    assert wake_items.ask(table, item(fleet="trn2"), WAKE_S)
    assert [each.fleet for each in wake_items.read(table)] == ["p5", "trn2"]


def test_it_goes_by_itself_a_day_after_its_time(table):
    wake_items.ask(table, item(), WAKE_S)
    assert table.get(("WAKE", "p5"))["gone_s"] == NOW + 900 + KEPT_S


def test_it_is_deleted_unless_it_was_asked_for_anew(table):
    wake_items.ask(table, item(), WAKE_S)
    wake_items.ask(table, item(NOW + WAKE_S), WAKE_S)
    assert not wake_items.delete(table, item())
    assert wake_items.delete(table, item(NOW + WAKE_S))
    assert wake_items.delete(table, item())  # it is gone
    assert wake_items.read(table) == []


def test_one_that_can_not_be_read_hides_no_other(table, caplog):
    table.put({"pk": "WAKE", "sk": "p4", "at_s": 1}, "attribute_not_exists(#pk)", {})
    wake_items.ask(table, item(), WAKE_S)
    assert [each.fleet for each in wake_items.read(table)] == ["p5"]
    assert "the wake item of p4 can't be read: KeyError" in caplog.text


def asked_for(table, times=1):
    """Ask so many times; return how often it was said that it failed."""
    failures = []

    async def main():
        wakes = WakeTable(table, lambda: NOW + 0.7)
        for _ in range(times):
            wakes.ask(ASKED, lambda: failures.append(1))
            await wakes.finished()
        await wakes.aclose()

    asyncio.run(main())
    return len(failures)


def test_a_router_asks_till_when_waking_and_the_shortest_run_take_and_says_it_once(table, caplog):
    assert asked_for(table, times=2) == 0
    assert wake_items.read(table) == [WakeItem("p5", NOW, NOW + WAKE_S + RUN_S, 3)]
    assert caplog.text.count("fleet p5 is asleep: a wake-up is asked for") == 1


def test_a_table_that_does_not_take_it_is_told_of_and_nothing_is_raised(table, caplog):
    def gone(_operation):
        raise LedgerUnavailable("it is out of order")

    assert asked_for(Table(Watched(table._client, before=gone), table.name)) == 1
    assert "fleet p5 is asleep, and can't be asked for: it is out of order" in caplog.text
    assert wake_items.read(table) == []

"""The sweeper without Lambda, on a ledger in moto's table."""

import itertools

from ledger_support import NOW, alert, limit, scope, worst

from router.workers.sweeper import SPARE_MS, Sweeper

TABLES = itertools.count()


def reserved(ledger, count, lease_ends_s=NOW - 1):
    ledger.adopt({"team": limit(10**6), "soft": limit(10**6, None)}, "hash", NOW)
    for number in range(count):
        ledger.reserve(worst(f"r{number}", 10), (scope(soft=10**6),), NOW - 9, lease_ends_s)


def test_leases_are_charged_in_batches_until_there_are_no_more(ledger):
    reserved(ledger, 5)
    calls = []
    sweeper = Sweeper(ledger, lambda: NOW)
    assert sweeper.expire(lambda: calls.append(1) or 60_000, batch=2) == 5
    assert len(calls) == 3
    assert sweeper.expire(lambda: 60_000) == 0


def test_where_the_time_is_nearly_over_no_further_batch_begins(ledger):
    reserved(ledger, 5)
    left = iter([SPARE_MS + 1, SPARE_MS])
    assert Sweeper(ledger, lambda: NOW).expire(lambda: next(left), batch=2) == 2


def test_a_lease_that_runs_is_let_be(ledger):
    reserved(ledger, 2, NOW + 1)
    assert Sweeper(ledger, lambda: NOW).expire(lambda: 60_000) == 0


def test_the_audit_goes_on_where_it_stopped_and_begins_again(ledger):
    ledger.adopt({"soft": limit(10**6, None), "team": limit(10**6)}, "hash", NOW)
    for number in range(3):
        where = scope(soft=10**6, value=f"team={number}"), alert(soft=10**6, value=f"a={number}")
        ledger.reserve(worst(f"r{number}", 10), where, NOW, NOW + 90)
    key = ("S#team", "team=2#2026-11#0")
    ledger.table.update(key, "SET #avail = #avail + :one", "#pk <> :none", {"one": 1, "none": ""})
    sweeper = Sweeper(ledger, lambda: NOW, rows=4)
    found = [sweeper.audit() for _ in range(4)]
    assert [len(wrong) for wrong in found] == [0, 1, 0, 1]
    assert found[1][0].startswith("S#team team=2#2026-11#0: avail + reserved + spent is not")

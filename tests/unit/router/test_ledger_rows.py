"""Rows of the ledger, the bill of fleets, what a budget may be, and the audit that adds up."""

from dataclasses import fields, replace

import pytest
from ledger_support import NOW, alert, charge, limit, scope, worst

from router.ledger.audit import Books, ScopeRow, violations
from router.ledger.entry import clamped, corrections, entry_json, entry_of, stamp
from router.ledger.fleet_time import FleetTime, bill_nano
from router.ledger.port import NEVER, Limit
from router.ledger.sqlite_rows import entry_of_row, entry_of_short, row_of, short
from router.ledger.standing import alerts_due, next_alert


def test_a_moment_is_written_in_utc_with_milliseconds():
    assert stamp(NOW + 0.25) == "2026-11-21T10:00:00.250Z"


@pytest.mark.parametrize(
    "there_and_back",
    [
        lambda entry: entry_of(entry_json(entry)),
        lambda entry: entry_of_short(short(entry)),
        lambda entry: entry_of_row(tuple(row_of(entry))),
    ],
)
def test_a_row_comes_back_as_it_was(there_and_back):
    entry = charge("r1", 5, tags=(("app", "邮件"), ("env", "prod")), team=None, emulated=True)
    assert there_and_back(entry) == entry


def test_what_was_reserved_is_enough_for_most():
    rows = (charge("r1", 60), charge("r1", 40, n=1))
    assert clamped(rows, 100) == rows


def test_a_charge_is_cut_from_the_last_row_on():
    rows = (charge("r1", 60), charge("r1", 50, n=1, overrun_nano=3), charge("r1", 7, n=2))
    cut = clamped(rows, 100)
    assert [(row.nano, row.overrun_nano) for row in cut] == [(60, 0), (40, 13), (0, 7)]
    assert sum(row.nano for row in cut) == 100


def test_what_is_let_go_is_nobody_s_saving():
    rows = (charge("r1", 60), charge("r1", 140, n=1, nano_baseline=1000))
    assert [row.nano_baseline for row in clamped(rows, 100)][1:] == [500]


def test_a_correction_leaves_the_true_sum_in_every_column():
    expired = replace(worst("r1", 100), nano_marginal=9, nano_router=4, overrun_nano=0)
    true = charge("r1", 30, nano_marginal=2, nano_baseline=90, nano_router=5)
    rows = (expired, *corrections(expired, (true,), stamp(NOW)))
    assert [row.n for row in rows] == [0, 1, 2]
    assert [row.last for row in rows] == [True, False, False]
    for field in fields(true):
        amounts = [getattr(row, field.name) for row in rows]
        if field.name in {"nano", "nano_marginal", "nano_baseline", "nano_router", "service_ms"}:
            assert sum(amount or 0 for amount in amounts) == getattr(true, field.name)


def test_a_fleet_s_bill_is_exact():
    def row(seconds, replicas, nano_hour):
        at = "2026-11-21T10:00:00Z"
        return FleetTime("c8g", at, seconds, replicas, nano_hour, "observed", False)

    assert bill_nano([row(60.0, 2, 3_600_000_000)] * 60) == 7_200_000_000
    assert bill_nano([row(0.5, 1, 3600), row(0.5, 1, 3600)]) == 1
    assert bill_nano([]) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seconds": 61}, "0 to 60"),
        ({"seconds": -1}, "0 to 60"),
        ({"replicas": -1}, "at least 0"),
        ({"nano_hour": -1}, "at least 0"),
        ({"minute": "2026-11-21T10:00:30Z"}, "a whole minute"),
        ({"minute": "2026-11-21"}, "a whole minute"),
    ],
)
def test_a_fleet_time_that_can_not_be_is_refused(wrong, said):
    row = FleetTime("c8g", "2026-11-21T10:00:00Z", 60, 1, 1, "observed", False)
    with pytest.raises(ValueError, match=said):
        replace(row, **wrong)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: limit(0), "more than 0"),
        (lambda: limit(-5), "more than 0"),
        (lambda: limit(100, 99), "below soft"),
        (lambda: limit(100, alert_at=(0.5, 0.0)), "a share above 0"),
        (lambda: scope(soft=0), "more than 0"),
        (lambda: scope(hard=None), "reject and a hard limit of None"),
        (lambda: scope(on_spent="alert"), "alert and a hard limit of 1000"),
        (lambda: scope(ends="2026-12-01T00:00:00+08:00"), "in UTC"),
    ],
)
def test_a_budget_that_can_not_be_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        made()


def test_an_override_keeps_the_ratio_of_the_hard_limit():
    assert limit(1000, 1100).overridden(2000) == limit(2000, 2200)
    assert Limit(1000, None).overridden(5) == Limit(5, None)


def test_alerts_are_due_at_exact_shares():
    of = alert(soft=3, alert_at=(0.1, 0.5, 1.0)).limit
    assert next_alert(of, ()) == 1
    assert alerts_due(of, (), 1) == [0.1]
    assert alerts_due(of, (0.1,), 3) == [0.5, 1.0]
    assert next_alert(of, (0.1, 0.5, 1.0)) == NEVER


RIGHT = Books(
    {"1": ScopeRow("team", 100, 50, 20, 30, hard=True)},
    [("r2", 20, ("1",))],
    [("r1", 0, 30, ("1",))],
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"avail": 51}, "is not the limit"),
        ({"reserved": 19, "avail": 51}, "19 reserved, open reservations hold 20"),
        ({"spent": 31, "avail": 49}, "31 spent, the rows charge 30"),
        ({"limit": 20, "avail": -30}, "30 spent of 20"),
    ],
)
def test_books_that_are_wrong_are_told(change, said):
    assert list(violations(RIGHT)) == []
    (found,) = violations(replace(RIGHT, scopes={"1": replace(RIGHT.scopes["1"], **change)}))
    assert said in found


def test_a_row_that_stands_twice_is_told():
    rows = [("r1", 0, 15, ("1",)), ("r1", 0, 15, ("1",))]
    assert list(violations(replace(RIGHT, rows=rows))) == ["('r1', 0) stands 2 times"]

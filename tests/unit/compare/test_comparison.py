"""What two runs of one trace differ in."""

from dataclasses import replace

import pytest
from diff_support import compared, kind, run, trace

from router.compare.comparison import over_seeds

HOUR = [1.0] * 60


def looks(*usd):
    return (usd, [0.0] * len(usd))


def hour(usd_a_look, more=0.0):
    """Return a fleet's bills of an hour, each look a little other."""
    return ([usd_a_look + more * (i % 7) for i in range(60)], [0.0] * 60)


def test_the_bill_is_told_from_old_to_new_and_never_the_other_way_round():
    found = compared(run([0], bills=looks(2.0)), run([0], bills=looks(5.0)))
    assert (found.old.money.total, found.new.money.total) == (2.0, 5.0)
    assert found.usd_change == 3.0


def test_a_run_that_is_the_same_in_everything_is_the_same():
    assert compared(run([0, 1]), run([0, 1])).same
    assert not compared(run([0, 1]), run([0, 1], ttft_ms=101.0)).same
    assert not compared(run([0, 1]), run([1, 0])).same


def test_an_unknown_price_makes_the_bill_and_its_change_unknown_never_zero():
    found = compared(run([0]), run([0], bills=(None, [1.0])))
    assert found.new.money.total is None
    assert found.usd_change is None
    assert found.spread is None


def test_both_bills_end_with_the_later_of_the_two_last_answers():
    short = run([0], bills=looks(6.0, 3.0), seconds=90.0)
    long = run([0], bills=looks(6.0, 6.0), seconds=120.0)
    found = compared(short, long)
    assert found.added_usd == pytest.approx((3.0, 0.0))
    assert found.old.money.total == pytest.approx(12.0)
    assert found.old.money.idle == pytest.approx(4.5 + 3.0)
    assert found.usd_change == 0.0


def test_requests_that_move_are_counted_by_team_task_and_way_with_their_charges():
    kinds = (kind("web", "code"), kind(None, "math"))
    old = run([0, 0, 0, 1, None, 0], usd=[5, 6, 7, 8, 0, 9])
    new = run([1, 0, 1, "late", 0, 0], usd=[50, 60, 70, 0, 90, 10])
    rows = compared(old, new, trace(6, kinds)).moved
    assert [(r.team, r.task, r.was, r.now, r.requests) for r in rows] == [
        ("shop/web", "code", "cheap", "dear", 2),
        ("shop", "math", "dear", "(timed out)", 1),
        ("shop/web", "code", "(refused)", "cheap", 1),
    ]
    assert (rows[0].usd_was, rows[0].usd_now) == pytest.approx((12e-9, 120e-9))
    assert (rows[2].usd_was, rows[2].usd_now) == pytest.approx((0.0, 90e-9))


def test_who_was_served_and_is_too_late_on_the_same_fleet_now_has_moved_and_is_charged():
    (row,) = compared(run([0, 0]), run([0, "late"], usd=[1000, 700])).moved
    assert (row.was, row.now, row.requests) == ("cheap", "(timed out)", 1)
    assert (row.usd_was, row.usd_now) == pytest.approx((1e-6, 7e-7))
    (back,) = compared(run([0, "late"], usd=[1000, -1]), run([0, 0])).moved
    assert (back.was, back.now, back.usd_was) == ("(timed out)", "cheap", None)


def test_a_charge_that_is_unknown_makes_its_row_and_its_team_unknown():
    found = compared(run([0, 0]), run([1, 0], usd=[-1, 5]), trace(2, (kind("a"), kind("b"))))
    assert found.moved[0].usd_now is None
    assert found.new.by_team == {"shop/a": None, "shop/b": 5e-9}


def test_fleets_are_compared_by_name_whatever_their_place():
    old, new = run([0, 1]), run([1, 0])
    new.fleets = tuple(reversed(new.fleets))
    assert compared(old, new).moved == ()


def test_a_budget_that_begins_to_refuse_breaks_and_one_that_ceases_is_mended():
    scopes = [("b", name, "2026-01") for name in ("x", "y", "z", "w")]
    old = run(
        [0], budgets=dict(zip(scopes, [(1, None), (2, 5.0), (3, 6.0), (9, None)], strict=True))
    )
    new = run(
        [0], budgets=dict(zip(scopes, [(4, 7.0), (2, None), (3, 4.0), (9, None)], strict=True))
    )
    found = compared(old, new).bounds
    assert [(b.value, b.breaks, b.mended) for b in found] == [
        ("x", True, False),
        ("z", False, False),
        ("y", False, True),
    ]
    assert found[0].now_s == 7.0


def test_a_budget_of_the_new_policy_alone_can_break():
    new = run([0], budgets={("fresh", "all", "2026-01"): (4, 7.0)})
    (only,) = compared(run([0]), new).bounds
    assert only.breaks


def test_what_is_odd_about_the_trace_stands_before_what_is_assumed():
    odd = replace(trace(1, assumptions=("60% are simple",)), warnings=("a gap of 2 h",))
    found = compared(run([0], assumptions=("no cache",)), run([0], assumptions=("no cache",)), odd)
    assert found.assumptions == ("warning: a gap of 2 h", "60% are simple", "no cache")


def test_rules_that_no_request_matched_are_named_for_each_policy():
    found = compared(run([0, 0], rules=[0, 0]), run([0, 0], rules=[1, -1]))
    assert found.old.never_hit == ("rest",)
    assert found.new.never_hit == ("simple",)


def test_the_new_policy_is_also_held_against_the_objectives_of_the_old_one():
    old = run([0, 0], rules=[0, 0], ttft_ms=[400.0, 400.0])
    new = run([0, 0], rules=[1, 1], ttft_ms=[400.0, 600.0])
    found = compared(old, new)
    assert (found.old.attained, found.new.attained) == (1.0, 1.0)
    assert (found.old.attained_as_old, found.new.attained_as_old) == (1.0, 0.5)


def test_times_are_of_the_served_and_refusals_are_counted():
    new = run([0, 0, None, "late"], ttft_ms=[10.0, 20.0, 5000.0, 5000.0])
    found = compared(run([0, 0, 0, 0]), new).new
    assert (found.ttft_ms.p50, found.ttft_ms.p95) == (10.0, 20.0)
    assert (found.served, found.refused, found.timed_out) == (2, 1, 1)


def test_an_hour_has_an_interval_around_the_change_and_half_an_hour_less_has_none():
    old, new = (
        run([0], bills=hour(1.0, 0.3), seconds=3600.0),
        run([0], bills=hour(1.2, 0.4), seconds=3600.0),
    )
    found = compared(old, new)
    assert found.spread.change.low < found.usd_change < found.spread.change.high
    short = (run([0], bills=looks(*[1.0] * 29), seconds=29 * 60.0) for _ in range(2))
    assert compared(*short).spread is None


def test_the_interval_of_several_seeds_holds_that_of_each():
    old = run([0], bills=hour(1.0, 0.3), seconds=3600.0)
    first = compared(old, run([0], bills=hour(1.2, 0.4), seconds=3600.0))
    other = compared(old, run([0], bills=hour(3.0, 0.4), seconds=3600.0))
    both = over_seeds(first, [other])
    assert both.usd_change == first.usd_change
    assert both.spread.change.low == first.spread.change.low
    assert both.spread.change.high == other.spread.change.high
    assert [each.usd_new for each in both.seeded] == [
        first.new.money.total,
        other.new.money.total,
    ]
    assert (
        over_seeds(first, [replace(other, seeded=(replace(other.seeded[0], spread=None),))]).spread
        is None
    )


def test_a_router_that_costs_is_in_the_bill_and_in_its_interval():
    old = run([0] * 60, bills=hour(1.0), seconds=3600.0)
    new = run([0] * 60, bills=hour(1.0), seconds=3600.0, usd_router=6.0)
    found = compared(old, new, trace(60, every_s=60.0))
    assert found.usd_change == pytest.approx(6.0)
    assert found.spread.change.low == pytest.approx(6.0)
    assert found.spread.change.high == pytest.approx(6.0)

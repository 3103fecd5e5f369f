"""How budgets are used up."""

import pytest
from replayed import SMALL, by_hand, kind, replayed, served, trace

from router.replay.burn import burns

POLICY = """
version: 1
name: by-hand
baseline: llama-4-scout@p5-scout
rules: [{id: all, use: cpu}]
budgets:
  - {id: hourly, match: {team: "*"}, usd: 2, per: hour, tz: Asia/Shanghai, when_spent: reject}
  - {id: search, match: {team: search}, usd: 100, per: day, when_spent: reject}
"""
NANO = 1_000_000_000


def test_charges_add_up_by_value_and_period_the_fullest_first():
    kinds = [kind(team="搜索"), kind(team="search"), kind(team="搜索"), kind(team=None)]
    run = replayed([served(SMALL, 0, 1, 2, NANO) for _ in kinds])
    found = burns(by_hand(POLICY).policy, trace(kinds, at_s=[0, 1, 3600, 3601]), run, 60.0)
    assert [(burn.budget.id, burn.value, burn.usd) for burn in found] == [
        ("hourly", "team=搜索", 1.0),
        ("hourly", "team=search", 1.0),
        ("hourly", "team=搜索", 1.0),
        ("search", "team=search", 1.0),
    ]
    assert len({burn.period for burn in found[:3]}) == 2


def test_lines_have_a_point_a_step_and_end_with_all_that_was_spent():
    kinds = [kind()] * 300
    run = replayed([served(SMALL, 0, 1, 2, NANO) for _ in kinds])
    found = burns(by_hand(POLICY).policy, trace(kinds), run, 60.0)
    assert all(len(burn.line) < 10 for burn in found)
    assert found[0].usd == pytest.approx(300)


def test_what_is_not_charged_burns_nothing():
    run = replayed([served(SMALL, 0, 1, 2, -1)])
    assert burns(by_hand(POLICY).policy, trace([kind()]), run, 60.0) == []

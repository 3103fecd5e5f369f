"""What a replay comes to."""

import pytest
from replayed import LARGE, SMALL, by_hand, fleet_run, kind, replayed, served, trace

from router.replay.outcome import REFUSED, TIMED_OUT
from router.replay.summary import NO_RULE, NOBODY, money, summary

EASY, HARD = 0, 1


@pytest.fixture(scope="module")
def world():
    return by_hand()


def test_the_total_is_what_was_charged_stood_idle_varied_and_the_router_took():
    fleets = [
        fleet_run(SMALL, bill=3.0, busy=1.0, allocated=0.8),
        fleet_run(LARGE, bill=10.0, busy=4.0, allocated=4.5),
    ]
    of = money(fleets, usd_router=0.25)
    assert of.total == pytest.approx(13.25)
    assert of.allocated + of.idle + of.variance + of.router == pytest.approx(of.total)
    assert (of.idle, of.variance) == (pytest.approx(8.0), pytest.approx(-0.3))


def test_an_unknown_price_makes_the_total_unknown_and_never_smaller():
    of = money([fleet_run(SMALL, bill=3.0), fleet_run(LARGE, bill=None, busy=None)], 0.5)
    assert (of.total, of.bill, of.idle, of.variance) == (None, None, None, None)
    assert of.router == 0.5


def test_no_fleets_cost_what_the_router_does():
    assert money([], 0.5).total == 0.5


def test_attained_is_the_share_of_all_that_were_asked_by_their_own_rules(world):
    kinds = [kind("simple"), kind("simple"), kind("heavy"), kind("heavy"), kind("heavy")]
    rows = [
        served(SMALL, EASY, 1000.0, 90_000.0),  # exactly in time, and no end is asked for
        served(SMALL, EASY, 1001.0, 2000.0),
        served(LARGE, HARD, 150.0, 4001.0),  # the end is late
        (None, HARD, REFUSED, None, None, 0),
        (LARGE, HARD, TIMED_OUT, 100.0, 200.0, 500),
    ]
    found = summary(world, trace(kinds), replayed(rows))
    assert found.attained == pytest.approx(1 / 5)
    assert [row.attained for row in found.by_rule] == [0.5, 0.0]
    assert (found.served, found.refused, found.timed_out) == (3, 1, 1)


def test_who_matched_no_rule_is_told_apart_and_missed(world):
    found = summary(world, trace([kind("other")]), replayed([(None, -1, REFUSED, None, None, 0)]))
    assert [(row.rule, row.requests) for row in found.by_rule][-1] == (NO_RULE, 1)
    assert found.attained == 0.0
    assert [(flow.rule, flow.fleet) for flow in found.flows] == [(NO_RULE, NOBODY)]


def test_rules_that_nobody_hit_are_listed(world):
    found = summary(world, trace([kind()]), replayed([served(SMALL, EASY, 1.0, 2.0)]))
    assert [(row.rule, row.requests) for row in found.by_rule] == [("easy", 1), ("hard", 0)]


def test_times_are_of_the_served_alone(world):
    rows = [served(SMALL, EASY, 10.0, 20.0), (SMALL, EASY, TIMED_OUT, 99_000.0, 99_000.0, 5)]
    found = summary(world, trace([kind(), kind()]), replayed(rows))
    assert (found.ttft_ms.p95, found.e2e_ms.p95) == (10.0, 20.0)
    assert found.by_fleet[0].ttft_ms.p99 == 10.0
    assert found.by_rule[0].ttft_ms.p99 == 10.0


def test_an_answer_of_the_small_model_is_worth_its_p_small_a_large_ones_the_baseline(world):
    kinds = [kind(), kind(), kind("heavy"), kind("heavy")]
    rows = [
        served(SMALL, EASY, 1, 2),
        served(SMALL, EASY, 1, 2),
        served(LARGE, HARD, 1, 2),
        (None, HARD, REFUSED, None, None, 0),
    ]
    told = trace(kinds, p_small=[0.9, 0.5, 0.1, 0.1], acceptable=[1, 0, 0, 0])
    of = summary(world, told, replayed(rows)).answers
    assert of.quality == pytest.approx((0.9 + 0.5 + 1.0) / 3)
    assert of.acceptable == pytest.approx(2 / 3)
    assert of.small == pytest.approx(2 / 3)


def test_what_nobody_knows_of_small_answers_leaves_the_share_unknown(world):
    told = trace([kind(), kind()], acceptable=[1, -1])
    rows = [served(SMALL, EASY, 1, 2)] * 2
    of = summary(world, told, replayed(rows)).answers
    assert (of.acceptable, of.unknown) == (None, 1)


def test_nobody_served_has_no_quality_and_no_times(world):
    found = summary(world, trace([kind()]), replayed([(None, EASY, REFUSED, None, None, 0)]))
    assert found.answers.quality is None
    assert found.ttft_ms.p50 is None


def test_flows_count_every_request_once(world):
    kinds = [kind(task="code"), kind(task="code"), kind("heavy", "math")]
    rows = [served(SMALL, EASY, 1, 2), served(LARGE, EASY, 1, 2), served(LARGE, HARD, 1, 2)]
    flows = summary(world, trace(kinds), replayed(rows)).flows
    assert [(f.task, f.rule, f.fleet, f.requests) for f in flows] == [
        ("code", "easy", SMALL, 1),
        ("code", "easy", LARGE, 1),
        ("math", "hard", LARGE, 1),
    ]


def test_each_assumption_is_told_once(world):
    told = trace([kind()], assumptions=("made up",))
    run = replayed([served(SMALL, EASY, 1, 2)], assumptions=("made up", "and this"))
    assert summary(world, told, run).assumptions == ("made up", "and this")

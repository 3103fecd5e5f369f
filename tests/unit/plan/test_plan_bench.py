"""What `sluice plan` is told to assume, from its options to the replay that verifies it."""

from dataclasses import replace

import pytest
from unit.plan import made

from policies.parse import parse as parse_policy
from router.cli.plan.asked import Asked, Bench
from router.plan.highs import Highs
from router.plan.making import Maker
from router.plan.offers import market
from router.plan.program import Limits
from router.plan.slo import Slo
from router.plan.solve import solve
from router.plan.values import Terms
from router.plan.verify import Classes, play
from router.replay.outcome import Settings
from router.replay.shadow_prices import ShadowPrices
from router.sources import names_of
from router.world import world

SLO = Slo(ttft_ms=5000)
POLICY = "version: 1\nname: x\nbaseline: m@f\nrules: [{id: all, use: big}]\n"
PRICES = ShadowPrices({"f": (0.001, 0.001)})


@pytest.fixture
def bench(tmp_path):
    """A plan of one fleet on Spot machines, and what plays it."""
    catalogue = made.catalogue(tmp_path, made.fleet("f", most=1))
    policy = parse_policy(POLICY, "x.yaml", names_of(catalogue))
    trace = made.trace([i * 20.0 for i in range(360)])
    spot = [
        replace(unit, offers=tuple(o for o in unit.offers if o.option == "spot"))
        for unit in market(catalogue).units
    ]
    sold = replace(market(catalogue), units=tuple(spot))
    maker = Maker(world(policy, catalogue), trace, sold, 0.0)
    asked = Asked(*("made", SLO, None, None, tmp_path, "local", None, (), False, 0.95, 6.0, 0.6, 7))
    return Bench(asked, catalogue, policy, trace, maker, Highs())


def with_spot(bench):
    return solve(bench.maker(Terms(SLO, None, 0.95)), Highs(), Limits(gap=0.0))


def played(bench, plan, settings, prices):
    counted = bench.maker.demand(None, 0.95)
    classes = Classes(plan.problem.classes, counted.class_of)
    return play(bench.world(plan), bench.trace, SLO, settings, prices, classes)


def test_what_was_kept_is_told_by_class(bench):
    plan = with_spot(bench)
    found = bench.play(plan)
    (name,) = found.by_class
    assert found.by_class[name].requests == len(bench.trace)
    assert found.by_class[name].attained == found.attained


def test_a_plan_is_replayed_with_the_seed_and_the_spot_interruptions_that_it_was_asked_for(bench):
    plan = with_spot(bench)
    for prices in (None, PRICES):
        found = bench.play(plan, prices)
        asked_for = Settings(seed=7, spot_interruptions_per_hour=6.0)
        assert found == played(bench, plan, asked_for, prices)
        for other in (
            replace(asked_for, seed=8),
            replace(asked_for, spot_interruptions_per_hour=0),
        ):
            assert found != played(bench, plan, other, prices)


def test_where_a_rule_has_one_fleet_to_go_to_prices_change_nothing(bench):
    asleep = replace(bench, trace=made.trace([0.0, 20.0, 20_000.0, 20_020.0]))
    asleep.maker.trace = asleep.trace
    plan = with_spot(asleep)
    assert min(plan.purchases[0].machines) == 0  # it is woken, too
    assert not asleep.chooses(plan)
    prices = ShadowPrices({"f": (0.0, 10.0, 0.0, 0.001, 0.0, 5.0)})
    assert asleep.play(plan, prices) == asleep.play(plan)


def test_a_rule_with_two_fleets_to_go_to_chooses(tmp_path):
    catalogue = made.catalogue(tmp_path, made.fleet("f"), made.fleet("g", "a1", least=1))
    policy = parse_policy(POLICY, "x.yaml", names_of(catalogue))
    maker = Maker(world(policy, catalogue), made.trace([0.0, 20.0]), market(catalogue), 0.0)
    asked = Asked(*("made", SLO, None, None, tmp_path, "local", None, (), False, 0.95, 0.0, 0.6, 7))
    both = Bench(asked, catalogue, policy, maker.trace, maker, Highs())
    plan = with_spot(both)
    run = plan.runs[0]
    split = [replace(run, fleet=name) for name in ("f", "g")]
    one = [replace(run, fleet="g")]
    assert both.chooses(replace(plan, runs=tuple(split)))
    assert not both.chooses(replace(plan, runs=tuple(one)))

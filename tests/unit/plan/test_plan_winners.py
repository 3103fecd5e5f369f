from dataclasses import replace

from backends import files
from router.plan.highs import Highs
from router.plan.offers import market
from router.plan.program import Limits
from router.plan.slo import Slo
from router.plan.winners import best, template
from router.world import fleet_models

CATALOGUE = files.catalogue(None)
SMALL = frozenset({"local-qwen3-tiny"})
EXACT = Limits(gap=0.0)


def of(heavy_ms=5000.0):
    units = [
        replace(unit, most=40, wake_s=0.0)
        for unit in market(CATALOGUE, from_zero=True).units
        if unit.id in ("local-qwen3-tiny", "inf2-scout", "trn2-scout", "p5-scout")
    ]
    models = {on.fleet.id: on for on in fleet_models(CATALOGUE)}
    return template(units, models, SMALL, (200, 200), (Slo(5000.0), Slo(heavy_ms)))


def test_little_that_is_all_simple_is_the_small_machines():
    assert best(of(), 100.0, 1.0, Highs(), EXACT).winners == ("local-qwen3-tiny",)


def test_one_hard_request_takes_a_large_machine_which_then_serves_the_simple_ones_too():
    assert best(of(), 1000.0, 0.99, Highs(), EXACT).winners == ("inf2-scout",)


def test_tighter_times_are_dearer_machines():
    assert best(of(250.0), 1000.0, 0.5, Highs(), EXACT).winners == ("trn2-scout",)
    assert best(of(200.0), 1000.0, 0.5, Highs(), EXACT).winners == ("p5-scout",)


def test_what_nobody_can_do_has_no_winner():
    assert best(of(100.0), 1000.0, 0.5, Highs(), EXACT).usd_per_hour is None

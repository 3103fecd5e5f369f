"""From which traffic on an always-on machine is the cheaper one."""

import pytest

from backends import cost, files
from backends.break_even import Economy, crossings, economy
from backends.fleet_model import prepare

FLEETS = {fleet.id: prepare(fleet) for fleet in files.catalogue(None).fleets}
C8G, P5, INF2 = (FLEETS[name] for name in ("local-qwen3-tiny", "p5-scout", "inf2-scout"))


def met(busy, always_on):
    economies = [economy(on, 200, 200) for on in (busy, always_on)]
    return {
        c.replicas: c.requests_per_hour
        for c in crossings(economies)
        if (c.busy, c.always_on) == (busy.fleet.id, always_on.fleet.id)
    }


@pytest.mark.parametrize(("always_on", "requests"), [(P5, 297_292), (INF2, 38_976)])
def test_busy_graviton_boxes_meet_one_always_on_machine_where_the_formula_says(always_on, requests):
    assert round(met(C8G, always_on)[1]) == requests
    # S1's own time of such a request, 7.47 s, says nearly the same
    measured = always_on.usd_per_hour / cost.usd(0.15952, 7.47)
    assert met(C8G, always_on)[1] == pytest.approx(measured, rel=0.003)


def test_each_size_of_a_fleet_has_its_own_crossing():
    found = met(C8G, INF2)
    assert found == pytest.approx({n: n * found[1] for n in (1, 2, 3, 4)})


def test_a_machine_that_is_full_before_it_is_cheaper_never_is():
    assert met(P5, C8G) == {}


def test_at_the_crossing_both_cost_the_same_and_beyond_the_machine_is_cheaper():
    busy, always_on = economy(C8G, 200, 200), economy(P5, 200, 200)
    at = met(C8G, P5)[1]
    assert always_on.usd_always_on(1, at) == pytest.approx(busy.usd_busy)
    assert always_on.usd_always_on(1, at * 1.1) < busy.usd_busy
    assert always_on.usd_always_on(1, always_on.rph_full * 1.01) is None


def test_a_fleet_without_a_price_has_no_economy():
    assert economy(prepare_without_price(), 200, 200) is None


def prepare_without_price():
    from dataclasses import replace

    return prepare(replace(C8G.fleet, price=None))


def test_equal_fleets_meet_where_they_are_full():
    one = Economy("a", 3.6, 0.001, 3600.0, 1)
    other = Economy("b", 3.6, 0.001, 3600.0, 1)
    assert [c.requests_per_hour for c in crossings([one, other])] == pytest.approx([3600, 3600])

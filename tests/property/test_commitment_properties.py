"""Savings plans against an oracle that tries every order of spending the commitment."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.commitments import Usage, cover
from backends.prices import Pool

NAMES = ["a", "b", "c"]
replicas = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])
prices = st.sampled_from(
    [(10.0, 6.0), (10.0, 9.0), (4.0, 1.0), (4.0, 4.0), (4.0, 5.0), (8.0, None)]
)
commitments = st.sampled_from([0.5, 3.0, 6.0, 12.0, 100.0])


@st.composite
def usages(draw):
    return [
        Usage(name, f"{family}.x", "r", draw(replicas), *draw(prices))
        for name, family in zip(NAMES, draw(st.permutations(["p", "q", "p"])), strict=True)
    ]


def pools_of(amounts):
    families = [("p",), ("p", "q")]
    return [Pool(f"pool{i}", usd, families[i], ()) for i, usd in enumerate(amounts)]


pools = st.lists(commitments, max_size=2).map(pools_of)


def spent(usage, covered):
    return covered * (usage.plan_usd or 0.0)


@given(usages(), pools)
def test_nothing_is_covered_twice_and_no_pool_pays_more_than_it_has(used, given_pools):
    found = cover(used, given_pools)
    for usage in used:
        assert -1e-9 <= found.replicas[usage.fleet] <= usage.replicas + 1e-9
    total = sum(pool.usd_per_hour for pool in given_pools)
    drawn = sum(spent(usage, found.replicas[usage.fleet]) for usage in used)
    assert drawn + sum(found.unused_usd.values()) == pytest.approx(total)
    assert min(found.unused_usd.values(), default=0) >= 0


@given(usages(), pools)
def test_the_bill_is_the_commitments_and_what_they_dont_cover(used, given_pools):
    found = cover(used, given_pools)
    uncovered = sum((u.replicas - found.replicas[u.fleet]) * u.on_demand_usd for u in used)
    committed = sum(pool.usd_per_hour for pool in given_pools)
    assert found.usd_per_hour == pytest.approx(committed + uncovered)


@given(usages(), commitments)
def test_no_other_order_of_spending_one_pool_makes_the_bill_smaller(used, usd):
    """Where the discount is largest, a dollar of commitment takes the most on-demand dollars."""
    pool = Pool("only", usd, ("p", "q"), ())

    def bill(order):
        left, total = usd, usd + sum(u.replicas * u.on_demand_usd for u in used)
        for usage in order:
            if usage.plan_usd is None or usage.plan_usd >= usage.on_demand_usd:
                continue
            take = min(usage.replicas, left / usage.plan_usd)
            left -= take * usage.plan_usd
            total -= take * usage.on_demand_usd
        return total

    best = min(bill(order) for order in permutations(used))
    assert cover(used, [pool]).usd_per_hour == pytest.approx(best)


@given(usages(), pools, st.sampled_from(NAMES))
def test_more_usage_never_lowers_the_bill(used, given_pools, name):
    more = [
        Usage(u.fleet, u.instance, u.region, u.replicas + 1, u.on_demand_usd, u.plan_usd)
        if u.fleet == name
        else u
        for u in used
    ]
    less_usd, more_usd = (cover(which, given_pools).usd_per_hour for which in (used, more))
    assert more_usd >= less_usd - 1e-9


def test_the_largest_discount_goes_first_and_a_replica_may_be_covered_in_part():
    half = Usage("half", "p.x", "r", 1, 10.0, 5.0)
    tenth = Usage("tenth", "q.x", "r", 1, 10.0, 9.0)
    found = cover([tenth, half], [Pool("pool", 9.5, ("p", "q"), ())])
    assert found.replicas == {"half": 1.0, "tenth": pytest.approx(0.5)}
    assert found.unused_usd == {"pool": 0.0}
    assert found.usd_per_hour == pytest.approx(9.5 + 5.0)


def test_a_pool_covers_its_families_and_regions_only():
    pool = Pool("pool", 100.0, ("c8g",), ("us-east-1",))
    used = [
        Usage("here", "ml.c8g.xlarge", "us-east-1", 1, 2.0, 1.0),
        Usage("elsewhere", "c8g.xlarge", "eu-west-1", 1, 2.0, 1.0),
        Usage("other", "c7g.xlarge", "us-east-1", 1, 2.0, 1.0),
    ]
    found = cover(used, [pool])
    assert found.replicas == {"here": 1.0, "elsewhere": 0.0, "other": 0.0}
    assert found.unused_usd == {"pool": 99.0}

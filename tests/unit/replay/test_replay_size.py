"""Replicas, look by look: above its target a fleet grows, clearly below it shrinks."""

from dataclasses import replace

import pytest

from backends.scaling import Scaling
from backends.tariff import Tariff, Tranche
from router.replay.size import Size, on_spot

# A replica's target is 4 streams; it grows after 180 s above, shrinks after 900 s below.
GIVEN = Scaling(1, 10, 4.0, 180.0, 900.0, 120.0, 300.0, 60.0, 0.0)


def changes(used, standing, looks):
    """Return what each look a minute apart asks for; what is started is there at once."""
    size, found = Size(GIVEN, standing), []
    for look in range(1, looks + 1):
        change = size.look(used(look), 60.0, 60.0 * look)
        if change > 0:
            size.began(change)
            for _ in range(change):
                size.is_ready(60.0 * look)
        elif change < 0:
            size.went(-change)
        found.append(change)
    return found


@pytest.mark.parametrize(
    ("used", "standing", "wanted"),
    [
        # Just above the target, for three looks and not for two.
        (lambda _: 4.1, 1, {3: 1}),
        (lambda look: 0.0 if look == 2 else 4.1, 1, {5: 1}),
        (lambda _: 4.0, 1, {}),
        # Nine tenths of its target and up are no reason to shrink, below that are.
        (lambda _: 44.0, 12, {}),  # eleven would do, at 48 as the target of twelve
        (lambda _: 3.5, 2, {15: -1}),
        # It asks for more at each look, but not within the 120 s after it grew.
        (lambda look: 4.0 * min(look, 9) + 0.1, 1, {3: 3, 5: 2, 7: 2, 9: 2}),
        # It asks for less at each look, but not within the 300 s after it shrank.
        (lambda look: 30.0 if look < 16 else 16.0, 10, {15: -2, 20: -4}),
    ],
)
def test_a_fleet_follows_its_load_look_by_look(used, standing, wanted):
    found = changes(used, standing, 22)
    assert {look: change for look, change in enumerate(found, 1) if change} == wanted


def test_a_replica_runs_for_its_least_time_before_the_fleet_shrinks():
    # Ready at 60 s, and idle from then on: without a least time it would go at 900 s.
    size = Size(replace(GIVEN, min_run_s=2000.0), 1)
    size.began(1)
    size.is_ready(60.0)
    found = [size.look(0.5, 60.0, 60.0 * look) for look in range(1, 40)]
    assert next(look for look, change in enumerate(found, 1) if change) == 35  # 2100 s


def test_what_is_ready_beyond_the_most_goes_at_once():
    size = Size(replace(GIVEN, most=2), 0)
    size.began(2)
    size.block = 1
    size.is_ready(60.0)
    size.is_ready(60.0)
    assert (size.standing, size.starting, size.ready) == (1, 0, 2)


BLOCK = Tranche("capacity_block", 2, None, "cr-1", "2026-11-21T10:00:00Z", "2026-11-21T12:00:00Z")
SPOT, RESERVED = Tranche("spot", None, None), Tranche("reserved", 1, None)


@pytest.mark.parametrize(
    ("tranches", "standing", "spot"),
    [
        ((SPOT,), 3, 3),
        ((RESERVED, SPOT), 3, 2),
        # A block's machines are beside those that stand, whether they are there or not.
        ((BLOCK, SPOT), 2, 2),
        ((BLOCK, RESERVED, SPOT), 2, 1),
        ((RESERVED, BLOCK), 2, 0),
        ((BLOCK,), 2, 0),
    ],
)
def test_a_capacity_block_fills_no_place_of_who_stands_beside_it(tranches, standing, spot):
    assert on_spot(Tariff(tranches), standing) == spot

"""What a fleet's minute costs: what was seen, what the catalogue says, what is always paid for."""

from pathlib import Path

import pytest

from backends.load import Load
from router.minutes import always_paid, fleet_time
from router.sources import Sources

WORLD = Sources(Path("nowhere")).load()
NOON = 1_795_262_400.0  # a whole minute


def row_of(fleet, seen, replicas=1):
    loads = [Load(replicas=replicas)] * len(WORLD.fleets)
    rows = fleet_time(WORLD.fleets, loads, NOON, NOON + 30, seen)
    (row,) = [row for row in rows if row.fleet == fleet]
    assert (row.seconds, row.minute[-4:]) == (30, ":00Z")
    return row.replicas, row.source


@pytest.mark.parametrize(
    ("fleet", "seen", "row"),
    [
        ("p5-scout", {}, (1, "assumed")),
        ("p5-scout", {"p5-scout": 2}, (2, "observed")),
        ("p5-scout", {"p5-scout": 0}, (0, "observed")),  # scaled to zero: it costs nothing
        ("trn2-scout", {"trn2-scout": 1}, (1, "observed")),
        ("trn2-scout", {"trn2-scout": 0}, (1, "assumed")),  # it is paid for, and doesn't answer
    ],
)
def test_what_was_seen_is_paid_and_what_is_always_paid_for_too(fleet, seen, row):
    assert row_of(fleet, seen) == row


def test_replicas_that_are_always_there_are_always_paid_for():
    paid = {on.fleet.id: always_paid(on.fleet) for on in WORLD.fleets}
    assert (paid["p5-scout"], paid["trn2-scout"]) == (0, 1)

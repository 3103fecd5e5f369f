"""The numbers by which lanes grow and shrink, which their templates and replays share."""

from dataclasses import replace

import pytest
from replay_worlds import POLICIES, world_of

from backends.catalogue import Runs
from backends.scaling import (
    in_cooldown_s,
    out_cooldown_s,
    scaling_of,
    target_percent,
    target_streams,
)

FLEET = world_of(POLICIES[0]).fleets[0].fleet


def on(where, **more):
    return replace(FLEET, runs=Runs(where, "s3://bucket/key"), **more)


def test_a_replica_is_wanted_beyond_the_share_of_its_places():
    assert target_streams(FLEET.replicas) == pytest.approx(2.8)
    assert target_percent(FLEET.replicas) == 70


def test_cooldowns_are_the_catalogue_s_or_five_minutes():
    assert (out_cooldown_s(FLEET), in_cooldown_s(FLEET)) == (60, 600)
    silent = replace(FLEET, wake_seconds=None, min_run_seconds=None)
    assert (out_cooldown_s(silent), in_cooldown_s(silent)) == (300, 300)


@pytest.mark.parametrize(
    ("where", "out_s", "in_s", "most_in"),
    [("ecs", 180, 900, None), ("sagemaker", 30, 900, None), ("eks", 15, 600, 1)],
)
def test_each_place_has_its_own_pace(where, out_s, in_s, most_in):
    scaling = scaling_of(on(where), 1)
    found = scaling.out_after_s, scaling.in_after_s, scaling.most_in
    assert found == (out_s, in_s, most_in)
    assert (scaling.least, scaling.most, scaling.wake_s) == (1, 4, 60)


def test_what_does_not_say_how_long_it_takes_to_wake_takes_a_quarter_of_an_hour():
    assert scaling_of(on("eks", wake_seconds=None, min_run_seconds=None), 1).wake_s == 900

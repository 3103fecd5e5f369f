"""What a replay takes for granted stands in its report, and only what concerns it."""

from replay_worlds import POLICIES, box, catalogue_of, world_of

from router.replay.assumed import assumptions
from router.replay.outcome import Settings

PLAIN = """
version: 1
name: plain
baseline: m@a
rules: [{id: all, use: cpu}]
"""


def said(world, settings=None):
    return " | ".join(assumptions(world, settings or Settings()))


def test_fleets_without_a_profile_a_price_or_a_place_are_named():
    told = said(world_of(POLICIES[0]))
    assert "`api`: no profile, so 300 ms to the first token, 15 each" in told
    assert "`api`: no price by the hour, so the bill is what requests are charged" in told
    assert "`blind`: no time of a prompt" in told
    assert "`unpriced`: no price, so the bill is unknown" in told
    assert "grows as on ECS, after 180 s" in told
    assert "a replica that goes takes nothing new and is paid until its last answer" in told


def test_what_does_not_concern_these_fleets_and_this_policy_is_not_said():
    only = box("a", replicas={"min": 2, "max": 2, "concurrency_each": 4})
    told = said(world_of(PLAIN, catalogue_of(only)))
    for word in (
        "cascade",
        "hedges",
        "rate limits",
        "shadow",
        "no profile",
        "price",
        "Spot",
        "a replica that",
    ):
        assert word not in told


def test_a_canary_that_is_not_replayed_is_said():
    world = world_of(PLAIN + "canary: {policy: next, share: 0.5}\n", catalogue_of(box("a")))
    assert "its canary `next` is not replayed" in said(world)


def test_spot_and_budgets_that_are_left_out_are_said():
    spot = box("a", usd_per_hour=None, purchase="spot")
    budget = "budgets: [{id: b, match: {team: '*'}, usd: 1, per: day, when_spent: reject}]\n"
    world = world_of(PLAIN + budget, catalogue_of(spot))
    told = said(world, Settings(seed=7, spot_interruptions_per_hour=0.2, budgets=False))
    assert "`a`: a Spot replica is interrupted 0.2 times an hour" in told
    assert "budgets don't bind" in told
    assert "seed 7" in told

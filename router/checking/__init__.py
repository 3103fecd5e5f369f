"""What looks odd in a policy once its fleets, their prices and the keys are known. Pure."""

from collections.abc import Iterator, Sequence

from backends.load import Load
from policies.odd import Odd
from router.checking.fleets import fleet_oddities
from router.checking.money import money_oddities
from router.checking.tags import tag_oddities
from router.identity import Key
from router.world import World


def oddities(world: World, idle: Sequence[Load], keys: Sequence[Key]) -> Iterator[Odd]:
    """Yield all of it; `idle` are the loads of the world's fleets when nothing runs."""
    yield from fleet_oddities(world, idle)
    yield from money_oddities(world)
    yield from tag_oddities(world.policy, keys)

"""A discrete-event simulation of a trace over a world's fleets."""

from router.replay.outcome import Replayed, Settings
from router.traces.trace import Trace
from router.world import World


def replay(world: World, trace: Trace, settings: Settings | None = None) -> Replayed:
    """Return what became of every request, decided as the router decides."""
    raise NotImplementedError

"""A discrete-event simulation of a trace over a world's fleets.

Whatever comes first happens first: an arrival, the end of a stream at one of the fleets, or what
is on the agenda. Who serves is decided by `router.decide`, or in a few microseconds by what is
proved equal to it (router.replay.choosing).
"""

from router.replay.engine import Engine
from router.replay.outcome import Replayed, Settings
from router.traces.trace import Trace
from router.world import World


def replay(world: World, trace: Trace, settings: Settings | None = None) -> Replayed:
    """Return what became of every request, decided as the router decides."""
    engine = Engine(world, trace, settings or Settings())
    engine.run()
    return engine.replayed()

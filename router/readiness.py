"""What the router says of itself: whether it is ready, and by what it decides."""

import orjson

from router.canaries import Canaries
from router.runtime import Runtime


def readiness(runtime: Runtime, canaries: Canaries) -> tuple[bool, bytes]:
    """Return whether a fleet may be tried and the router isn't told to end, and that as JSON."""
    generation = runtime.generation
    loads = generation.tracker.loads(runtime.clock())
    fleets = {
        on.fleet.id: load.state for on, load in zip(generation.world.fleets, loads, strict=True)
    }
    status = "ready" if "ready" in fleets.values() else "no fleet is ready"
    status = "draining" if runtime.draining else status
    world = generation.world
    policy = {"name": world.policy.name, "hash": world.policy.hash, "stale": runtime.stale}
    if world.version is not None:
        policy["version"] = world.version
    said = {"status": status, "policy": policy, "fleets": fleets}
    if (canary := canaries.running()) is not None:
        said["canary"] = canary
    return status == "ready", orjson.dumps(said)


def show_loads(runtime: Runtime) -> None:
    """Have the metrics show what every fleet does now."""
    generation, metrics = runtime.generation, runtime.metrics
    tracker, now_s = generation.tracker, runtime.clock()
    loads = tracker.loads(now_s)
    metrics.forget_loads()
    for on, load in zip(generation.world.fleets, loads, strict=True):
        name = on.fleet.id
        metrics.show(name, tracker.in_flight(name), load, tracker.seen(name, now_s))

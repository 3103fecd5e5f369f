"""A candidate decides too: the receipt keeps the difference, metrics count it, nothing is sent."""

from router.candidate_decision import compared
from router.decide import Decision
from router.metrics import Metrics
from router.receipt import Json
from router.world import World


def decided_beside(world: World, decision: Decision, metrics: Metrics) -> Json | None:
    """Return the receipt's `candidate`, and count it; None: there is no candidate."""
    if world.candidate is None:
        return None
    found = compared(world.candidate, decision)
    metrics.candidate.labels(found["outcome"]).inc()
    if found["usd"] is not None and found["usd_in_force"] is not None:
        metrics.candidate_usd.labels("candidate").inc(found["usd"])
        metrics.candidate_usd.labels("in_force").inc(found["usd_in_force"])
    return found

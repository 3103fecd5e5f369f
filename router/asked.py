"""A request on its way: who asks, what for, and what was decided of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backends.load import Load
from router import wire
from router.canaries import Arm
from router.decide import Decision, decide
from router.identity import Key
from router.rates import Limit, limits_of
from router.runtime import Generation


@dataclass(frozen=True, slots=True)
class Asked:
    """`body_hash`: where it has an idempotency key. `rank`: among all requests that wait. `arm`:
    while a canary runs.
    """

    key: Key
    hints: wire.Hints
    request: wire.ChatRequest
    body_hash: str
    decision: Decision
    generation: Generation
    rank: float
    arm: Arm | None = None

    def decided(self, loads: Sequence[Load]) -> Decision:
        """Decide the same request at other loads."""
        facts, stream = self.decision.facts, self.request.stream
        return decide(self.generation.world, facts, loads, stream=stream)

    @property
    def limits(self) -> Sequence[Limit]:
        written = self.generation.world.policy.rate_limits
        return limits_of(self.key, written, self.decision.facts)


def in_time(decision: Decision, waited_ms: float) -> Decision:
    """Take what was waited for a place off the deadline."""
    if not waited_ms:
        return decision
    limits = decision.plan.limits
    left_ms = max(1, limits.deadline_ms - math.ceil(waited_ms))
    plan = replace(decision.plan, limits=replace(limits, deadline_ms=left_ms))
    return replace(decision, plan=plan, waited_ms=waited_ms)

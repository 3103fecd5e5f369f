"""Which sleeping fleet a request would have woken, and from how many on it is worth it. Pure.

A request is decided once more as if who sleeps were ready, one idle replica each. Only the winner
of that is woken, and only where somebody really missed it: nobody else could serve, the policy's
limits gave way that it meets, or it is cheaper by more than waking it costs.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from backends import cost
from backends.fleet_model import FleetModel
from backends.load import Load
from policies.model import Soft
from router.decide import Decision, decide
from router.estimate import Estimate
from router.world import World

ASLEEP = frozenset({"cold", "waking"})


class Priced(Protocol):
    """What a candidate costs. USD; None: unknown."""

    @property
    def on(self) -> FleetModel: ...
    @property
    def usd_marginal(self) -> float | None: ...
    @property
    def usd_router(self) -> float: ...


class Sleeper(NamedTuple):
    """A fleet that would have served. It is worth waking once more than `beyond` requests have
    missed it while it would have to run: 0 is at once, infinity never.
    """

    candidate: Estimate
    beyond: float


def if_awake(world: World, decision: Decision) -> Decision | None:
    """Return what would be decided if nobody slept; None: nobody was refused for that, or whoever
    serves costs nothing more and meets every limit, which no sleeper can better.
    """
    if all(refused.code != "cold" for refused in decision.verdict.refused):
        return None
    if _costs_nothing(decision):
        return None
    loads = [_awake(load) for load in decision.loads]
    return decide(world, decision.facts, loads, stream=decision.plan.stream)


def sleeper(decision: Decision, awake: Decision) -> Sleeper | None:
    """Return whom the request missed; `awake` is what `if_awake` made of the decision."""
    asleep = {r.candidate.fleet: r.candidate for r in decision.verdict.refused if r.code == "cold"}
    served = _served(decision, awake)
    if served is None or served.fleet not in asleep:
        return None
    if not decision.plan.attempts or _is_unsure(decision):
        return Sleeper(asleep[served.fleet], 0.0)
    real = decision.plan.attempts[0].candidate
    beyond = 0.0 if _gave_way(decision, awake, real) else pays_beyond(served, real)
    return Sleeper(asleep[served.fleet], beyond)


def _awake(load: Load) -> Load:
    if load.state not in ASLEEP:
        return load
    return replace(load, state="ready", in_flight=0, queued=None, replicas=1, limit=None)


def _costs_nothing(decision: Decision) -> bool:
    """Return whether somebody serves within every limit, on capacity that is paid for anyway."""
    if not decision.plan.attempts or decision.verdict.relaxed or _is_unsure(decision):
        return False
    return decision.plan.attempts[0].candidate.usd_marginal == 0


def _is_unsure(decision: Decision) -> bool:
    """Return whether the one answer is tested, and nobody follows where it fails."""
    return bool(decision.plan.attempts[0].accept_if) and not _sure(decision)


def _sure(decision: Decision) -> Sequence[Estimate]:
    """Return a cascade's fleets whose answer isn't tested."""
    return decision.verdict.ranked[decision.verdict.tried :]


def _served(decision: Decision, awake: Decision) -> Estimate | None:
    """Return who would have served, or in a cascade who would have followed, if nobody does."""
    if not awake.plan.attempts:
        return None
    if decision.plan.attempts and _is_unsure(decision):
        return next(iter(_sure(awake)), None)
    return awake.plan.attempts[0].candidate


def _gave_way(decision: Decision, awake: Decision, real: Estimate) -> bool:
    """Return whether a limit of the policy's was relaxed that the sleeper meets. A limit that is
    the caller's wish alone starts no machine.
    """
    gained: set[Soft] = {*decision.verdict.relaxed}.difference(awake.verdict.relaxed)
    if decision.facts.slo_ttft_ms is not None and "slo.ttft" in gained:
        own_ms, p95_ms = decision.plan.settings.slo.ttft_p95_ms, real.ttft_p95_ms
        if own_ms is None or (p95_ms is not None and p95_ms <= own_ms):
            gained.discard("slo.ttft")
    return bool(gained)


def pays_beyond(served: Priced, real: Priced) -> float:
    """Return how many requests' savings pay for waking; infinite where that is unknown."""
    on = served.on
    if on.usd_per_hour is None or served.usd_marginal is None or real.usd_marginal is None:
        return math.inf
    saved = real.usd_marginal + real.usd_router - served.usd_marginal - served.usd_router
    if saved <= 0:
        return math.inf
    fleet = on.fleet
    wake_s, run_s = fleet.wake_seconds or 0, fleet.min_run_seconds or 0
    return cost.wake_usd_per_request(on.usd_per_hour, wake_s, run_s, None) / saved

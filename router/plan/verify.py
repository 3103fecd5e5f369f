"""The plan played: its fleets and routes under the trace, and planned anew where it was too late.

Pure, as a replay is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from router.plan.slo import Slo
from router.plan.solve import Plan
from router.replay.outcome import SERVED, Replayed, Settings
from router.replay.run import replay
from router.replay.shadow_prices import ShadowPrices
from router.traces.trace import Trace
from router.world import World

WANTED = 0.95  # of the requests
TIGHTER = 0.8  # of what a fleet carries, where the replay was too late
ROUNDS = 6
WEEK_S = 168 * 3600.0


@dataclass(frozen=True, slots=True)
class Played:
    """`attained`: the share of all requests that were served within the SLO. `usd_per_week` None:
    a price is unknown.
    """

    attained: float
    ttft_p95_ms: float | None
    e2e_p95_ms: float | None
    usd_per_week: float | None
    refused: int
    by_fleet: Mapping[str, int]

    @property
    def held(self) -> bool:
        return self.attained >= WANTED


@dataclass(frozen=True, slots=True)
class Round:
    """A plan with this `fill`, and what became of it; `played` None: the same counts as before."""

    fill: float
    plan: Plan
    played: Played | None


Remake = Callable[[float], Plan | None]
"""The plan whose fleets are filled to this share of what they carry."""


def verified(
    plan: Plan, play_of: Callable[[Plan], Played], remake: Remake
) -> tuple[tuple[Round, ...], bool]:
    """Play the plan, and tighter ones until one holds. Returns the rounds, and whether one did."""
    fill, rounds = plan.problem.fill, [Round(plan.problem.fill, plan, play_of(plan))]
    while True:
        last = rounds[-1].played
        if last is not None and last.held:
            return tuple(rounds), True
        if len(rounds) == ROUNDS:
            return tuple(rounds), False
        fill *= TIGHTER
        tighter = remake(fill)
        if tighter is None:
            return tuple(rounds), False
        same = counts(tighter) == counts(rounds[-1].plan)
        rounds.append(Round(fill, tighter, None if same else play_of(tighter)))


def counts(plan: Plan) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return what a plan's fleets are made from: equal counts are played alike."""
    return tuple((purchase.unit, purchase.machines) for purchase in plan.purchases)


def best(rounds: tuple[Round, ...]) -> Round:
    """Return the round that holds, else the one that came nearest."""
    played = [each for each in rounds if each.played is not None]
    return max(played, key=lambda each: (each.played.attained if each.played else 0.0, each.fill))


def play(
    world: World,
    trace: Trace,
    slo: Slo,
    settings: Settings | None = None,
    prices: ShadowPrices | None = None,
) -> Played:
    """Replay the trace in this world; with `prices` they stand for the curve over utilisation."""
    settings = replace(settings or Settings(), budgets=False, shadow_prices=prices)
    return judged(replay(world, trace, settings), slo)


def judged(run: Replayed, slo: Slo) -> Played:
    served = [i for i, outcome in enumerate(run.outcome) if outcome == SERVED]
    met = sum(slo.met(run.ttft_ms[i], run.e2e_ms[i]) for i in served)
    bills = [fleet.usd_bill for fleet in run.fleets]
    usd = None
    if run.seconds and all(bill is not None for bill in bills):
        whole = math.fsum(bill for bill in bills if bill is not None) + run.usd_router
        usd = whole * WEEK_S / run.seconds
    return Played(
        met / len(run.outcome) if run.outcome else 0.0,
        _p95([run.ttft_ms[i] for i in served]),
        _p95([run.e2e_ms[i] for i in served]),
        usd,
        len(run.outcome) - len(served),
        {fleet.fleet: fleet.requests for fleet in run.fleets if fleet.requests},
    )


def _p95(found: list[float]) -> float | None:
    found.sort()
    return found[max(0, math.ceil(WANTED * len(found)) - 1)] if found else None

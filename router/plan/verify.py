"""The plan played: its fleets and routes under the trace, and planned anew where it was too late.

Pure, as a replay is.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.plan.demand import RequestClass
from router.plan.slo import Slo
from router.plan.solve import Plan
from router.replay.outcome import SERVED, Replayed, Settings
from router.replay.run import replay
from router.replay.shadow_prices import ShadowPrices
from router.traces.trace import Trace
from router.world import World

WANTED = 0.95  # of the requests
FORGIVEN = 1  # late request of a class: of fewer than 20, 5 % is less than one
TINY = 1e-9
TIGHTER = 0.8  # of what a fleet carries, where the replay was too late
ROUNDS = 6
WEEK_S = 168 * 3600.0


@dataclass(frozen=True, slots=True)
class Classes:
    """What a replay is judged by beside the whole: `of` each request the place of its class."""

    each: Sequence[RequestClass] = ()
    of: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class ByClass:
    """How many requests of a class there were, and were served `within` the SLO. `late`: no fleet
    is fast enough for it, and it has no limit.
    """

    requests: int
    within: int
    late: bool = False

    @property
    def attained(self) -> float:
        return self.within / self.requests

    @property
    def held(self) -> bool:
        """Whether 95 % kept to the SLO; of fewer than 20 requests, all but one."""
        missed = self.requests - self.within
        return self.late or missed <= max(FORGIVEN, (1 - WANTED) * self.requests + TINY)


@dataclass(frozen=True, slots=True)
class Played:
    """`attained`: the share of all requests that were served within the SLO, `by_class` of each
    class by its id. `usd_per_week` None: a price is unknown.
    """

    attained: float
    ttft_p95_ms: float | None
    e2e_p95_ms: float | None
    usd_per_week: float | None
    refused: int
    by_fleet: Mapping[str, int]
    by_class: Mapping[str, ByClass] = field(default_factory=dict)

    @property
    def missed(self) -> tuple[str, ...]:
        """Return the classes that don't hold, the worst first."""
        missed = [name for name, each in self.by_class.items() if not each.held]
        return tuple(sorted(missed, key=lambda name: self.by_class[name].attained))

    @property
    def held(self) -> bool:
        return self.attained >= WANTED and not self.missed


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
    return max(played, key=_nearness)


def _nearness(of: Round) -> tuple[bool, int, float, float]:
    assert of.played is not None  # only those that were played are compared
    return of.played.held, -len(of.played.missed), of.played.attained, of.fill


def play(
    world: World,
    trace: Trace,
    slo: Slo,
    settings: Settings | None = None,
    prices: ShadowPrices | None = None,
    classes: Classes | None = None,
) -> Played:
    """Replay the trace in this world; with `prices` they stand for the curve over utilisation."""
    settings = replace(settings or Settings(), budgets=False, shadow_prices=prices)
    return judged(replay(world, trace, settings), slo, classes or Classes())


def judged(run: Replayed, slo: Slo, classes: Classes) -> Played:
    served = [i for i, outcome in enumerate(run.outcome) if outcome == SERVED]
    met = [i for i in served if slo.met(run.ttft_ms[i], run.e2e_ms[i])]
    bills = [fleet.usd_bill for fleet in run.fleets]
    usd = None
    if run.seconds and all(bill is not None for bill in bills):
        whole = math.fsum(bill for bill in bills if bill is not None) + run.usd_router
        usd = whole * WEEK_S / run.seconds
    return Played(
        len(met) / len(run.outcome) if run.outcome else 0.0,
        _p95([run.ttft_ms[i] for i in served]),
        _p95([run.e2e_ms[i] for i in served]),
        usd,
        len(run.outcome) - len(served),
        {fleet.fleet: fleet.requests for fleet in run.fleets if fleet.requests},
        _by_class(classes, met),
    )


def _by_class(classes: Classes, met: Iterable[int]) -> dict[str, ByClass]:
    asked, within = Counter(classes.of), Counter(classes.of[i] for i in met if classes.of)
    return {
        requests.id: ByClass(asked[place], within[place], requests.late)
        for place, requests in enumerate(classes.each)
        if asked[place]
    }


def _p95(found: list[float]) -> float | None:
    found.sort()
    return found[max(0, math.ceil(WANTED * len(found)) - 1)] if found else None

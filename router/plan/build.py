"""A problem -> the integer program whose optimum is the plan. Pure; formulas: docs/plan.md.

Columns, for each level of traffic: which count of replicas a fleet runs in which of its modes
(one of them, or none) and how many of those are on Spot machines, how many requests a second of
each class go there, how many machines are bought by the hour; and once for the whole time: the
machines bought ahead.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.plan.offers import SPOT, Unit
from router.plan.problem import Problem
from router.plan.program import INF, Program

Share = tuple[int, int, str, int]
"""Level, class, fleet, mode."""
Count = tuple[int, str, int, int]
"""Level, fleet, mode, replicas."""
Bought = tuple[int, str, str]
"""Level, unit, option."""


@dataclass(slots=True)
class Built:
    """The program, and where each of its parts stands. `missed`: of each level and class, where
    the program may leave requests unserved.
    """

    program: Program = field(default_factory=Program)
    shares: dict[Share, int] = field(default_factory=dict)
    counts: dict[Count, int] = field(default_factory=dict)
    hourly: dict[Bought, int] = field(default_factory=dict)
    fixed: dict[tuple[str, str], int] = field(default_factory=dict)
    starts: dict[tuple[str, int, int], int] = field(default_factory=dict)
    covered: dict[tuple[int, str, str], int] = field(default_factory=dict)
    capacity: dict[tuple[int, str, int], int] = field(default_factory=dict)
    on_spot: dict[Count, int] = field(default_factory=dict)
    missed: dict[tuple[int, int], int] = field(default_factory=dict)


def build(problem: Problem, *, missed_usd: float | None = None) -> Built:
    """Write the program. With `missed_usd` a second's worth of unserved requests costs so much,
    and the program always has a solution.
    """
    built = Built()
    _machines(problem, built)
    for level in range(len(problem.levels)):
        _counts(problem, built, level)
        _on_spot(problem, built, level)
        _routes(problem, built, level)
        _demand(problem, built, level, missed_usd)
        _bought(problem, built, level)
    _starts(problem, built)
    _pools(problem, built)
    return built


def _machines(problem: Problem, built: Built) -> None:
    hours = sum(level.weight for level in problem.levels)
    program = built.program
    for unit in problem.units:
        for offer in unit.offers:
            most = unit.most if offer.most is None else min(offer.most, unit.most)
            if offer.fixed:
                usd = offer.usd_per_hour * hours
                column = program.column(usd, 0, most, whole=True)
                built.fixed[unit.id, offer.option] = column
                continue
            for level, hour in enumerate(problem.levels):
                usd = offer.usd_per_hour * hour.weight
                column = program.column(usd, 0, most, whole=True)
                built.hourly[level, unit.id, offer.option] = column


def _counts(problem: Problem, built: Built, level: int) -> None:
    """One count in one mode, at most, for each fleet: what it carries grows faster than it."""
    program = built.program
    for fleet, ways in problem.modes.items():
        own = {}
        for j, mode in enumerate(ways):
            for n in range(1, len(mode.replicas_busy) + 1):
                column = program.column(0.0, 0, 1, whole=True)
                built.counts[level, fleet, j, n] = column
                own[column] = 1.0
        if own:
            program.row(own, high=1.0)


def _on_spot(problem: Problem, built: Built, level: int) -> None:
    """Count the replicas that run on Spot machines, as the others don't suffice: of each count, as
    its capacity is what they take from.
    """
    for unit in problem.units:
        if spot_absence(problem, unit) <= 0:
            continue
        for fleet in unit.fleets:
            for count in _counts_of(built, level, fleet):
                n = float(count[3])
                column = built.program.column(0.0, 0, n)
                built.on_spot[count] = column
                built.program.row({column: 1.0, built.counts[count]: -n}, high=0.0)


def _counts_of(built: Built, level: int, fleet: str) -> list[Count]:
    return [count for count in built.counts if count[:2] == (level, fleet)]


def _routes(problem: Problem, built: Built, level: int) -> None:
    program, rates = built.program, problem.levels[level].rates
    absent = {fleet: spot_absence(problem, unit) for unit in problem.units for fleet in unit.fleets}
    for fleet, ways in problem.modes.items():
        for j, mode in enumerate(ways):
            taken = {}
            for place, busy_s in zip(mode.classes, mode.busy_s, strict=True):
                if rates[place] <= 0:
                    continue
                column = program.column(0.0, 0, rates[place])
                built.shares[level, place, fleet, j] = column
                taken[column] = busy_s
            if not taken:
                continue
            for n, busy in enumerate(mode.replicas_busy, 1):
                taken[built.counts[level, fleet, j, n]] = -busy * problem.fill
                if (on_spot := built.on_spot.get((level, fleet, j, n))) is not None:
                    taken[on_spot] = absent[fleet] * busy / n * problem.fill
            built.capacity[level, fleet, j] = program.row(taken, high=0.0)


def _demand(problem: Problem, built: Built, level: int, missed_usd: float | None) -> None:
    served: dict[int, dict[int, float]] = {
        place: {} for place, rate in enumerate(problem.levels[level].rates) if rate > 0
    }
    for (at, place, _, _), column in built.shares.items():
        if at == level:
            served[place][column] = 1.0
    for place, terms in served.items():
        rate = problem.levels[level].rates[place]
        if missed_usd is not None:
            column = built.program.column(missed_usd, 0, rate)
            built.missed[level, place] = column
            terms[column] = 1.0
        built.program.row(terms, rate, rate)


def _bought(problem: Problem, built: Built, level: int) -> None:
    """Replicas run on machines that are bought, on Spot where the others don't suffice. All
    machines together are as many as the catalogue's bounds say.
    """
    program = built.program
    for unit in problem.units:
        machines = {column: 1.0 for (name, _), column in built.fixed.items() if name == unit.id}
        firm = dict(machines)
        for (at, name, option), column in built.hourly.items():
            if (at, name) == (level, unit.id):
                machines[column] = 1.0
                if option != SPOT:
                    firm[column] = 1.0
        program.row(machines, float(unit.least), float(unit.most) if machines else INF)
        for fleet in unit.fleets:
            own = _counts_of(built, level, fleet)
            run = {built.counts[count]: float(count[3]) for count in own}
            if run:
                program.row({**run, **dict.fromkeys(machines, -1.0)}, high=0.0)
            on_spot = {built.on_spot[count]: -1.0 for count in own if count in built.on_spot}
            if on_spot:
                program.row({**run, **on_spot, **dict.fromkeys(firm, -1.0)}, high=0.0)


def spot_absence(problem: Problem, unit: Unit) -> float:
    """Return the share of the time that a Spot machine of this unit is away; 0: it sells none."""
    if all(offer.option != SPOT for offer in unit.offers):
        return 0.0
    return 1.0 - unit.spot_worth(problem.spot_interruptions_per_hour)


def passages(problem: Problem) -> Mapping[tuple[int, int], int]:
    """Return how often one level follows another; after the last hour the first comes again."""
    of = problem.level_of
    following = zip(of, (*of[1:], *of[:1]), strict=True)
    return Counter(pair for pair in following if pair[0] != pair[1])


def _starts(problem: Problem, built: Built) -> None:
    """A machine of the hour that wasn't there in the hour before is paid for while it starts."""
    program = built.program
    for unit in problem.units:
        offers = [offer for offer in unit.offers if not offer.fixed]
        if not offers or not unit.start_hours:
            continue
        usd = min(offer.usd_per_hour for offer in offers) * unit.start_hours
        for (before, after), times in passages(problem).items():
            column = program.column(usd * times)
            built.starts[unit.id, before, after] = column
            terms = {column: -1.0}
            for offer in offers:
                terms[built.hourly[after, unit.id, offer.option]] = 1.0
                terms[built.hourly[before, unit.id, offer.option]] = -1.0
            program.row(terms, high=0.0)


def _pools(problem: Problem, built: Built) -> None:
    """A savings plan that exists is paid anyway: what it covers of an hour costs nothing more."""
    program = built.program
    for level, hour in enumerate(problem.levels):
        taken: dict[str, dict[int, float]] = {}
        for unit in problem.units:
            machines = built.hourly.get((level, unit.id, "on_demand"))
            if machines is None or unit.plan_usd is None or not unit.pools:
                continue
            listed = next(o.usd_per_hour for o in unit.offers if o.option == "on_demand")
            if listed <= unit.plan_usd:
                continue
            covers = {}
            for pool in unit.pools:
                column = program.column(-listed * hour.weight)
                built.covered[level, unit.id, pool] = column
                covers[column] = 1.0
                taken.setdefault(pool, {})[column] = unit.plan_usd
            program.row({**covers, machines: -1.0}, high=0.0)
        for existing in problem.market.pools:
            if existing.id in taken:
                program.row(taken[existing.id], high=existing.usd_per_hour)

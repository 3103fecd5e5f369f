"""The program's solution, read back as machines, replicas and shares of traffic. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from router.plan.build import Built, build, spot_absence
from router.plan.problem import Problem
from router.plan.program import Limits, Program, Solution, Solver

TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Purchase:
    """Machines of one unit. `fixed`: by option, over the whole time. `hourly`: of each level of
    traffic by option. `machines`: of each level, both together.
    """

    unit: str
    fixed: Mapping[str, int]
    hourly: tuple[Mapping[str, int], ...]
    machines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One fleet in one level. `replicas` that are counted on, `mode` its place; `busy`: the
    replica-seconds a second that it is given; `routed`: requests a second by class.
    """

    fleet: str
    level: int
    mode: int
    replicas: int
    busy: float
    carries: float
    routed: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """`usd`: the bill of the hours of the trace, `usd_per_week` of a week; with `usd_pools`, the
    savings plans that exist. `gap`: how far it may be from the cheapest, relative.
    """

    problem: Problem
    usd: float
    usd_per_week: float
    usd_pools: float
    purchases: tuple[Purchase, ...]
    runs: tuple[Run, ...]
    gap: float
    missed: Mapping[tuple[int, int], float]

    def purchase(self, unit: str) -> Purchase:
        return next(p for p in self.purchases if p.unit == unit)


def solve(
    problem: Problem, solver: Solver, limits: Limits, *, missed_usd: float | None = None
) -> Plan | None:
    """Return the cheapest plan; None: there is none (or none was found within the limits)."""
    built = build(problem, missed_usd=missed_usd)
    solution = solver.solve(built.program, limits)
    return read(problem, built, solution) if solution.values else None


def read(problem: Problem, built: Built, solution: Solution) -> Plan:
    value = solution.values
    hours = math.fsum(level.weight for level in problem.levels)
    pools = hours * math.fsum(pool.usd_per_hour for pool in problem.market.pools)
    missed = {at: value[column] for at, column in built.missed.items() if value[column] > TINY}
    usd = _usd(built.program, value, set(built.missed.values())) + pools
    return Plan(
        problem,
        usd,
        usd * problem.per_week,
        pools * problem.per_week,
        tuple(_purchase(problem, built, value, unit.id) for unit in problem.units),
        tuple(_runs(problem, built, value)),
        solution.gap,
        missed,
    )


def _usd(program: Program, value: tuple[float, ...], other_than: set[int]) -> float:
    """Return the bill of the whole numbers that the solution's floats stand for."""
    each = (round(v) if whole else v for v, whole in zip(value, program.whole, strict=True))
    return math.fsum(
        cost * v
        for place, (cost, v) in enumerate(zip(program.cost, each, strict=True))
        if place not in other_than
    )


def _purchase(problem: Problem, built: Built, value: tuple[float, ...], unit: str) -> Purchase:
    fixed = {o: round(value[c]) for (name, o), c in built.fixed.items() if name == unit}
    hourly = tuple(
        {
            option: round(value[column])
            for (at, name, option), column in built.hourly.items()
            if (at, name) == (level, unit)
        }
        for level in range(len(problem.levels))
    )
    machines = tuple(sum(fixed.values()) + sum(each.values()) for each in hourly)
    return Purchase(unit, fixed, hourly, machines)


def _runs(problem: Problem, built: Built, value: tuple[float, ...]) -> list[Run]:
    found = []
    absent = {fleet: spot_absence(problem, unit) for unit in problem.units for fleet in unit.fleets}
    for (level, fleet, j, n), column in built.counts.items():
        if round(value[column]) != 1:
            continue
        mode = problem.modes[fleet][j]
        busy_s = dict(zip(mode.classes, mode.busy_s, strict=True))
        routed = {
            place: value[share]
            for (at, place, name, way), share in built.shares.items()
            if (at, name, way) == (level, fleet, j) and value[share] > TINY
        }
        busy = math.fsum(rate * busy_s[place] for place, rate in routed.items())
        spot = built.on_spot.get((level, fleet, j, n))
        away = 0.0 if spot is None else value[spot] * absent[fleet] / n
        carries = mode.replicas_busy[n - 1] * problem.fill * (1 - away)
        if busy > TINY:
            found.append(Run(fleet, level, j, n, busy, carries, routed))
    return found

"""What a busy second of a replica is worth, for each fleet and hour: the program's dual prices.

Pure. What is bought ahead, and what the catalogue always keeps, is fixed as planned; machines of
the hour may be bought in parts (the linear relaxation). The dual of a fleet's capacity is then
what the bill grows by for one more busy replica-second: 0 while there is room on what is paid
anyway, the price of the hour's machines where the fleet grows, more where it can't.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from router.plan.capacity import Mode
from router.plan.offers import Unit
from router.plan.problem import Problem
from router.plan.program import Limits, Program, Solver
from router.plan.solve import Plan

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The linear program, and where the capacity of each level and fleet stands in its rows."""

    program: Program
    capacity: Mapping[tuple[int, str], int]


def shadow_prices(plan: Plan, solver: Solver, limits: Limits) -> Mapping[str, tuple[float, ...]]:
    """Return USD per busy replica-second of each fleet, for each hour of the demand in order."""
    problem = plan.problem
    relaxed = relaxation(plan)
    solution = solver.solve(relaxed.program, limits)
    prices: dict[str, tuple[float, ...]] = {}
    for fleet, ways in problem.modes.items():
        if not ways:
            continue
        by_level = [
            _usd_a_second(solution.duals[relaxed.capacity[level, fleet]], hour.weight)
            for level, hour in enumerate(problem.levels)
        ]
        prices[fleet] = tuple(by_level[level] for level in problem.level_of)
    return prices


def _usd_a_second(dual: float, weight: float) -> float:
    return max(0.0, -dual) / weight / HOUR_S if weight else 0.0


def relaxation(plan: Plan) -> Relaxed:
    """Write the linear program: routes and machines of the hour are free, all else is planned."""
    problem, program = plan.problem, Program()
    capacity: dict[tuple[int, str], int] = {}
    for level, hour in enumerate(problem.levels):
        served: dict[int, dict[int, float]] = {
            place: {} for place, rate in enumerate(hour.rates) if rate > 0
        }
        for unit in problem.units:
            committed = max(unit.least, sum(plan.purchase(unit.id).fixed.values()))
            grown = _growth(program, unit, committed, hour.weight)
            for fleet in unit.fleets:
                found = _chosen(plan, level, fleet)
                if found is None:
                    continue
                mode, each = found
                terms = {} if grown is None else {grown: -each}
                for place, busy_s in zip(mode.classes, mode.busy_s, strict=True):
                    if place in served:
                        column = program.column(0.0)
                        served[place][column] = 1.0
                        terms[column] = busy_s
                capacity[level, fleet] = program.row(terms, high=each * committed)
        for place, columns in served.items():
            program.row(columns, hour.rates[place], hour.rates[place])
    return Relaxed(program, capacity)


def _growth(program: Program, unit: Unit, committed: int, weight: float) -> int | None:
    prices = [offer.usd_per_hour for offer in unit.offers if not offer.fixed]
    if not prices:
        return None
    return program.column(min(prices) * weight, 0.0, float(unit.most - committed))


def _chosen(plan: Plan, level: int, fleet: str) -> tuple[Mode, float] | None:
    """Return how the fleet runs in this level, and what one of its replicas carries; of one that
    isn't planned: in the way that serves the most, alone. None: it serves nobody.
    """
    problem: Problem = plan.problem
    ways = problem.modes[fleet]
    run = next((r for r in plan.runs if (r.level, r.fleet) == (level, fleet)), None)
    if run is not None:
        return ways[run.mode], run.carries / run.replicas
    return (ways[-1], ways[-1].replicas_busy[0] * problem.fill) if ways else None

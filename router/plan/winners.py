"""Which machines are the cheapest for so much traffic, of which so much is simple. Pure.

A plan for one hour of steady random arrivals of one length: the simple requests may go to every
fleet, the others to all but the small ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from backends.fleet_model import FleetModel
from router.plan.capacity import Mode
from router.plan.demand import Demand, Hour, RequestClass
from router.plan.offers import Market, Unit
from router.plan.problem import Problem, problem
from router.plan.program import Limits, Solver
from router.plan.slo import Slo
from router.plan.solve import solve

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Best:
    """`machines` of each unit; none: no machines hold the SLO. `usd_per_hour` of all."""

    machines: Mapping[str, int]
    usd_per_hour: float | None

    @property
    def winners(self) -> tuple[str, ...]:
        return tuple(unit for unit, count in self.machines.items() if count)


def template(
    units: Sequence[Unit],
    models: Mapping[str, FleetModel],
    small: frozenset[str],
    lengths: tuple[int, int],
    slos: tuple[Slo, Slo],
) -> Problem:
    """Return the problem in which only the traffic is missing. `slos`: of simple requests, and of
    the others.
    """
    every = frozenset(fleet for unit in units for fleet in unit.fleets)
    classes = tuple(
        RequestClass(name, 0, fleets, *lengths, *lengths, 1, slo=slo)
        for name, fleets, slo in (("simple", every, slos[0]), ("heavy", every - small, slos[1]))
    )
    demand = Demand(classes, (Hour((0.0, 0.0), 1.0, 1.0),), 168.0)
    return problem(demand, Market(tuple(units), ()), models, slos[1])


def best(of: Problem, per_hour: float, simple: float, solver: Solver, limits: Limits) -> Best:
    rates = (per_hour * simple / HOUR_S, per_hour * (1 - simple) / HOUR_S)
    (hour,) = of.levels
    plan = solve(
        replace(of, levels=(replace(hour, rates=rates),), modes=_enough(of, sum(rates))),
        solver,
        limits,
    )
    if plan is None:
        return Best({}, None)
    return Best({p.unit: p.machines[0] for p in plan.purchases}, plan.usd)


def _enough(of: Problem, per_second: float) -> Mapping[str, tuple[Mode, ...]]:
    """Return the modes without the counts beyond what all of the traffic needs."""
    return {
        fleet: tuple(_cut(mode, per_second) for mode in ways) for fleet, ways in of.modes.items()
    }


def _cut(mode: Mode, per_second: float) -> Mode:
    needed = per_second * max(mode.busy_s)
    counts = next(
        (n for n, busy in enumerate(mode.replicas_busy, 1) if busy >= needed),
        len(mode.replicas_busy),
    )
    return replace(mode, replicas_busy=mode.replicas_busy[:counts])

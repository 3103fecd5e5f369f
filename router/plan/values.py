"""What each limit costs: the plan again without it, or with its next level. Pure.

Counts are whole, so no derivative says this: each limit is relaxed by itself, and the difference
of the two bills is its value.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from router.plan.problem import Problem
from router.plan.program import Limits, Solver
from router.plan.slo import Slo
from router.plan.solve import Plan, solve

CENT = 0.01
NEXT = 2.0  # the next level of a time: twice as long


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan must hold, as far as it can be relaxed. `more`: machines beyond a unit's most;
    `spare`: units whose least is let go; `late`: classes that have no limit of time, by id.
    """

    slo: Slo
    floor: float | None = None
    busy: float | None = None
    more: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """`usd_per_week` is what the limit costs against being `relaxed`. None: less than
    `less_than_usd`, as far as both plans are known to be the cheapest; without it: no plan was
    found.
    """

    limit: str
    relaxed: str
    usd_per_week: float | None
    less_than_usd: float | None = None


Make = Callable[[Terms], Problem]


def values(
    plan: Plan, terms: Terms, floors: tuple[float, ...], make: Make, solver: Solver, limits: Limits
) -> tuple[Value, ...]:
    """Return the value of every limit. `floors`: those that are in force.

    Whom the plan serves without a limit has none in a relaxed one either: a longer time that a few
    more requests can hold would otherwise bind the plan more than the shorter one.
    """
    found = []
    terms = replace(terms, late=frozenset(c.id for c in plan.problem.classes if c.late))
    for limit, relaxed, other in _relaxations(plan, terms, floors):
        cheaper = solve(make(other), solver, limits)
        found.append(Value(limit, relaxed, *_difference(plan, cheaper)))
    return tuple(found)


def _difference(plan: Plan, cheaper: Plan | None) -> tuple[float | None, float | None]:
    """Return the difference, where it is beyond both plans' gaps, else what it is less than."""
    if cheaper is None:
        return None, None
    usd, own = plan.usd_per_week - cheaper.usd_per_week, _gap_usd(cheaper)
    if usd > _gap_usd(plan) + own or _gap_usd(plan) + own < CENT:
        return max(0.0, usd), None
    return None, usd + own if math.isfinite(own) else None


def _gap_usd(plan: Plan) -> float:
    return plan.gap * abs(plan.usd_per_week - plan.usd_pools) if plan.gap else 0.0


def _relaxations(
    plan: Plan, terms: Terms, floors: tuple[float, ...]
) -> Iterator[tuple[str, str, Terms]]:
    slo = terms.slo
    if slo.ttft_ms is not None:
        limit, twice = f"ttft_p95={slo.ttft_ms:g}ms", NEXT * slo.ttft_ms
        yield limit, f"{twice:g}ms", replace(terms, slo=replace(slo, ttft_ms=twice))
        yield limit, "none", replace(terms, slo=replace(slo, ttft_ms=None))
    if slo.e2e_ms is not None:
        limit, twice = f"e2e_p95={slo.e2e_ms:g}ms", NEXT * slo.e2e_ms
        yield limit, f"{twice:g}ms", replace(terms, slo=replace(slo, e2e_ms=twice))
        yield limit, "none", replace(terms, slo=replace(slo, e2e_ms=None))
    if any(floor > 0 for floor in floors):
        told = ", ".join(f"{floor:g}" for floor in floors)
        yield f"quality floor {told}", "none", replace(terms, floor=0.0)
    yield "busy minutes", "the mean of the hour", replace(terms, busy=None)
    for unit in plan.problem.units:
        machines = plan.purchase(unit.id).machines
        if unit.least and any(n <= unit.least for n in machines):
            yield f"min {unit.least} of {unit.id}", "0", replace(terms, spare=(unit.id,))
        if any(n >= unit.most for n in machines):
            yield f"max {unit.most} of {unit.id}", "one more", replace(terms, more=(unit.id,))

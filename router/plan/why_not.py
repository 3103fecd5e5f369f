"""Why there is no plan: which requests, which limit, and by how much it is missed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from backends.fleet_model import FleetModel
from router.plan.capacity import idle_ms
from router.plan.demand import RequestClass
from router.plan.problem import Problem
from router.plan.program import Limits, Solver
from router.plan.slo import Slo
from router.plan.solve import solve

MISSED_USD = 1e7  # for each request a second that isn't served: far beyond any machine


@dataclass(frozen=True, slots=True)
class Lack:
    """One reason. `limit` is `ttft_p95`, `e2e_p95`, `capacity` or `serving`; `fleet` comes nearest
    to it with `best`; both None where no fleet may serve at all.
    """

    limit: str
    requests: str
    said: str
    wanted: float | None = None
    best: float | None = None
    fleet: str | None = None


def lacks(
    problem: Problem,
    models: Mapping[str, FleetModel],
    slo: Slo,
    why: Mapping[str, Mapping[str, str]],
    solver: Solver,
    limits: Limits,
) -> tuple[Lack, ...]:
    """Return what stands in the way: first who can't be served by anyone, however many there are;
    where there is nobody, how much more there is to do than all machines together carry.
    """
    able = {place for ways in problem.modes.values() for mode in ways for place in mode.classes}
    found = [
        lack
        for place, requests in enumerate(problem.classes)
        if place not in able
        for lack in _hopeless(requests, models, slo, why)
    ]
    return tuple(found) or _too_much(problem, solver, limits)


def _hopeless(
    requests: RequestClass,
    models: Mapping[str, FleetModel],
    slo: Slo,
    why: Mapping[str, Mapping[str, str]],
) -> list[Lack]:
    if not requests.fleets:
        reasons = next((r for name, r in why.items() if requests.id.startswith(name)), {})
        told = "; ".join(f"{fleet}: {reason}" for fleet, reason in reasons.items())
        said = f"no fleet may serve requests `{requests.id}`" + (f" ({told})" if told else "")
        return [Lack("serving", requests.id, said)]
    idle = {fleet: idle_ms(models[fleet], requests) for fleet in sorted(requests.fleets)}
    named = (("ttft_p95", slo.ttft_ms, 0), ("e2e_p95", slo.e2e_ms, 1))
    found = []
    for limit, wanted, which in named:
        times = {f: ms for f, both in idle.items() if (ms := both[which]) is not None}
        if wanted is None or any(ms <= wanted for ms in times.values()):
            continue
        fleet = min(times, key=lambda f: times[f]) if times else None
        best = None if fleet is None else times[fleet]
        found.append(
            Lack(limit, requests.id, _told(limit, wanted, requests, idle), wanted, best, fleet)
        )
    if not found:  # each limit is met by somebody, but nobody meets both
        said = f"no fleet meets both limits for requests `{requests.id}`, even idle"
        found.append(Lack("ttft_p95", requests.id, said))
    return found


def _told(
    limit: str,
    wanted: float,
    requests: RequestClass,
    idle: Mapping[str, tuple[float | None, float | None]],
) -> str:
    which = 0 if limit == "ttft_p95" else 1
    times = {f: ms for f, both in idle.items() if (ms := both[which]) is not None}
    long = f"a prompt of {requests.long_in:,} tokens"
    if which:
        long += f" with {requests.long_out:,} of output"
    if not times:
        return f"nothing is known of the times of any fleet that may serve {long}"
    fleet = min(times, key=lambda f: times[f])
    does = "answers" if which else "begins to answer"
    return (
        f"no fleet {does} {long} within {wanted:,.0f} ms (p95): the fastest, {fleet}, takes "
        f"{times[fleet]:,.0f} ms idle, {times[fleet] - wanted:,.0f} too many"
    )


def _too_much(problem: Problem, solver: Solver, limits: Limits) -> tuple[Lack, ...]:
    """Let requests go unserved at a price beyond all machines', and tell which do."""
    plan = solve(problem, solver, limits, missed_usd=MISSED_USD)
    if plan is None or not plan.missed:
        said = "the bounds of the catalogue contradict each other: no counts keep to all of them"
        return (Lack("capacity", "all", said),)
    worst = max(plan.missed, key=lambda at: (plan.missed[at], -at[0], -at[1]))
    level, place = worst
    rate, missed = problem.levels[level].rates[place], plan.missed[worst]
    requests = problem.classes[place]
    full = [
        f"{unit.id} {unit.most}"
        for unit in problem.units
        if plan.purchase(unit.id).machines[level] >= unit.most
        and not requests.fleets.isdisjoint(unit.fleets)
    ]
    said = (
        f"of {rate:,.2f} requests `{requests.id}` a second in the busy minutes, {missed:,.2f} "
        f"({missed / rate:.0%}) find no place with every machine at its most ({', '.join(full)}): "
        "raise `replicas.max`"
    )
    return (Lack("capacity", requests.id, said, rate, rate - missed),)

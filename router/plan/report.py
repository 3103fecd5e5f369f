"""A plan as JSON: counts, routes, what its limits cost, and what a replay made of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from router.plan.demand import RequestClass
from router.plan.slo import Slo
from router.plan.solve import Plan
from router.plan.values import Value
from router.plan.verify import Played, Round

ASSUMED = (
    "the requests that find more before them than keep to the SLO are 5 %, for random arrivals",
    "an hour is as busy as its busy minutes, beyond what chance makes of them",
    "each class holds its p95 at the 95th percentile of its lengths",
    "machines of an hour are started ahead, and paid while they start",
    "a cascade goes to its sure fleets, and nothing is hedged",
)


@dataclass(frozen=True, slots=True)
class Reported:
    """Everything that the command says. `played_by_prices`: the same plan, decided by shadow
    prices instead of the curve over utilisation.
    """

    trace: str
    requests: int
    seconds: float
    slo: Slo
    policy: str
    plan: Plan
    values: tuple[Value, ...]
    prices: Mapping[str, tuple[float, ...]]
    rounds: tuple[Round, ...]
    played: Played | None
    played_by_prices: Played | None
    unplanned: int
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def as_json(found: Reported) -> dict[str, Any]:
    plan, problem = found.plan, found.plan.problem
    return {
        "trace": found.trace,
        "requests": found.requests,
        "slo": {"ttft_p95_ms": found.slo.ttft_ms, "e2e_p95_ms": found.slo.e2e_ms},
        "policy": found.policy,
        "hours": len(problem.level_of),
        "levels": len(problem.levels),
        "usd_per_week": round(plan.usd_per_week, 6),
        "usd_of_trace_hours": round(plan.usd, 6),
        "usd_pools_per_week": round(plan.usd_pools, 6),
        "per_week": problem.per_week,
        "gap": plan.gap,
        "fill": problem.fill,
        "units": [_unit(plan, unit.id) for unit in problem.units],
        "classes": [_class(requests) for requests in problem.classes],
        "routes": routes(plan),
        "values": [asdict(value) for value in found.values],
        "shadow_prices": {fleet: list(usd) for fleet, usd in found.prices.items()},
        "verified": None if found.played is None else _played(found.played),
        "by_shadow_prices": (
            None if found.played_by_prices is None else _played(found.played_by_prices)
        ),
        "rounds": [
            {
                "fill": each.fill,
                "usd_per_week": each.plan.usd_per_week,
                "attained": None if each.played is None else each.played.attained,
                "held": None if each.played is None else each.played.held,
            }
            for each in found.rounds
        ],
        "left_out": [{"fleet": f, "reason": why} for f, why in problem.market.left_out],
        "requests_not_planned": found.unplanned,
        "requests_late": sum(c.requests for c in problem.classes if c.late),
        "assumptions": list(found.assumptions),
        "warnings": list(found.warnings),
    }


def _class(requests: RequestClass) -> dict[str, Any]:
    return {
        "class": requests.id,
        "requests": requests.requests,
        "tokens_in": {"mean": requests.tokens_in, "p95": requests.long_in},
        "tokens_out": {"mean": requests.tokens_out, "p95": requests.long_out},
        "fleets": sorted(requests.fleets),
        "late": requests.late,
    }


def _unit(plan: Plan, unit_id: str) -> dict[str, Any]:
    unit = next(unit for unit in plan.problem.units if unit.id == unit_id)
    purchase, of = plan.purchase(unit_id), plan.problem.level_of
    return {
        "unit": unit_id,
        "fleets": list(unit.fleets),
        "ahead": {option: count for option, count in purchase.fixed.items() if count},
        "machines": [purchase.machines[level] for level in of],
        "hourly": [
            {option: count for option, count in purchase.hourly[level].items() if count}
            for level in of
        ],
    }


def routes(plan: Plan) -> list[dict[str, Any]]:
    """Return which share of each class goes where, in each level of traffic."""
    found = []
    for run in plan.runs:
        rates = plan.problem.levels[run.level].rates
        found += [
            {
                "level": run.level,
                "class": plan.problem.classes[place].id,
                "fleet": run.fleet,
                "share": round(rate / rates[place], 6),
                "per_second": round(rate, 6),
            }
            for place, rate in sorted(run.routed.items())
        ]
    return found


def hours_of(plan: Plan, level: int) -> Sequence[int]:
    return [hour for hour, of in enumerate(plan.problem.level_of) if of == level]


def _played(played: Played) -> dict[str, Any]:
    by_class = {
        name: {**asdict(each), "attained": each.attained, "held": each.held}
        for name, each in played.by_class.items()
    }
    return {**asdict(played), "by_class": by_class, "held": played.held}

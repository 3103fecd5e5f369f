"""The plan as what the router reads: a fleet catalogue with its counts, a policy with its routes.

Pure. A catalogue has bounds, no timetable: `min` is the fewest of any hour, `max` the most, and
between them a fleet scales by itself. What is bought ahead comes first among its tranches.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from policies.compiled import from_compiled
from policies.model import Policy
from router.plan.demand import RequestClass, bucket
from router.plan.offers import Offer, Unit
from router.plan.slo import Slo
from router.plan.solve import Plan, Purchase

WAKE = {"seconds": 600, "min_run_seconds": 3600}  # of a baseline that isn't planned: never woken
SHORTEST = 256


def planned_fleets(
    plan: Plan, compiled: Mapping[str, Any], baseline: str, *, whole: bool = False
) -> dict[str, Any]:
    """Return the catalogue's document with the planned counts. Fleets that aren't planned are left
    out, the policy's baseline aside, which then sleeps; with `whole` they all sleep.
    """
    unit_of = {fleet: unit for unit in plan.problem.units for fleet in unit.fleets}
    rows = []
    for row in compiled["fleets"]:
        unit = unit_of.get(row["id"])
        purchase = None if unit is None else plan.purchase(unit.id)
        if unit is not None and purchase is not None and max(purchase.machines) > 0:
            rows.append(_row(row, unit, purchase))
        elif row["id"] == baseline or (whole and unit is not None):
            rows.append(_asleep(row))
    used = {row["model"] for row in rows}
    models = [model for model in compiled["models"] if model["id"] in used]
    return {"version": compiled["version"], "models": models, "fleets": rows}


def _row(row: Mapping[str, Any], unit: Unit, purchase: Purchase) -> dict[str, Any]:
    replicas = {
        **row["replicas"],
        "min": min(purchase.machines),
        "max": max(purchase.machines),
    }
    found = {**row, "replicas": replicas}
    tranches = _tranches(unit.offers, purchase)
    if "usd_per_hour" not in row and tranches:
        found["purchase"] = tranches[0]["option"] if len(tranches) == 1 else tranches
    return found


def _tranches(offers: Sequence[Offer], purchase: Purchase) -> list[dict[str, Any]]:
    """Return what is bought ahead with its counts, then the option of the hour."""
    found: list[dict[str, Any]] = [
        {"option": offer.option, "replicas": purchase.fixed[offer.option]}
        for offer in offers
        if offer.fixed and purchase.fixed[offer.option]
    ]
    hourly: Counter[str] = Counter()
    for level in purchase.hourly:
        for option, count in level.items():
            hourly[option] = max(hourly[option], count)
    used = [option for option, count in hourly.items() if count]
    found += [{"option": option, "replicas": hourly[option]} for option in used[:-1]]
    return found + [{"option": option} for option in used[-1:]]


def _asleep(row: Mapping[str, Any]) -> dict[str, Any]:
    most = max(1, row["replicas"].get("max", 1))
    return {
        **row,
        "replicas": {**row["replicas"], "min": 0, "max": most},
        "wake": row.get("wake", WAKE),
    }


def routing_policy(policy: Policy, plan: Plan, slo: Slo, floor: float | None) -> Policy:
    """Return the policy with the plan's routes: every rule uses the fleets that the plan gives its
    requests to, by length, tier and service class where those differ.

    The SLO is the plan's, in every rule. Everything may give way, so that each request is served
    and a replay shows how late. A cascade goes to its sure fleets, and nothing is hedged.
    """
    routes = _routes(plan)
    compiled: dict[str, Any] = {**policy.compiled, "name": f"{policy.name}-planned"}
    for part in ("budgets", "rate_limits", "shadow"):
        compiled.pop(part, None)
    compiled["defaults"] = _settings(compiled["defaults"], slo, floor)
    rules: list[dict[str, Any]] = []
    for place, rule in enumerate(compiled["rules"]):
        bare = {k: v for k, v in rule.items() if k not in ("accept_if", "hedge")}
        bare["settings"] = _settings(rule["settings"], slo, floor)
        rules += _rules_of(bare, routes.get(place, {}))
    compiled["rules"] = rules
    return from_compiled(compiled)


def _settings(settings: Mapping[str, Any], slo: Slo, floor: float | None) -> dict[str, Any]:
    own = settings["quality_floor"]
    wanted = own["at_least"] if isinstance(own, dict) else own
    return {
        **settings,
        "slo": {"ttft_p95_ms": slo.ttft_ms, "e2e_p95_ms": slo.e2e_ms},
        "quality_floor": wanted if floor is None else floor,
        "relax": ["slo.ttft", "slo.e2e", "quality_floor"],
    }


Where = tuple[str, str, int]
"""Tier, service class, and the power of two that its prompts are below."""


def _routes(plan: Plan) -> Mapping[int, Mapping[Where, frozenset[str]]]:
    """Return who serves what, for each rule: of all hours together."""
    fleets: dict[int, set[str]] = defaultdict(set)
    for run in plan.runs:
        for place in run.routed:
            fleets[place].add(run.fleet)
    found: dict[int, dict[Where, frozenset[str]]] = defaultdict(dict)
    for place, requests in enumerate(plan.problem.classes):
        where = _where(requests)
        before = found[requests.rule].get(where, frozenset())
        found[requests.rule][where] = before | fleets[place]
    return found


def _where(requests: RequestClass) -> Where:
    return requests.tier, requests.service_class, bucket(requests.longest_in)


def _rules_of(rule: dict[str, Any], routes: Mapping[Where, frozenset[str]]) -> list[dict[str, Any]]:
    """Return a rule for each route that differs from the usual one, then that for the rest."""
    if not routes:
        return [rule]
    usual = Counter(routes.values()).most_common(1)[0][0]
    found = [_narrowed(rule, where, fleets) for where, fleets in routes.items() if fleets != usual]
    everyone = frozenset().union(*routes.values())
    return [*found, {**rule, "use": [sorted(usual), *_others(usual, everyone)]}]


def _narrowed(rule: Mapping[str, Any], where: Where, fleets: frozenset[str]) -> dict[str, Any]:
    tier, service_class, below = where
    least = 0 if below == SHORTEST else below // 2
    own = rule["when"].get("tokens_in", {})
    lengths = {
        "above": max(own.get("above", 0), least - 1) if least else own.get("above"),
        "below": min(own.get("below", below), below),
    }
    when = {
        **rule["when"],
        "tier": [tier],
        "service_class": [service_class],
        "tokens_in": {name: count for name, count in lengths.items() if count is not None},
    }
    named = f"{rule['id']}--{tier}-{service_class}-{below}"
    return {**rule, "id": named, "when": when, "use": [sorted(fleets)]}


def _others(usual: frozenset[str], everyone: frozenset[str]) -> list[list[str]]:
    rest = sorted(everyone - usual)
    return [rest] if rest else []

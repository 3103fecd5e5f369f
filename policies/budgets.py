"""Budgets of a policy: their compiled form, and whose requests count. Pure.

They match identity alone (tenant, team, key, tags bound to the key or allowed by it). `*` is any
value, with one budget for each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from policies.model import Budget, Facts, Match

Value = Mapping[str, Any]
ANY = "*"
IDENTITY = ("tenant", "team", "key")


def budget_from(compiled: Value) -> Budget:
    match = compiled["match"]
    hard = compiled["hard_usd"]
    if (hard is not None) != (compiled["when_spent"] == "downgrade"):
        raise ValueError("`hard_usd` goes with `downgrade`, and with it alone")
    return Budget(
        compiled["id"],
        float(compiled["usd"]),
        compiled["per"],
        compiled["tz"],
        Match(
            match.get("tenant"),
            match.get("team"),
            match.get("key"),
            tuple(sorted(match.get("tags", {}).items())),
        ),
        compiled["when_spent"],
        None if hard is None else float(hard),
        tuple(float(share) for share in compiled["alert_at"]),
    )


def budget_json(budget: Budget) -> dict[str, Any]:
    """Return the compiled form of a budget."""
    match = budget.match
    own = {name: getattr(match, name) for name in IDENTITY}
    tags = {"tags": dict(match.tags)} if match.tags else {}
    return {
        "id": budget.id,
        "match": {name: value for name, value in own.items() if value is not None} | tags,
        "usd": budget.usd,
        "per": budget.per,
        "tz": budget.tz,
        "when_spent": budget.when_spent,
        "hard_usd": budget.hard_usd,
        "alert_at": list(budget.alert_at),
    }


def value_of(match: Match, facts: Facts) -> str | None:
    """Return for whom the request counts (`team=search`, `key=ab12,tags.app=web`, `all`), or None
    if it doesn't.
    """
    found: list[str] = []
    for name, wanted, own in (
        ("tenant", match.tenant, facts.tenant),
        ("team", match.team, facts.team),
        ("key", match.key, facts.key),
        *((f"tags.{tag}", wanted, facts.tags.get(tag)) for tag, wanted in match.tags),
    ):
        if wanted is None:
            continue
        if own is None or wanted not in (ANY, own):
            return None
        found.append(f"{name}={own}")
    return ",".join(found) or "all"


def counting(budgets: Sequence[Budget], facts: Facts) -> list[tuple[Budget, str]]:
    """Return the budgets that a request counts in, each with its value."""
    found = []
    for budget in budgets:
        value = value_of(budget.match, facts)
        if value is not None:
            found.append((budget, value))
    return found

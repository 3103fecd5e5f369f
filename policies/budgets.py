"""Budgets of a policy in their compiled form. Pure."""

from collections.abc import Mapping
from typing import Any

from policies.match import match_from, match_json
from policies.model import Budget

Value = Mapping[str, Any]


def budget_from(compiled: Value) -> Budget:
    hard = compiled["hard_usd"]
    if (hard is not None) != (compiled["when_spent"] == "downgrade"):
        raise ValueError("`hard_usd` goes with `downgrade`, and with it alone")
    return Budget(
        compiled["id"],
        float(compiled["usd"]),
        compiled["per"],
        compiled["tz"],
        match_from(compiled["match"]),
        compiled["when_spent"],
        None if hard is None else float(hard),
        tuple(float(share) for share in compiled["alert_at"]),
    )


def budget_json(budget: Budget) -> dict[str, Any]:
    """Return the compiled form of a budget."""
    return {
        "id": budget.id,
        "match": match_json(budget.match),
        "usd": budget.usd,
        "per": budget.per,
        "tz": budget.tz,
        "when_spent": budget.when_spent,
        "hard_usd": budget.hard_usd,
        "alert_at": list(budget.alert_at),
    }

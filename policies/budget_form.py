"""How a budget is written: what is wrong with it, and what it leaves out. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.conditions import known_zone, unknown_zone
from policies.match import match_from, match_json
from yamlfile import Fault

Value = Mapping[str, Any]
HARD = 1.1  # of `usd`: where a budget that downgrades ends, unless `hard_usd` says
ALERT = 1.0  # of `usd`: when one that only alerts does, unless `alert_at` says


def budget_faults(budgets: Mapping[int, Value]) -> Iterator[Fault]:
    """Yield what is wrong with budgets whose form is right."""
    seen: set[str] = set()
    for i, budget in budgets.items():
        name, path = budget["id"], ("budgets", i)
        prefix = f"budget {name}: "
        if name in seen:
            yield (*path, "id"), f"budget {name}: this id stands twice"
        seen.add(name)
        if "tz" in budget and not known_zone(budget["tz"]):
            yield (*path, "tz"), prefix + unknown_zone(budget["tz"])
        hard = budget.get("hard_usd")
        if hard is not None and budget["when_spent"] != "downgrade":
            said = f"`hard_usd` goes with `when_spent: downgrade`, not {budget['when_spent']}"
            yield (*path, "hard_usd"), prefix + said
        elif hard is not None and hard < budget["usd"]:
            said = f"`hard_usd` ({hard:g}) is below `usd` ({budget['usd']:g})"
            yield (*path, "hard_usd"), prefix + said


def compiled_budget(budget: Value) -> dict[str, Any]:
    """Return a budget with every default merged in."""
    usd, when = float(budget["usd"]), budget["when_spent"]
    hard = float(budget.get("hard_usd", round(usd * HARD, 9))) if when == "downgrade" else None
    alerts = budget.get("alert_at", [ALERT] if when == "alert" else [])
    return {
        "id": budget["id"],
        "match": match_json(match_from(budget["match"])),
        "usd": usd,
        "per": budget["per"],
        "tz": budget.get("tz", "UTC"),
        "when_spent": when,
        "hard_usd": hard,
        "alert_at": sorted({float(share) for share in alerts}),
    }

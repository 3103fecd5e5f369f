"""How a budget is written: what is wrong with it, and what it leaves out. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.conditions import known_zone, unknown_zone
from policies.match import match_from, match_json
from policies.match_form import match_faults
from policies.model import nano_of
from yamlfile import Fault

Value = Mapping[str, Any]
HARD = 1.1  # of `usd`: where a budget that downgrades ends, unless `hard_usd` says
MOST_SHARE = 10.0  # of `usd`: no budget that only alerts is meant to be passed further
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
        if not nano_of(budget["usd"]):
            yield (*path, "usd"), f"{prefix}`usd` ({budget['usd']:g}) is less than a nano-dollar"
        for at, said in match_faults(budget["match"], (*path, "match")):
            yield at, prefix + said
        yield from _share_faults(budget, path, prefix)
        hard = budget.get("hard_usd")
        if hard is not None and budget["when_spent"] != "downgrade":
            said = f"`hard_usd` goes with `when_spent: downgrade`, not {budget['when_spent']}"
            yield (*path, "hard_usd"), prefix + said
        elif hard is not None and hard < budget["usd"]:
            said = f"`hard_usd` ({hard:g}) is below `usd` ({budget['usd']:g})"
            yield (*path, "hard_usd"), prefix + said


def _share_faults(budget: Value, path: tuple[str | int, ...], prefix: str) -> Iterator[Fault]:
    """Yield the shares that the budget never reaches."""
    most = MOST_SHARE
    if budget["when_spent"] == "reject":
        most = 1.0
    elif budget["when_spent"] == "downgrade":
        most = budget.get("hard_usd", budget["usd"] * HARD) / budget["usd"]
    for n, share in enumerate(budget.get("alert_at", [])):
        if share > most + 1e-9:  # a quotient is rounded
            said = f"is never reached, {most:g} is the most (a share of `usd`: 0.8 is 80 %)"
            yield (*path, "alert_at", n), f"{prefix}`alert_at` {share:g} {said}"


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

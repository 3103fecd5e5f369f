"""How a hedge is written: what is wrong with it, and what it compiles to. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.hedges import PAIR, PREDICTED
from yamlfile import Fault

Value = Mapping[str, Any]
EVERYBODY = frozenset({"tenant", "key"})  # every request has one


def hedge_faults(
    i: int, rule: Value, prefix: str, settings: Value, budgets: Mapping[int, Value]
) -> Iterator[Fault]:
    """Yield what is wrong with the rule's hedge, whose form is right; `settings` hold for it."""
    hedge = rule.get("hedge")
    if hedge is None:
        return
    path, prefix = ("rules", i, "hedge"), f"{prefix}hedge: "
    if "cascade" in rule:
        yield path, f"{prefix}a cascade holds its first answer: take out `hedge` or `cascade`"
    attempts = settings["limits"]["attempts"]
    if attempts < PAIR:
        own = "attempts" in rule.get("limits", {})
        said = f"`attempts` ({attempts}{'' if own else ', inherited'}) leaves none for it"
        yield (("rules", i, "limits", "attempts") if own else path), f"{prefix}{said}: write 2"
    yield from _time_faults(i, hedge, prefix, settings)
    yield from _money_faults((*path, "spend_up_to_usd"), hedge, prefix, budgets)


def _time_faults(i: int, hedge: Value, prefix: str, settings: Value) -> Iterator[Fault]:
    path, after = ("rules", i, "hedge"), hedge["after"]
    slo_ms, timeout_ms = settings["slo"]["ttft_p95_ms"], settings["limits"]["ttft_timeout_ms"]
    if slo_ms is None:
        said = "the rule has no `slo.ttft_p95_ms`, which a hedge is to keep"
        yield path, prefix + said
    elif after != PREDICTED and after >= slo_ms:
        said = f"`after` ({after}) must be below `slo.ttft_p95_ms` ({slo_ms:g}): it came too late"
        yield (*path, "after"), prefix + said
    if after != PREDICTED and after >= timeout_ms:
        said = f"`after` ({after}) must be below `ttft_timeout_ms` ({timeout_ms})"
        yield (*path, "after"), prefix + said


def _money_faults(
    path: tuple[str | int, ...], hedge: Value, prefix: str, budgets: Mapping[int, Value]
) -> Iterator[Fault]:
    """Yield the hard budgets that bind every request, and have less than a hedge may spend."""
    spend = hedge["spend_up_to_usd"]
    for budget in budgets.values():
        binds = all(k in EVERYBODY and v == "*" for k, v in budget["match"].items())
        most = budget.get("hard_usd", budget["usd"])
        if binds and budget["when_spent"] != "alert" and spend > most:
            said = f"`spend_up_to_usd` ({spend:g}) is above all of budget `{budget['id']}`"
            yield path, f"{prefix}{said} ({most:g})"


def compiled_hedge(written: Value) -> dict[str, Any]:
    return {"after": written["after"], "spend_up_to_usd": float(written["spend_up_to_usd"])}

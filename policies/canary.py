"""A canary in a policy: what is wrong with it, and how another policy decides beside it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from policies.model import Policy
from yamlfile import Fault

Value = Mapping[str, Any]


def canary_faults(document: Value) -> Iterator[Fault]:
    """Yield what is wrong with `canary`, whose form is right."""
    canary = document.get("canary")
    if canary is None:
        return
    if canary["policy"] == document.get("name"):
        said = f"`{canary['policy']}` is this policy: a canary is another one"
        yield ("canary", "policy"), f"canary: {said}"
    share = canary["share"]
    if share in (0, 1):
        no = "no request goes to it: remove `canary`" if share == 0 else "publish that policy"
        yield ("canary", "share"), f"canary: `share` must be above 0 and below 1, not {share}: {no}"
    stop_if = canary.get("stop_if")
    if stop_if == {}:
        said = "it stops nothing: give `error_rate_above` or `cost_ratio_above`, or remove it"
        yield ("canary", "stop_if"), f"canary: stop_if: {said}"
    if (stop_if or {}).get("error_rate_above") == 1:
        said = "`error_rate_above` must be below 1: no rate is above that"
        yield ("canary", "stop_if", "error_rate_above"), f"canary: stop_if: {said}"


def compiled_canary(written: Value) -> dict[str, Any]:
    """Return the canary with its numbers as numbers."""
    said: dict[str, Any] = {"policy": written["policy"], "share": float(written["share"])}
    if "stop_if" in written:
        said["stop_if"] = {name: float(value) for name, value in written["stop_if"].items()}
    return said


def objection(canary: Policy, stable: Policy) -> str | None:
    """Return why this policy can't be the canary of that one."""
    if canary.baseline != stable.baseline:
        own, wanted = "@".join(canary.baseline), "@".join(stable.baseline)
        return f"a canary is measured against the baseline of `{stable.name}`, `{wanted}`: `{own}`"
    if canary.canary is not None:
        return "a canary has no canary of its own: remove `canary`"
    return None


def as_canary(canary: Policy, stable: Policy) -> Policy:
    """Return the policy as it decides beside `stable`: under its own name and hash, by its own
    rules, with the budgets, rate limits, judging and breaker that hold for all requests.
    """
    limits = replace(canary.defaults.limits, breaker=stable.defaults.limits.breaker)
    return replace(
        canary,
        defaults=replace(canary.defaults, limits=limits),
        budgets=stable.budgets,
        rate_limits=stable.rate_limits,
        shadow=stable.shadow,
    )

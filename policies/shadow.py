"""Shadow judging in a policy: what is wrong with it, and what its own calls obey. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from policies.budgets import budget_json
from policies.compiled import COMPILED_VERSION, from_compiled, settings_json
from policies.model import SHADOW, Policy, Rule, Slo
from policies.names import Names
from yamlfile import Fault, suggest

Value = Mapping[str, Any]
MATCH = {"tenant": SHADOW}


def shadow_faults(document: Value, budgets: Mapping[int, Value], names: Names) -> Iterator[Fault]:
    """Yield what is wrong with `shadow`, whose form is right, and with the budget that it names."""
    shadow = document.get("shadow")
    if shadow is None:
        return
    named = shadow["budget"]
    found = [i for i, budget in budgets.items() if budget["id"] == named]
    for i in found:
        yield from _budget_faults(i, budgets[i])
    if not found and len(budgets) == len(document.get("budgets", ())):
        known = suggest(named, [budget["id"] for budget in budgets.values()])
        yield ("shadow", "budget"), f"shadow: no budget has the id `{named}` {known}"
    yield from _judge_faults(shadow["judge"], str(document.get("baseline")), names)


def _budget_faults(i: int, budget: Value) -> Iterator[Fault]:
    prefix = f"budget {budget['id']}: "
    if budget["match"] != MATCH:
        said = f"`match` must be {{tenant: {SHADOW}}}: it pays for shadow judging alone"
        yield ("budgets", i, "match"), prefix + said
    if budget["when_spent"] != "reject":
        said = "`when_spent` must be reject: shadow judging stops when it is spent"
        yield ("budgets", i, "when_spent"), prefix + said


def _judge_faults(judge: str, baseline: str, names: Names) -> Iterator[Fault]:
    path = ("shadow", "judge")
    served = frozenset(names.model_of.values())
    if judge not in names.models:
        yield path, f"shadow: unknown model `{judge}` {suggest(judge, names.models)}"
    elif served and judge not in served:
        yield path, f"shadow: no fleet serves the judge `{judge}` {suggest(judge, served)}"
    elif judge in names.judged(baseline.partition("@")[2]):
        said = f"`{judge}` can't be the judge: it is one of the small models that are judged"
        yield path, f"shadow: {said} (their quality is `p_small`)"


def shadow_policy(
    policy: Policy, rule: Rule, fleets: Iterable[str], *, judging: bool = False
) -> Policy:
    """Return the policy of a call that shadow judging makes for a request of this rule.

    Its one rule matches everything and uses these fleets: what is hard in the request's own rule
    holds (residency, limits, strict), what is soft doesn't. One attempt; a judge doesn't think.
    Its budgets are the policy's: it counts in those that match it, like any other call.
    """
    settings = replace(
        rule.settings,
        minimize="marginal_cost",
        quality_floor=0.0,
        confidence=None,
        slo=Slo(None, None),
        relax=(),
        limits=replace(rule.settings.limits, attempts=1),
        thinking="off" if judging else rule.settings.thinking,
    )
    only = {
        "id": SHADOW,
        "when": {},
        "use": [sorted(fleets)],
        "residency": None if rule.residency is None else sorted(rule.residency),
        "settings": settings_json(settings),
    }
    budgets = list(map(budget_json, policy.budgets))
    return from_compiled(
        {
            "version": COMPILED_VERSION,
            "name": policy.name,
            "baseline": "@".join(policy.baseline),
            "defaults": settings_json(policy.defaults),
            "rules": [only],
            **({"budgets": budgets} if budgets else {}),
        }
    )

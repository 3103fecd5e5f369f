"""The compiled policy: plain JSON with every default merged in, named by its content.

It is what ships and what a receipt points to. Two documents of the same meaning compile to the
same JSON and so to the same hash. No YAML is needed to read it.

* ValueError   the value is no compiled policy of this version
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from policies.acceptance import ACCEPTANCE
from policies.budgets import budget_from, budget_json
from policies.conditions import CONDITIONS
from policies.hedges import hedge_from, hedge_json
from policies.model import (
    SHADOW,
    Acceptance,
    Breaker,
    Budget,
    Canary,
    Condition,
    Limits,
    Match,
    Policy,
    Rule,
    Settings,
    Shadow,
    Slo,
    StopIf,
)
from policies.rate_limits import rate_limit_from, rate_limit_json

COMPILED_VERSION = 1
HASH_DIGITS = 16
TRY_AND_THEN = 2  # sets of lanes of a cascade


def from_compiled(compiled: Mapping[str, Any]) -> Policy:
    """Return the policy that this JSON stands for; nothing in it is passed over.

    Raises ValueError if it holds more, less or other than this version would have written.
    """
    try:
        policy = _policy(compiled)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"not a compiled policy of this version: {exc!r}") from exc
    if policy.compiled != compiled:
        raise ValueError("not a compiled policy of this version: it is not in canonical form")
    return policy


def content_hash(compiled: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of SHA-256 over the canonical bytes."""
    text = json.dumps(compiled, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON, in the words of the document's `defaults`."""
    slo, limits = settings.slo, settings.limits
    return {
        "minimize": settings.minimize,
        "quality_floor": _floor_json(settings),
        "slo": {"ttft_p95_ms": slo.ttft_p95_ms, "e2e_p95_ms": slo.e2e_p95_ms},
        "max_output_tokens": settings.max_output_tokens,
        "limits": {
            "deadline_ms": limits.deadline_ms,
            "ttft_timeout_ms": limits.ttft_timeout_ms,
            "inter_chunk_timeout_ms": limits.inter_chunk_timeout_ms,
            "attempts": limits.attempts,
            "breaker": {"failures": limits.breaker.failures, "open_ms": limits.breaker.open_ms},
        },
        "relax": list(settings.relax),
        "strict": settings.strict,
        "thinking": settings.thinking,
    }


def _floor_json(settings: Settings) -> float | dict[str, float]:
    if settings.confidence is None:  # a number, as policies without `confidence` always had it
        return settings.quality_floor
    return {"at_least": settings.quality_floor, "confidence": settings.confidence}


def _policy(compiled: Mapping[str, Any]) -> Policy:
    model, fleet = compiled["baseline"].split("@")
    name = compiled["name"]
    defaults = _settings(compiled["defaults"])
    rules = tuple(_rule(rule) for rule in compiled["rules"])
    budgets = tuple(map(budget_from, compiled.get("budgets", ())))
    rate_limits = tuple(map(rate_limit_from, compiled.get("rate_limits", ())))
    shadow = _shadow(compiled["shadow"], budgets) if "shadow" in compiled else None
    canary = _canary(compiled["canary"]) if "canary" in compiled else None
    canonical = {
        "version": COMPILED_VERSION,
        "name": name,
        "baseline": f"{model}@{fleet}",
        "defaults": settings_json(defaults),
        "rules": [_rule_json(rule) for rule in rules],
        # Left out where there are none, so that other policies keep their hash.
        **({"budgets": list(map(budget_json, budgets))} if budgets else {}),
        **({"rate_limits": list(map(rate_limit_json, rate_limits))} if rate_limits else {}),
        **({} if shadow is None else {"shadow": _shadow_json(shadow)}),
        **({} if canary is None else {"canary": canary_json(canary)}),
    }
    return Policy(
        name,
        content_hash(canonical),
        (model, fleet),
        defaults,
        rules,
        shadow,
        budgets,
        rate_limits,
        canary,
        canonical,
    )


def _shadow(found: Mapping[str, Any], budgets: Sequence[Budget]) -> Shadow:
    (budget,) = [budget for budget in budgets if budget.id == found["budget"]]
    if budget.match != Match(tenant=SHADOW) or budget.when_spent != "reject":
        raise ValueError("shadow judging is paid from a hard budget of its own")
    return Shadow(float(found["share"]), found["judge"], budget)


def _shadow_json(shadow: Shadow) -> dict[str, Any]:
    return {"share": shadow.share, "judge": shadow.judge, "budget": shadow.budget.id}


def _canary(found: Mapping[str, Any]) -> Canary:
    stop_if = {name: float(value) for name, value in found.get("stop_if", {}).items()}
    return Canary(found["policy"], float(found["share"]), StopIf(**stop_if))


def canary_json(canary: Canary) -> dict[str, Any]:
    """Return the canary in the words of the document."""
    stop = canary.stop_if
    written = {
        "error_rate_above": stop.error_rate_above,
        "cost_ratio_above": stop.cost_ratio_above,
    }
    stop_if = {name: value for name, value in written.items() if value is not None}
    said: dict[str, Any] = {"policy": canary.policy, "share": canary.share}
    return {**said, "stop_if": stop_if} if stop_if else said


def _rule(found: Mapping[str, Any]) -> Rule:
    when = found["when"]
    residency = found["residency"]
    accept_if = found.get("accept_if", {})
    if accept_if and len(found["use"]) != TRY_AND_THEN:
        raise ValueError("a cascade has one set to try and one to follow")
    return Rule(
        id=found["id"],
        when=tuple(
            Condition(name, when[name], kind.matcher(when[name]))
            for name, kind in CONDITIONS.items()
            if name in when
        ),
        use=tuple(frozenset(group) for group in found["use"]),
        settings=_settings(found["settings"]),
        residency=None if residency is None else frozenset(residency),
        accept_if=tuple(
            Acceptance(name, accept_if[name]) for name in ACCEPTANCE if name in accept_if
        ),
        hedge=hedge_from(found["hedge"]) if "hedge" in found else None,
    )


def _rule_json(rule: Rule) -> dict[str, Any]:
    tests = {test.name: ACCEPTANCE[test.name].canonical(test.wanted) for test in rule.accept_if}
    return {
        "id": rule.id,
        "when": {
            condition.name: CONDITIONS[condition.name].canonical(condition.wanted)
            for condition in rule.when
        },
        "use": [sorted(group) for group in rule.use],
        "residency": None if rule.residency is None else sorted(rule.residency),
        "settings": settings_json(rule.settings),
        # Left out where there are none, so that other policies keep their hash.
        **({"accept_if": tests} if tests else {}),
        **({} if rule.hedge is None else {"hedge": hedge_json(rule.hedge)}),
    }


def _settings(found: Mapping[str, Any]) -> Settings:
    slo, limits, breaker = found["slo"], found["limits"], found["limits"]["breaker"]
    floor, confidence = found["quality_floor"], None
    if isinstance(floor, dict):
        floor, confidence = floor["at_least"], float(floor["confidence"])
    return Settings(
        minimize=found["minimize"],
        quality_floor=float(floor),
        confidence=confidence,
        slo=Slo(_milliseconds(slo["ttft_p95_ms"]), _milliseconds(slo["e2e_p95_ms"])),
        max_output_tokens=int(found["max_output_tokens"]),
        limits=Limits(
            deadline_ms=int(limits["deadline_ms"]),
            ttft_timeout_ms=int(limits["ttft_timeout_ms"]),
            inter_chunk_timeout_ms=int(limits["inter_chunk_timeout_ms"]),
            attempts=int(limits["attempts"]),
            breaker=Breaker(int(breaker["failures"]), int(breaker["open_ms"])),
        ),
        relax=tuple(found["relax"]),
        strict=found["strict"],
        thinking=found["thinking"],
    )


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else float(value)

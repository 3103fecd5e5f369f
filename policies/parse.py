"""Text of a policy -> Policy, or every mistake with its file:line.

The form is checked first; where a part of the document has the right form, its meaning is checked
too, so that one run tells all that is wrong.

* yamlfile.Invalid   the document is at fault: every problem, in the order of the lines
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yamlfile
from policies.acceptance import ACCEPTANCE
from policies.budget_form import budget_faults, compiled_budget
from policies.canary import canary_faults, compiled_canary
from policies.compiled import COMPILED_VERSION, TRY_AND_THEN, from_compiled, settings_json
from policies.conditions import CONDITIONS, Written, texts
from policies.hedge_form import compiled_hedge, hedge_faults
from policies.model import Policy, Settings
from policies.names import Names
from policies.rate_limit_form import compiled_rate_limit, rate_limit_faults
from policies.schema import schema
from policies.shadow import shadow_faults
from yamlfile import Document, Fault, Path, suggest

WAITS = ("ttft_timeout_ms", "inter_chunk_timeout_ms")


def parse(text: str, name: str, names: Names) -> Policy:
    """Return the policy; `name` is the file as messages call it, `names` what it may refer to."""
    return load(text, name, names)[1]


def load(text: str, name: str, names: Names) -> tuple[Document, Policy]:
    """Return the policy and the document it was read from, for those who need its lines."""
    document = yamlfile.parse(text, name)
    form = yamlfile.faults(document, schema())
    found = list(form)
    if isinstance(document.value, dict):
        found += _meaning(document, names, form)
    if found:
        raise document.invalid(found)
    return document, from_compiled(_compiled(document.value))


# ---- what is wrong ---------------------------------------------------------------------------


def _meaning(document: Document, names: Names, form: list[Fault]) -> Iterator[Fault]:
    def sound(*path: str | int) -> bool:
        return not any(spoilt[: len(path)] == path for spoilt, _ in form)

    value = document.value
    if "baseline" in value and sound("baseline"):
        yield from _baseline_faults(value["baseline"], names)
    defaults: dict[str, Any] | None = None
    if sound("defaults"):
        written = value.get("defaults", {})
        defaults = _merged(settings_json(Settings()), written)
        yield from _limit_faults(("defaults",), "", written, defaults)
        yield from _floor_faults(("defaults",), "", written)

    def readable_of(key: str) -> dict[int, Any]:
        listed = value.get(key)
        listed = listed if isinstance(listed, list) else []
        return {i: each for i, each in enumerate(listed) if sound(key, i)}

    budgets = readable_of("budgets")
    yield from budget_faults(budgets)
    yield from rate_limit_faults(readable_of("rate_limits"))
    if sound("shadow"):
        yield from shadow_faults(value, budgets, names)
    if sound("canary"):
        yield from canary_faults(value)
    readable = readable_of("rules")
    yield from _order_faults(document, readable)
    for i, rule in readable.items():
        prefix = f"rule {rule['id']}: "
        yield from _name_faults(i, rule, names, prefix)
        yield from _condition_faults(i, rule, prefix)
        yield from _cascade_faults(i, rule, prefix)
        yield from _floor_faults(("rules", i), prefix, rule)
        if defaults is not None:
            merged = _merged(defaults, rule)
            yield from _limit_faults(("rules", i), prefix, rule, merged)
            yield from _attempt_faults(i, rule, prefix, merged)
            yield from hedge_faults(i, rule, prefix, merged, budgets)


def _baseline_faults(baseline: str, names: Names) -> Iterator[Fault]:
    model, fleet = baseline.split("@")
    served = names.model_of.get(fleet, model)
    if model not in names.models:
        yield ("baseline",), f"baseline: unknown model `{model}` {suggest(model, names.models)}"
    if fleet not in names.fleets:
        yield ("baseline",), f"baseline: unknown fleet `{fleet}` {suggest(fleet, names.fleets)}"
    elif model in names.models and served != model:
        yield ("baseline",), f"baseline: fleet `{fleet}` serves `{served}`, not `{model}`"


def _order_faults(document: Document, rules: Mapping[int, Mapping[str, Any]]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    catch_all: int | None = None
    for i, rule in rules.items():
        name = rule["id"]
        if name in first:
            line = document.line("rules", first[name], "id")
            yield ("rules", i, "id"), f"rule {name}: this id stands already on line {line}"
        first.setdefault(name, i)
        if catch_all is not None:
            above = rules[catch_all]["id"]
            line = document.line("rules", catch_all)
            said = f"never reached: rule `{above}` on line {line} matches every request"
            yield ("rules", i), f"rule {name}: {said}"
        elif not rule.get("when"):
            catch_all = i


def _name_faults(i: int, rule: Mapping[str, Any], names: Names, prefix: str) -> Iterator[Fault]:
    cascade = rule.get("cascade", {})
    here = ("rules", i, "cascade")
    for path, name in (
        *_texts_at(("rules", i, "use"), rule.get("use", [])),
        *_texts_at((*here, "try"), cascade.get("try", [])),
        *_texts_at((*here, "then"), cascade.get("then", [])),
    ):
        if name not in names.lanes and name not in names.fleets:
            yield path, prefix + _unknown_lane(name, names)
    for path, region in _texts_at(("rules", i, "residency"), rule.get("residency", [])):
        if region not in names.regions:
            yield path, f"{prefix}unknown region `{region}` {suggest(region, names.regions)}"


def _unknown_lane(name: str, names: Names) -> str:
    close = difflib.get_close_matches(name[:80], names.lanes | names.fleets, n=1)
    if close and close[0] not in names.lanes:
        return f"unknown fleet `{name}` {suggest(name, names.fleets)}"
    return f"unknown lane `{name}` {suggest(name, names.lanes)}"


def _condition_faults(i: int, rule: Mapping[str, Any], prefix: str) -> Iterator[Fault]:
    for name, written in rule.get("when", {}).items():
        for inside, said in CONDITIONS[name].objections(written):
            yield ("rules", i, "when", name, *inside), f"{prefix}{name}: {said}"


def _cascade_faults(i: int, rule: Mapping[str, Any], prefix: str) -> Iterator[Fault]:
    cascade = rule.get("cascade")
    if cascade is None:
        return
    path = ("rules", i, "cascade")
    if "use" in rule:
        said = "a cascade has no `use`: its lanes are `try` and `then`"
        yield ("rules", i, "use"), prefix + said
    for name in sorted({*texts(cascade["try"])} & {*texts(cascade["then"])}):
        yield (*path, "then"), f"{prefix}`{name}` is in `try` already: it would be asked again"
    for name, written in cascade["accept_if"].items():
        for inside, said in ACCEPTANCE[name].objections(written):
            yield (*path, "accept_if", name, *inside), f"{prefix}{name}: {said}"


def _attempt_faults(
    i: int, rule: Mapping[str, Any], prefix: str, merged: Mapping[str, Any]
) -> Iterator[Fault]:
    attempts = merged["limits"]["attempts"]
    if "cascade" in rule and attempts < TRY_AND_THEN:
        own = "attempts" in rule.get("limits", {})
        path = ("rules", i, "limits", "attempts") if own else ("rules", i, "cascade")
        said = f"`attempts` ({attempts}{'' if own else ', inherited'}) leaves none for `then`"
        yield path, f"{prefix}{said}: a cascade takes 2 or more"


def _limit_faults(
    path: Path, prefix: str, written: Mapping[str, Any], merged: Mapping[str, Any]
) -> Iterator[Fault]:
    limits, own = merged["limits"], written.get("limits", {})
    deadline = limits["deadline_ms"]
    for key in WAITS:
        here = next((k for k in (key, "deadline_ms") if k in own), None)
        if here is not None and limits[key] > deadline:
            origin = "" if key in own else ", inherited"
            said = f"`{key}` ({limits[key]}{origin}) is above `deadline_ms` ({deadline})"
            yield (*path, "limits", here), prefix + said


def _floor_faults(path: Path, prefix: str, written: Mapping[str, Any]) -> Iterator[Fault]:
    floor = written.get("quality_floor")
    if isinstance(floor, dict) and "confidence" in floor and floor["at_least"] >= 1:
        said = f"`at_least` ({floor['at_least']:g}) must be below 1: no number of labels proves it"
        yield (*path, "quality_floor", "at_least"), f"{prefix}quality_floor: {said}"


def _texts_at(path: Path, written: Written) -> Iterator[tuple[Path, str]]:
    if isinstance(written, str):
        yield path, written
        return
    items = written.items() if isinstance(written, dict) else enumerate(written)
    for step, item in items:
        yield from _texts_at((*path, step), item)


# ---- what is meant ---------------------------------------------------------------------------


def _compiled(value: Mapping[str, Any]) -> dict[str, Any]:
    defaults = _merged(settings_json(Settings()), value.get("defaults", {}))
    return {
        "version": COMPILED_VERSION,
        "name": value["name"],
        "baseline": value["baseline"],
        "defaults": defaults,
        "rules": [_rule(rule, defaults) for rule in value["rules"]],
        **_shared(value),
    }


def _shared(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what holds over many requests, without the parts that aren't written."""
    found: dict[str, Any] = {}
    if value.get("budgets"):
        found["budgets"] = [compiled_budget(budget) for budget in value["budgets"]]
    if value.get("rate_limits"):
        found["rate_limits"] = [compiled_rate_limit(limit) for limit in value["rate_limits"]]
    if "shadow" in value:
        found["shadow"] = {**value["shadow"], "share": float(value["shadow"]["share"])}
    if "canary" in value:
        found["canary"] = compiled_canary(value["canary"])
    return found


def _rule(rule: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": rule["id"],
        "when": {
            name: CONDITIONS[name].canonical(written)
            for name, written in rule.get("when", {}).items()
        },
        **_lanes(rule),
        "residency": texts(rule["residency"]) if "residency" in rule else None,
        "settings": _merged(defaults, rule),
        **({"hedge": compiled_hedge(rule["hedge"])} if "hedge" in rule else {}),
    }


def _lanes(rule: Mapping[str, Any]) -> dict[str, Any]:
    cascade = rule.get("cascade")
    if cascade is None:
        return {"use": _groups(rule["use"])}
    tests = cascade["accept_if"]
    return {
        "use": [texts(cascade["try"]), texts(cascade["then"])],
        "accept_if": {name: ACCEPTANCE[name].canonical(tests[name]) for name in tests},
    }


def _groups(use: Written) -> list[list[str]]:
    if not isinstance(use, dict):
        return [texts(use)]
    in_order = use["in_order"]
    return [texts(group) for group in ([in_order] if isinstance(in_order, str) else in_order)]


# How a setting is taken over the one it replaces; any other simply replaces it.
_MERGE: Mapping[str, Callable[[Any, Any], Any]] = {
    "slo": lambda base, written: {**base, **written},
    "limits": lambda base, written: {
        **base,
        **written,
        "breaker": {**base["breaker"], **written.get("breaker", {})},
    },
    "quality_floor": lambda _, written: _floor(written),
    "relax": lambda _, written: [written] if isinstance(written, str) else written,
}


def _floor(written: Written) -> Written:
    """Return the floor, which replaces the one above it with its confidence."""
    return written["at_least"] if isinstance(written, dict) and len(written) == 1 else written


def _merged(base: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings `base` with those that were written in their place, key by key."""
    merged = dict(base)
    for key in base.keys() & written.keys():
        merge = _MERGE.get(key)
        merged[key] = merge(base[key], written[key]) if merge else written[key]
    return merged

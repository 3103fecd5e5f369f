"""The conditions that a rule's `when` may hold: the one table.

A condition is one entry of CONDITIONS: how it is written (a JSON Schema fragment), its canonical
form (what the compiled policy holds), the test it makes, and what no schema can say of it. The
schema, the parser and the compiled form all read this table.

A list means any of its values; one text may stand wherever a list may. `below` and `above` leave
the number itself out.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from policies.model import Facts, Matcher

Schema = Mapping[str, Any]
Written = Any  # a value that its schema has let through
Objection = tuple[tuple[str, ...], str]
"""The key inside the condition, and what is wrong there."""

TIERS = ("simple", "heavy")
SERVICE_CLASSES = ("interactive", "standard", "deferrable")
NEEDS = ("tools", "json", "vision", "thinking", "logprobs")
LANGUAGES = ("zh-Hans", "zh-Hant", "en", "mixed", "other")
CHINESE = frozenset({"zh", "zh-Hans", "zh-Hant"})  # a bare `zh` in a policy means any of them
TASKS = (
    "classification",
    "sentiment",
    "extraction",
    "translation",
    "short_answer",
    "rewriting",
    "summarization",
    "moderation",
    "structured_output",
    "code",
    "math",
    "reasoning",
    "planning",
    "agentic",
    "creative",
    "multi_turn",
    "other",
)
TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
ABBREVIATION = 4  # characters of the longest usual ones: CST, AEST
MINUTES_A_DAY = 24 * 60
# The database names China's time after one city; spelling would lead to others.
MEANT = MappingProxyType({f"Asia/{city}": "Asia/Shanghai" for city in ("Beijing", "Peking")})


def _no_objection(_: Written) -> Iterator[Objection]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to look at a request. `canonical` gives equal JSON for equal meaning."""

    schema: Schema
    canonical: Callable[[Written], Any]
    matcher: Callable[[Any], Matcher]
    objections: Callable[[Written], Iterator[Objection]] = _no_objection


def texts(written: str | Sequence[str]) -> list[str]:
    """Return what was written as a text or a list of texts: sorted, each one once."""
    return sorted({written} if isinstance(written, str) else set(written))


def text_or_list(item: Schema, described: str) -> Schema:
    """Return the form of one such text or a list of them."""
    items = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [item, items], "description": described}


def _one_of(read: Callable[[Facts], str], values: Sequence[str], described: str) -> Kind:
    return _any_of(read, text_or_list({"enum": list(values)}, described))


def _named(read: Callable[[Facts], str | None], described: str) -> Kind:
    name = {"type": "string", "pattern": "^[^*]+$", "description": "a name in full (no wildcards)"}
    return _any_of(read, text_or_list(name, described))


def _any_of(read: Callable[[Facts], str | None], schema: Schema) -> Kind:
    def matcher(wanted: list[str]) -> Matcher:
        found = frozenset(wanted)
        return lambda facts: read(facts) in found

    return Kind(schema, texts, matcher)


def _languages() -> Kind:
    def matcher(wanted: list[str]) -> Matcher:
        found = frozenset(wanted) | (CHINESE if "zh" in wanted else frozenset())
        return lambda facts: facts.language in found

    described = "a language or a list of them; `zh` is Chinese in either script"
    return Kind(text_or_list({"enum": ["zh", *LANGUAGES]}, described), texts, matcher)


def _needs() -> Kind:
    def matcher(wanted: list[str]) -> Matcher:
        found = frozenset(wanted)
        return lambda facts: not found.isdisjoint(facts.needs)

    described = "an ability or a list of them, of which the request needs at least one"
    return Kind(text_or_list({"enum": list(NEEDS)}, described), texts, matcher)


def _tags() -> Kind:
    def canonical(written: Mapping[str, Written]) -> dict[str, list[str]]:
        return {tag: texts(values) for tag, values in written.items()}

    def matcher(wanted: Mapping[str, list[str]]) -> Matcher:
        pairs = tuple((tag, frozenset(values)) for tag, values in wanted.items())

        def matches(facts: Facts) -> bool:
            for tag, values in pairs:  # noqa: SIM110  (a generator costs more than the tests)
                if facts.tags.get(tag) not in values:
                    return False
            return True

        return matches

    value = {"type": "string", "minLength": 1}
    schema = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": text_or_list(value, "a value or a list of values"),
        "description": "tags with their values; every tag must be there",
    }
    return Kind(schema, canonical, matcher)


def numbers_between(bounds: Mapping[str, Schema], described: str) -> Schema:
    """Return the form of `{above, below}`, at least one of them."""
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": dict(bounds),
        "description": described,
    }


def nothing_between(written: Mapping[str, float], *, whole: bool) -> Iterator[Objection]:
    """Object to bounds that leave no number between them; `whole`: no integer."""
    above, below = written.get("above", -1.0), written.get("below", float("inf"))
    if above + (1 if whole else 0) >= below:
        yield ("above",), f"no number is above `{above}` and below `{below}`"


def _number(read: Callable[[Facts], float], bounds: Mapping[str, Schema], described: str) -> Kind:
    whole = bounds["above"]["type"] == "integer"
    convert = int if whole else float

    def canonical(written: Mapping[str, float]) -> dict[str, float]:
        return {side: convert(value) for side, value in written.items()}

    def matcher(wanted: Mapping[str, float]) -> Matcher:
        above, below = wanted.get("above", -1.0), wanted.get("below", float("inf"))
        return lambda facts: above < read(facts) < below

    def objections(written: Mapping[str, float]) -> Iterator[Objection]:
        return nothing_between(written, whole=whole)

    schema = numbers_between(bounds, described)
    return Kind(schema, canonical, matcher, objections)


def _local_time() -> Kind:
    def canonical(written: Mapping[str, str]) -> dict[str, str]:
        return {"tz": "UTC", **written}

    def matcher(wanted: Mapping[str, str]) -> Matcher:
        zone = ZoneInfo(wanted["tz"])
        start, end = _minutes(wanted["from"]), _minutes(wanted["to"])
        length = (end - start) % MINUTES_A_DAY

        def matches(facts: Facts) -> bool:
            local = datetime.fromisoformat(facts.at).astimezone(zone)
            return (local.hour * 60 + local.minute - start) % MINUTES_A_DAY < length

        return matches

    def objections(written: Mapping[str, str]) -> Iterator[Objection]:
        if written["from"] == written["to"]:
            yield ("to",), "`from` and `to` are the same: no time is between them"
        if "tz" in written and not known_zone(written["tz"]):
            yield ("tz",), unknown_zone(written["tz"])

    time = {
        "type": "string",
        "pattern": TIME_OF_DAY,
        "description": 'a time of day, "00:00" to "23:59"',
    }
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["from", "to"],
        "properties": {
            "from": time,
            "to": time,
            "tz": {"type": "string", "description": "a time zone such as `Asia/Shanghai`"},
        },
        "description": "the local time from `from` on, until just before `to`; over midnight too",
    }
    return Kind(schema, canonical, matcher, objections)


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of the database
        return False
    return True


def unknown_zone(name: str) -> str:
    name = name[:40]
    return f"unknown time zone `{name}` (such as `{zone_meant(name) or 'Asia/Shanghai'}`)"


def zone_meant(name: str) -> str | None:
    """Return the zone that a mistyped name is near to; None: an abbreviation is near to others."""
    name = name[:40]
    if name in MEANT:
        return MEANT[name]
    spelt = {zone.lower(): zone for zone in available_timezones()}
    if name.lower() in spelt:
        return spelt[name.lower()]
    if "/" not in name and (name.isupper() or len(name) <= ABBREVIATION):
        return None
    close = difflib.get_close_matches(name.lower(), spelt, n=1)
    return spelt[close[0]] if close else None


COMPLEXITY = {
    "below": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "above": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
}
TOKENS = {
    "below": {"type": "integer", "minimum": 1},
    "above": {"type": "integer", "minimum": 0},
}

# in the order in which a rule tries them: the cheap ones first
CONDITIONS: Mapping[str, Kind] = MappingProxyType(
    {
        "tier": _one_of(lambda f: f.tier, TIERS, "a tier or a list of them"),
        "task": _one_of(lambda f: f.task, TASKS, "a task or a list of them"),
        "language": _languages(),
        "service_class": _one_of(
            lambda f: f.service_class, SERVICE_CLASSES, "a service class or a list of them"
        ),
        "tenant": _named(lambda f: f.tenant, "a tenant or a list of them"),
        "team": _named(lambda f: f.team, "a team or a list of them"),
        "key": _named(lambda f: f.key, "the public id of a key, or a list of them"),
        "requested_model": _named(
            lambda f: f.requested_model,
            "what the caller wrote as `model`, or a list of it: `auto`, a model, model@fleet",
        ),
        "complexity": _number(lambda f: f.complexity, COMPLEXITY, "{below, above} from 0 to 1"),
        "tokens_in": _number(lambda f: f.tokens_in, TOKENS, "{below, above} in input tokens"),
        "tags": _tags(),
        "needs": _needs(),
        "local_time": _local_time(),
    }
)

"""The form of a policy document, as a JSON Schema (2020-12).

The conditions come from their table, so that a new one is written once. `policies/schema.json` is
this schema for editors and other tools; `python -m policies.schema > policies/schema.json` writes
it, and a test compares the two. With `--appconfig` it is what AWS AppConfig checks policies by.

The form knows the whole contract. What this version doesn't enforce yet is refused by `parse`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from policies.acceptance import ACCEPTANCE
from policies.conditions import CONDITIONS, Schema, text_or_list
from policies.model import Minimize, Per, Soft
from policies.schema_draft4 import DRAFT_4, draft4

NAME = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    "description": "a name of up to 64 ASCII letters (a-z, A-Z), digits, `.`, `_` and `-`",
}
MODEL_AT_FLEET = {
    "type": "string",
    "pattern": "^[^@]+@[^@]+$",
    "description": "a model and its fleet, `model@fleet`",
}
MINIMIZE = tuple(name for name in get_args(Minimize) if name != "best")  # `auto:best` asks for that
SOFT: tuple[str, ...] = get_args(Soft)
DAY_MS = 86_400_000
MOST_TOKENS = 10_000_000  # above every context; a slip of the finger otherwise
MOST_ATTEMPTS = 100  # a prompt of each is set aside
MOST_FAILURES = 1_000_000  # no breaker any more
MOST_A_MINUTE = 10**12  # as for keys

_TEXT = {"type": "string", "minLength": 1}
_YES_OR_NO = {"type": "boolean"}
_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_USD = {
    **_ABOVE_ZERO,
    "maximum": 1_000_000_000,  # nano-USD fit in 64 bits
    "description": "USD above 0, without a sign: 400",
}
_SHARE = {
    "type": "number",
    "minimum": 0,
    "maximum": 1,
    "description": "a share from 0 to 1: 0.3, not 30%",
}
_COUNT = {"type": "integer", "minimum": 1}
_FLOOR = {"type": "number", "minimum": 0, "maximum": 10}
_CONFIDENCE = {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1}
_MILLISECONDS = {"type": "integer", "minimum": 1, "maximum": DAY_MS}
_OBJECTIVE_MS = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "maximum": DAY_MS,
    "description": "milliseconds above 0, without a unit: 2000 for 2 s; or null",
}


def _object(
    title: str, properties: Mapping[str, Schema], required: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "type": "object",
        "title": title,
        "additionalProperties": False,
        "required": list(required),
        "properties": dict(properties),
    }


def _list(item: Schema, **more: object) -> dict[str, Any]:
    return {"type": "array", "items": item, **more}


_WAITS = {
    "deadline_ms": {**_MILLISECONDS, "title": "One deadline for all attempts of a request"},
    "ttft_timeout_ms": {**_MILLISECONDS, "title": "From sending to the first content token"},
    "inter_chunk_timeout_ms": {**_MILLISECONDS, "title": "Between two chunks of a stream"},
    "attempts": {
        **_COUNT,
        "maximum": MOST_ATTEMPTS,
        "title": "Attempts of one request, the first one included",
    },
}
_BREAKER = _object(
    "When a fleet is left alone after failures",
    {
        "failures": {
            **_COUNT,
            "maximum": MOST_FAILURES,
            "title": "Failures in a row that open the circuit",
        },
        "open_ms": {**_MILLISECONDS, "title": "How long the circuit stays open"},
    },
)
_RELAX: Schema = {
    "title": "What gives way, in this order, when no fleet is feasible; []: refuse",
    "description": "a list of soft constraints",
    "anyOf": [{"enum": list(SOFT)}, _list({"enum": list(SOFT)}, uniqueItems=True)],
}
_SETTINGS: Mapping[str, Schema] = {
    "minimize": {"enum": list(MINIMIZE), "title": "Which feasible fleet comes first"},
    "quality_floor": {
        "title": "The least quality, relative to the baseline model (1.0)",
        "description": "a number or {at_least: 0.85, confidence: 0.95} (0 to 10; 0.85, not 85%)",
        "anyOf": [
            _FLOOR,
            _object(
                "At least, and how surely labels must prove it of a model whose quality is p_small",
                {"at_least": _FLOOR, "confidence": _CONFIDENCE},
                ["at_least"],
            ),
        ],
    },
    "slo": _object(
        "Latency objectives; null: none",
        {
            "ttft_p95_ms": {**_OBJECTIVE_MS, "title": "Time to the first token, 95th percentile"},
            "e2e_p95_ms": {**_OBJECTIVE_MS, "title": "Time to the last token, 95th percentile"},
        },
    ),
    "max_output_tokens": {
        **_COUNT,
        "maximum": MOST_TOKENS,
        "title": "The output limit where the caller sets none",
    },
    "relax": _RELAX,
    "strict": {**_YES_OR_NO, "title": "Refuse fleets whose latency or cost is unknown"},
    "thinking": {"enum": ["off", "on"], "title": "The thinking switch of models that have one"},
}
_DEFAULTS = _object(
    "What holds in every rule that doesn't say otherwise",
    {
        **_SETTINGS,
        "limits": _object("Bounds of a request's attempts", {**_WAITS, "breaker": _BREAKER}),
    },
)

_WHEN = _object(
    "All of these must hold; left out or empty: every request",
    {name: kind.schema for name, kind in CONDITIONS.items()},
)
_IN_ORDER: Schema = {
    "description": "a list of lanes, fleets, or lists of them",
    "anyOf": [
        _TEXT,
        _list(text_or_list(_TEXT, "a lane, a fleet, or a list of them"), minItems=1),
    ],
}
_USE: Schema = {
    "title": "Lanes or fleets that may serve: one set, or sets in order",
    "description": "a lane, a list of lanes (one set), or {in_order: [cpu, accelerator]}",
    "anyOf": [
        _TEXT,
        _list(_TEXT, minItems=1, uniqueItems=True),
        _object(
            "The first set with a feasible fleet serves", {"in_order": _IN_ORDER}, ["in_order"]
        ),
    ],
}
_HEDGE = _object(
    "A second attempt beside a stream whose first token is late, if that is worth its cost",
    {
        "after": {
            "title": "When it starts: the predicted p95 of the time to the first token, or then",
            "description": "`ttft_p95`, or milliseconds from 1",
            "type": ["string", "integer"],
            "pattern": "^ttft_p95$",
            "minimum": 1,
            "maximum": DAY_MS,
        },
        "spend_up_to_usd": {**_USD, "title": "What a first token in time is worth, and the most"},
    },
    ["after", "spend_up_to_usd"],
)
_CASCADE = _object(
    "Try one lane, and keep its answer if it passes every test; else another lane answers",
    {
        "try": {
            "title": "Lanes or fleets of which the best is asked first",
            **text_or_list(_TEXT, "a lane, a fleet or a list of them"),
        },
        "accept_if": {
            **_object(
                "The tests that the first answer must pass",
                {name: form.schema for name, form in ACCEPTANCE.items()},
            ),
            "minProperties": 1,
        },
        "then": {
            "title": "Lanes or fleets that answer where the first answer is not kept",
            **text_or_list(_TEXT, "a lane, a fleet or a list of them"),
        },
    },
    ["try", "accept_if", "then"],
)
_RULE: Schema = {
    **_object(
        "A rule: the first one that matches decides",
        {
            "id": NAME,
            "when": _WHEN,
            "use": _USE,
            "residency": {
                "title": "Regions that the request may not leave",
                **text_or_list(_TEXT, "a region or a list of them"),
            },
            **_SETTINGS,
            "limits": _object("Bounds of a request's attempts", _WAITS),
            "hedge": _HEDGE,
            "cascade": _CASCADE,
        },
        ["id"],
    ),
    "anyOf": [{"required": ["use"]}, {"required": ["cascade"]}],
}

_MATCH = _object(
    "Whose requests count; `*`: each value is counted apart",
    {
        "tenant": _TEXT,
        "team": _TEXT,
        "key": _TEXT,
        "tags": {"type": "object", "additionalProperties": _TEXT, "minProperties": 1},
    },
)
_BUDGET = _object(
    "Money that an identity may spend in a period",
    {
        "id": NAME,
        "match": _MATCH,
        "usd": _USD,
        "per": {"enum": list(get_args(Per))},
        "tz": _TEXT,
        "when_spent": {"enum": ["reject", "downgrade", "alert"]},
        "hard_usd": _USD,
        "alert_at": _list(_ABOVE_ZERO),
    },
    ["id", "match", "usd", "per", "when_spent"],
)
_RATE = {**_COUNT, "maximum": MOST_A_MINUTE}
_RATE_LIMIT: Schema = {
    **_object(
        "What requests of an identity may do together, beside the limits of their keys",
        {
            "id": NAME,
            "match": _MATCH,
            "requests_per_min": {**_RATE, "title": "Requests a minute"},
            "tokens_per_min": {**_RATE, "title": "Tokens a minute, in and out"},
            "concurrent": {**_RATE, "title": "Requests at once"},
        },
        ["id", "match"],
    ),
    "description": "a limit: give `requests_per_min`, `tokens_per_min` or `concurrent`",
    "not": {"propertyNames": {"enum": ["id", "match"]}},  # at least one of the three
}
_SHADOW = _object(
    "Ask a share of what small models answered again of the baseline, and judge both answers",
    {"share": _SHARE, "judge": _TEXT, "budget": NAME},
    ["share", "judge", "budget"],
)
_STOP_IF = _object(
    "When the other policy is stopped",
    {"error_rate_above": _SHARE, "cost_ratio_above": _ABOVE_ZERO},
)
_PART = {**_SHARE, "description": "a share above 0 and below 1: 0.3, not 30%"}
_CANARY = _object(
    "Serve a share of the requests by another policy",
    {"policy": NAME, "share": _PART, "stop_if": _STOP_IF},
    ["policy", "share"],
)
_BASELINE: Schema = {
    **MODEL_AT_FLEET,
    "title": "Savings are counted against this fleet serving everything alone",
}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": (
            "Who may serve what, and why: rules in order, the first that matches decides. "
            "`sluice policy check` tells every mistake with its line."
        ),
        **_object(
            "Sluice policy",
            {
                "version": {"const": 1, "description": "1, the only version of this form"},
                "name": NAME,
                "baseline": _BASELINE,
                "defaults": _DEFAULTS,
                "rules": _list(_RULE, minItems=1),
                "budgets": _list(_BUDGET),
                "rate_limits": _list(_RATE_LIMIT),
                "shadow": _SHADOW,
                "canary": _CANARY,
            },
            ["version", "name", "baseline", "rules"],
        ),
    }


def published() -> str:
    """Return the text of `policies/schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def appconfig_schema() -> str:
    """Return what an AppConfig validator of type JSON_SCHEMA takes: draft 4, on one line."""
    text = {"$schema": DRAFT_4, **draft4(schema())}
    return json.dumps(text, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout.write(appconfig_schema() + "\n" if "--appconfig" in sys.argv else published())

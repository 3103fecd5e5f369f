"""The form of a case file, as a JSON Schema."""

from typing import Any

from policies.conditions import LANGUAGES, NEEDS, SERVICE_CLASSES, TASKS, TIERS, Schema
from policies.schema import SOFT


def _object(**properties: Schema) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_TEXT: Schema = {"type": "string", "minLength": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_AMOUNT: Schema = {"type": "number", "minimum": 0}
_OR_UNKNOWN: Schema = {"type": ["number", "null"], "minimum": 0}
_TEXT_OR_NONE: Schema = {"type": ["string", "null"], "minLength": 1}
_FACTS = _object(
    at={
        "type": "string",
        "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$",
        "description": "a UTC time such as 2026-01-05T12:00:00Z",
    },
    tenant=_TEXT,
    team=_TEXT_OR_NONE,
    key=_TEXT,
    tags={"type": "object", "additionalProperties": _TEXT},
    task={"enum": list(TASKS)},
    tier={"enum": list(TIERS)},
    complexity=_SHARE,
    p_small=_SHARE,
    language={"enum": list(LANGUAGES)},
    tokens_in=_COUNT,
    tokens_out=_COUNT,
    max_tokens=_COUNT,
    n=_COUNT,
    needs=_list({"enum": list(NEEDS)}),
    service_class={"enum": list(SERVICE_CLASSES)},
    requested_model=_TEXT,
    max_usd=_AMOUNT,
    slo_ttft_ms=_AMOUNT,
    may=_list({"enum": ["pin_model", "pin_fleet", "fastest", "best"]}),
    lanes=_list(_TEXT),
    models=_list(_TEXT),
    labels=_COUNT,
    labels_acceptable=_COUNT,
)
_GIVEN = _object(
    state={"enum": ["ready", "cold", "waking", "draining", "open-circuit", "at-limit"]},
    ttft_p50_ms=_OR_UNKNOWN,
    ttft_p95_ms=_OR_UNKNOWN,
    e2e_p50_ms=_OR_UNKNOWN,
    e2e_p95_ms=_OR_UNKNOWN,
    usd_marginal=_OR_UNKNOWN,
    usd_average=_OR_UNKNOWN,
    usd_router=_AMOUNT,
    quality=_AMOUNT,
    by_p_small={"type": "boolean"},
)
_EXPECT = _object(
    rule=_TEXT_OR_NONE,
    lane=_TEXT,
    fleet=_TEXT,
    model=_TEXT,
    then=_TEXT_OR_NONE,
    relaxed=_list({"enum": list(SOFT)}),
    usd_at_most=_AMOUNT,
    refused={
        "anyOf": [_TEXT, {"type": "object", "additionalProperties": _TEXT, "minProperties": 1}],
        "description": "a code (nobody serves), or lanes or fleets with the code of each",
    },
)
# What is asked is never repeated in a message: `writeOnly` says so to yamlfile.
_PROMPT: Schema = {**_TEXT, "writeOnly": True}
_MESSAGES: Schema = {
    **_list({"type": "object", "writeOnly": True}),
    "minItems": 1,
    "writeOnly": True,
}
_CASE = {
    **_object(
        name=_TEXT,
        facts=_FACTS,
        prompt=_PROMPT,
        messages=_MESSAGES,
        given={"type": "object", "additionalProperties": _GIVEN},
        expect={**_EXPECT, "minProperties": 1},
    ),
    "required": ["name", "expect"],
}
CASE_FILE: Schema = {
    **_object(
        version={"const": 1, "description": "1, the only version of this form"},
        cases={**_list(_CASE), "minItems": 1},
    ),
    "required": ["version", "cases"],
}

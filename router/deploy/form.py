"""The form (JSON Schema) of deploy.yaml. What a schema can't say stands in the checks beside it."""

from collections.abc import Mapping
from typing import Any, Final

from backends.availability import PARTITIONS

MODES: Final = ("keys", "jwt", "iam")

_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_ABOVE_ZERO = {"type": "integer", "minimum": 1}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:  # noqa: ANN401  (a schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_DOMAIN = {
    "type": "string",
    "pattern": r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$",
    "description": "a domain name in lower case, as llm.example.com",
}
_CLOCK = {
    "type": "string",
    "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
    "description": 'a time of day in quotes, as "22:00"',
}

_STAGE = _object(
    ["account", "region", "size", "fleets", "policy"],
    account={"type": ["string", "integer"]},
    region=_TEXT,
    partition={"enum": list(PARTITIONS)},
    size={"enum": ["small", "prod"]},
    fleets=_object(
        ["file", "use"],
        file=_TEXT,
        use={"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True},
    ),
    policy=_TEXT,
    cases=_TEXT,
    auth=_object(
        [],
        modes={"type": "array", "items": {"enum": list(MODES)}, "minItems": 1, "uniqueItems": True},
        config=_TEXT,
    ),
    domain=_object(
        ["name", "certificate"],
        name=_DOMAIN,
        certificate=_TEXT,
        zone={
            "type": "string",
            "pattern": r"^Z[A-Z0-9]{1,31}$",
            "description": "the id of a hosted zone of Route 53, as Z0123456789ABCDEFGHIJ",
        },
    ),
    private={"type": "boolean"},
    lanes=_object(["domain", "certificate"], domain=_DOMAIN, certificate=_TEXT),
    deferrable=_object(
        [],
        window=_object(["from", "to", "tz"], **{"from": _CLOCK}, to=_CLOCK, tz=_TEXT),
        at_once=_ABOVE_ZERO,
    ),
    alarms=_object(
        ["email"],
        email={
            "type": "string",
            "pattern": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
            "description": "an e-mail address",
        },
    ),
    usd_per_month={**_ABOVE_ZERO, "maximum": 100_000_000},
    router=_object(
        [],
        on={"enum": ["lambda", "fargate"]},
        memory_mb=_ABOVE_ZERO,
        provisioned=_COUNT,
        tasks={
            "type": "array",
            "items": _ABOVE_ZERO,
            "minItems": 2,
            "maxItems": 2,
            "description": "[least, most] tasks, as [2, 10]",
        },
        cpu_units=_ABOVE_ZERO,
    ),
)
SCHEMA: Mapping[str, Any] = _object(
    ["version", "stages"],
    version={"const": 1, "description": "1, the only version of this form"},
    stages={"type": "object", "minProperties": 1, "additionalProperties": _STAGE},
)

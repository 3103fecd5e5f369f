"""A JSON Schema (2020-12) in the words of draft 4, the only ones that AWS AppConfig reads.

It takes "JSON Schema version 4.X for inline schema", up to 32,768 characters
(docs.aws.amazon.com/appconfig/latest/userguide/appconfig-creating-configuration-and-profile-validators.html
and .../2019-10-09/APIReference/API_Validator.html). Words for people are left out.

* ValueError   the schema uses a word that draft 4 has no other for
"""

from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
FOR_PEOPLE = frozenset({"title", "description", "$schema"})
_AS_THEY_ARE = frozenset({
    "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
    "minimum", "maximum", "minProperties",
})  # fmt: skip


def draft4(schema: Schema) -> dict[str, Any]:
    """Return a schema that takes and refuses what this one does. Raises ValueError."""
    found: dict[str, Any] = {}
    for word, value in schema.items():
        if word in FOR_PEOPLE:
            continue
        if word in _AS_THEY_ARE:
            found[word] = value
        elif word in _WORDS:
            found |= _WORDS[word](value, schema)
        else:
            raise ValueError(f"draft 4 doesn't know `{word}`")
    return found


def _bound(side: str) -> Callable[[Any, Schema], dict[str, Any]]:
    def bound(value: float, schema: Schema) -> dict[str, Any]:
        if side in schema:
            raise ValueError(f"draft 4 has one `{side}`, open or closed")
        return {side: value, f"exclusive{side.capitalize()}": True}

    return bound


def _additional(value: bool | Schema, _: Schema) -> dict[str, Any]:
    return {"additionalProperties": value if isinstance(value, bool) else draft4(value)}


def _not(value: Schema, schema: Schema) -> dict[str, Any]:
    """Say `not only these keys` as `one of the others`: draft 4 has no propertyNames."""
    if set(value) != {"propertyNames"} or "anyOf" in schema:
        raise ValueError("draft 4 has no `propertyNames`: this `not` can't be said")
    others = [name for name in schema["properties"] if name not in value["propertyNames"]["enum"]]
    return {"anyOf": [{"required": [name]} for name in others]}


_WORDS: Mapping[str, Callable[[Any, Schema], dict[str, Any]]] = {
    "const": lambda value, _: {"enum": [value]},
    "required": lambda value, _: {"required": value} if value else {},  # [] is refused there
    "exclusiveMinimum": _bound("minimum"),
    "exclusiveMaximum": _bound("maximum"),
    "properties": lambda value, _: {
        "properties": {name: draft4(inner) for name, inner in value.items()}
    },
    "items": lambda value, _: {"items": draft4(value)},
    "anyOf": lambda value, _: {"anyOf": [draft4(inner) for inner in value]},
    "additionalProperties": _additional,
    "not": _not,
}

"""Is a JSON value of the form that a caller's own JSON Schema asks for? Pure, bounded in time.

The schema comes from outside: patterns are RE2's, references stay inside of it, and work and depth
are bounded. A keyword that is not in KEYWORDS, a reference to elsewhere, a schema that is none, or
too much of it: unknown, which is never valid. `format` and other annotations say nothing.
"""

from collections.abc import Callable, Hashable, Mapping
from fractions import Fraction
from typing import Any

from policies.acceptance import PATTERN_CHARS, pattern

Json = Any

STEPS = 50_000  # a step takes about a microsecond
DEPTH = 64

ANNOTATIONS = frozenset(
    [
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "format",
        "readOnly",
        "title",
        "writeOnly",
    ]
)


class _Unknown(Exception):  # noqa: N818  (it never leaves this file)
    pass


def fits(value: Json, schema: Json) -> bool:
    """Return whether the value is known to be valid by this schema."""
    try:
        return _Look(schema).holds(schema, value)
    except _Unknown:
        return False


class _Look:
    """One value held against one schema."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._left = STEPS
        self._depth = 0

    def holds(self, schema: Json, value: Json) -> bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise _Unknown
        self.spend(1 + len(schema))
        self._depth += 1
        if self._depth > DEPTH:
            raise _Unknown
        good = all(
            self._keyword(key)(self, wanted, value, schema)
            for key, wanted in schema.items()
            if key not in ANNOTATIONS
        )
        self._depth -= 1
        return good

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _Unknown

    def target(self, reference: Json) -> Json:
        """Return the schema inside of this one that a reference names."""
        if not isinstance(reference, str) or not (reference + "/").startswith("#/"):
            raise _Unknown
        found = self._root
        for step in reference.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise _Unknown
            found = found[name]
        return found

    def same(self, one: Json, other: Json) -> bool:
        return self.key(one) == self.key(other)

    def key(self, value: Json, depth: int = 0) -> Hashable:
        """Return a value that is equal for equal JSON: 1 is 1.0, and true is not 1."""
        self.spend(1)
        if depth > DEPTH:
            raise _Unknown
        if isinstance(value, dict):
            return "map", frozenset((k, self.key(v, depth + 1)) for k, v in value.items())
        if isinstance(value, list):
            return "list", tuple(self.key(item, depth + 1) for item in value)
        return isinstance(value, bool), value

    @staticmethod
    def _keyword(key: str) -> "Keyword":
        if key not in KEYWORDS:
            raise _Unknown
        return KEYWORDS[key]


Keyword = Callable[[_Look, Json, Json, Mapping[str, Json]], bool]
"""(look, the keyword's value, the value under test, the schema it stands in) -> does it hold."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: Mapping[str, Callable[[Json], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "null": lambda value: value is None,
    "number": _is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def _a(kind: str, wanted: Json) -> Json:
    """Return what a keyword asks for, if a schema may ask so."""
    if not TYPES[kind](wanted):
        raise _Unknown
    return wanted


def _type(_: _Look, wanted: Json, value: Json, __: object) -> bool:
    names = [wanted] if isinstance(wanted, str) else _a("array", wanted)
    if not all(isinstance(name, str) and name in TYPES for name in names):
        raise _Unknown
    return any(TYPES[name](value) for name in names)


def _properties(look: _Look, wanted: Json, value: Json, _: object) -> bool:
    return not isinstance(value, dict) or all(
        look.holds(schema, value[name])
        for name, schema in _a("object", wanted).items()
        if name in value
    )


def _additional(look: _Look, wanted: Json, value: Json, schema: Mapping[str, Json]) -> bool:
    named = _a("object", schema.get("properties", {}))
    return not isinstance(value, dict) or all(
        look.holds(wanted, item) for name, item in value.items() if name not in named
    )


def _required(look: _Look, wanted: Json, value: Json, _: object) -> bool:
    look.spend(len(_a("array", wanted)))
    names = [_a("string", name) for name in wanted]
    return not isinstance(value, dict) or all(name in value for name in names)


def _items(look: _Look, wanted: Json, value: Json, schema: Mapping[str, Json]) -> bool:
    first = len(_a("array", schema.get("prefixItems", [])))
    return not isinstance(value, list) or all(look.holds(wanted, item) for item in value[first:])


def _prefix(look: _Look, wanted: Json, value: Json, _: object) -> bool:
    pairs = zip(_a("array", wanted), value if isinstance(value, list) else (), strict=False)
    return all(look.holds(schema, item) for schema, item in pairs)


def _unique(look: _Look, wanted: Json, value: Json, _: object) -> bool:
    if not _a("boolean", wanted) or not isinstance(value, list):
        return True
    return len({look.key(item) for item in value}) == len(value)


def _pattern(_: _Look, wanted: Json, value: Json, __: object) -> bool:
    if not isinstance(value, str):
        return True
    if len(_a("string", wanted)) > PATTERN_CHARS:
        raise _Unknown
    try:
        return pattern(wanted).search(value) is not None
    except ValueError:
        raise _Unknown from None


def _multiple(_: _Look, wanted: Json, value: Json, __: object) -> bool:
    if _a("number", wanted) <= 0:
        raise _Unknown
    return not _is_number(value) or Fraction(str(value)) % Fraction(str(wanted)) == 0


def _bound(
    kind: str, size: Callable[[Json], float], holds: Callable[[Json, Json], bool]
) -> Keyword:
    def check(_: _Look, wanted: Json, value: Json, __: object) -> bool:
        return not TYPES[kind](value) or holds(size(value), _a("number", wanted))

    return check


def _at_least(size: Json, bound: Json) -> bool:
    return bool(size >= bound)


def _at_most(size: Json, bound: Json) -> bool:
    return bool(size <= bound)


def _each(look: _Look, wanted: Json, value: Json) -> list[bool]:
    if not _a("array", wanted):
        raise _Unknown
    return [look.holds(schema, value) for schema in wanted]


KEYWORDS: Mapping[str, Keyword] = {
    "$ref": lambda look, wanted, value, _: look.holds(look.target(wanted), value),
    "additionalProperties": _additional,
    "allOf": lambda look, wanted, value, _: all(_each(look, wanted, value)),
    "anyOf": lambda look, wanted, value, _: any(_each(look, wanted, value)),
    "const": lambda look, wanted, value, _: look.same(wanted, value),
    "enum": lambda look, wanted, value, _: any(look.same(w, value) for w in _a("array", wanted)),
    "exclusiveMaximum": _bound("number", lambda v: v, lambda v, bound: bool(v < bound)),
    "exclusiveMinimum": _bound("number", lambda v: v, lambda v, bound: bool(v > bound)),
    "items": _items,
    "maxItems": _bound("array", len, _at_most),
    "maxLength": _bound("string", len, _at_most),
    "maxProperties": _bound("object", len, _at_most),
    "maximum": _bound("number", lambda v: v, _at_most),
    "minItems": _bound("array", len, _at_least),
    "minLength": _bound("string", len, _at_least),
    "minProperties": _bound("object", len, _at_least),
    "minimum": _bound("number", lambda v: v, _at_least),
    "multipleOf": _multiple,
    "not": lambda look, wanted, value, _: not look.holds(wanted, value),
    "oneOf": lambda look, wanted, value, _: sum(_each(look, wanted, value)) == 1,
    "pattern": _pattern,
    "prefixItems": _prefix,
    "properties": _properties,
    "required": _required,
    "type": _type,
    "uniqueItems": _unique,
}
"""What is read of a schema: draft 2020-12, as far as structured outputs are written in it."""

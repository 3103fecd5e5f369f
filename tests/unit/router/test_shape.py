"""A caller's JSON Schema: what it lets through, held against the reference implementation."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from router.shape import ANNOTATIONS, KEYWORDS, fits

scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 1.5, -2, "", "a", "账单", "ab1"])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
numbers = st.sampled_from([0, 1, 1.5, 2])
counts = st.sampled_from([0, 1, 2])
types = st.sampled_from(["array", "boolean", "integer", "null", "number", "object", "string"])


def keywords_over(inner):
    some = st.lists(inner, min_size=1, max_size=3)
    return {
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y~1z"]),
        "additionalProperties": inner,
        "allOf": some,
        "anyOf": some,
        "const": values,
        "enum": st.lists(values, max_size=3),
        "exclusiveMaximum": numbers,
        "exclusiveMinimum": numbers,
        "items": inner,
        "maxItems": counts,
        "maxLength": counts,
        "maxProperties": counts,
        "maximum": numbers,
        "minItems": counts,
        "minLength": counts,
        "minProperties": counts,
        "minimum": numbers,
        "multipleOf": st.sampled_from([1, 0.5, 2]),
        "not": inner,
        "oneOf": some,
        "pattern": st.sampled_from(["a", "^a", "[0-9]$", "单"]),
        "prefixItems": some,
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        "required": st.lists(st.sampled_from("abc"), unique=True),
        "type": types | st.lists(types, min_size=1, unique=True),
        "uniqueItems": st.booleans(),
        "title": st.just("a title"),
    }


def schemas_over(inner):
    return st.fixed_dictionaries({}, optional=keywords_over(inner))


leaves = st.booleans() | st.fixed_dictionaries({}, optional={"type": types, "minimum": numbers})
roots = schemas_over(st.recursive(leaves, schemas_over, max_leaves=4))


def test_the_pool_draws_every_keyword():
    drawn = keywords_over(st.none())
    assert KEYWORDS.keys() <= drawn.keys()
    assert drawn.keys() <= KEYWORDS.keys() | ANNOTATIONS


@given(roots, values)
def test_it_says_what_the_reference_implementation_says(root, value):
    schema = {**root, "$defs": {"x": {"type": ["string", "integer"]}, "y/z": {"minimum": 1}}}
    assert fits(value, schema) == Draft202012Validator(schema).is_valid(value)


def test_true_is_not_one():
    assert not fits(True, {"const": 1})
    assert not fits([0, False], {"contains": {}})
    assert fits([0, False], {"uniqueItems": True})
    assert not fits([1, 1.0], {"uniqueItems": True})


UNKNOWN = {
    "a keyword that is not read": {"patternProperties": {"a": {}}},
    "an unknown keyword below": {"properties": {"a": {"nullable": True}}},
    "a reference to elsewhere": {"$ref": "http://127.0.0.1:9/schema"},
    "a reference to a file": {"$ref": "file:///etc/passwd"},
    "a reference to nothing": {"$ref": "#/$defs/none"},
    "a reference that is no text": {"$ref": 5},
    "a reference that bites its tail": {"$ref": "#"},
    "a pattern that is none": {"properties": {"a": {"pattern": "("}}},
    "look-around": {"properties": {"a": {"pattern": "(?=a)"}}},
    "a very long pattern": {"properties": {"a": {"pattern": "a" * 2000}}},
    "no such type": {"type": "text"},
    "properties that are none": {"properties": 5},
    "a schema that is none": {"properties": {"a": 5}},
    "no alternatives": {"anyOf": []},
    "a bound that is none": {"properties": {"a": {"minLength": "1"}}},
    "multiples of nothing": {"properties": {"a": {"multipleOf": 0}}},
    "items as a list": {"properties": {"b": {"items": [{}]}}},
    "deeper than anybody writes": {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}
    | {"$ref": "#/$defs/a"},
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_judged_is_not_valid(name):
    assert not fits({"a": "a", "b": [1]}, UNKNOWN[name])


def test_a_schema_that_doubles_at_every_step_ends_soon():
    defs = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]}
        for i in range(24)
    }
    schema = {"$defs": {**defs, "d24": {}}, "$ref": "#/$defs/d0"}
    began = time.process_time()
    assert not fits({}, schema)
    assert time.process_time() - began < 5  # 50 million steps would take a minute


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("a" * 100_000 + "b", {"pattern": "^(a|aa)+$"}),
        ([[i] for i in range(200_000)], {"uniqueItems": True}),
        ("x", {"enum": [str(i) for i in range(500_000)]}),
    ],
    ids=["pattern", "uniqueItems", "enum"],
)
def test_no_keyword_takes_long(value, schema):
    began = time.process_time()
    assert not fits(value, schema)
    assert time.process_time() - began < 2


def test_values_deeper_than_anybody_means_are_not_valid():
    value = []
    for _ in range(500):
        value = [value]
    assert not fits(value, {"$defs": {"l": {"items": {"$ref": "#/$defs/l"}}}, "$ref": "#/$defs/l"})
    assert not fits(value, {"const": []})

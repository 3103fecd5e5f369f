"""Is the answer of a cascade's first fleet good enough? Pure: one table of tests.

What can't be known is not accepted: no log probabilities, no count of tokens, no schema to hold
the answer against. A truncated answer never is, whatever the tests say.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from policies.acceptance import pattern
from policies.model import Acceptance
from router.answer import Choice
from router.declining import declines
from router.shape import fits

Test = Callable[[Any, Choice, Any], bool]
"""(what the policy asks for, a choice of the answer, the request's JSON Schema or None) -> holds"""

WHOLE = frozenset({"stop", "tool_calls", "function_call"})  # what a fleet says of a whole answer
FINISH = "finish_reason"  # the test that every answer must pass
HELD = "held_bytes"  # said of a stream that is too long to be held
_NOT_JSON = object()


def failed_test(
    tests: Sequence[Acceptance], choices: Sequence[Choice], request: Mapping[str, Any]
) -> str | None:
    """Return the name of the first test that an answer fails, None if it is accepted.

    `request` is the caller's body. Every one of the choices that it asks for must pass.
    """
    whole = [choice.finish_reason in WHOLE for choice in choices]
    if len(whole) != (request.get("n") or 1) or not all(whole):
        return FINISH
    schema = schema_of(request)
    for test in tests:
        holds = TESTS[test.name]
        if not all(holds(test.wanted, choice, schema) for choice in choices):
            return test.name
    return None


def schema_of(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON Schema that a request asks its answer to have."""
    wanted = request.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    return schema if isinstance(schema, dict) else None


def _mean_logprob_above(wanted: float, choice: Choice, _: object) -> bool:
    found = choice.logprobs
    return bool(found) and sum(found or ()) / len(found or ()) > wanted


def _json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _schema_valid(_: object, choice: Choice, schema: Mapping[str, Any] | None) -> bool:
    value = _json(choice.text)
    return schema is not None and value is not _NOT_JSON and fits(value, schema)


def _tokens(wanted: Mapping[str, int], choice: Choice, _: object) -> bool:
    if choice.tokens is None:
        return False
    return wanted.get("above", -1) < choice.tokens < wanted.get("below", float("inf"))


# A new test is one entry here and one in policies.acceptance.ACCEPTANCE.
TESTS: Mapping[str, Test] = MappingProxyType(
    {
        "mean_logprob_above": _mean_logprob_above,
        "json_valid": lambda _, choice, __: _json(choice.text) is not _NOT_JSON,
        "schema_valid": _schema_valid,
        "matches": lambda wanted, choice, _: pattern(wanted).search(choice.text) is not None,
        "tokens": _tokens,
        "no_refusal": lambda _, choice, __: not choice.declined and not declines(choice.text),
    }
)

"""The tests that a cascade's `accept_if` may ask of an answer: how each one is written.

A test is one entry of ACCEPTANCE here (its form and canonical value), and one of
``router.accept.TESTS`` (what it says of an answer). They are made in the order of this table.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from policies.conditions import Objection, Schema, Written, nothing_between, numbers_between
from policies.model import Acceptance

PATTERN_CHARS = 1000
_TOKENS: Mapping[str, Schema] = {
    "above": {"type": "integer", "minimum": 0},
    "below": {"type": "integer", "minimum": 1},
}


def pattern(text: str) -> Any:  # noqa: ANN401  (a re2 pattern; the library has no types)
    """Return the compiled pattern; it is searched for in linear time. ValueError if it is none."""
    import re2  # noqa: PLC0415  (15 ms, and few policies have a pattern)

    return _compiled(re2, text)


@functools.lru_cache(maxsize=256)
def _compiled(re2: Any, text: str) -> Any:  # noqa: ANN401  (as above)
    options = re2.Options()
    options.log_errors = False  # else it writes them to standard error
    try:
        return re2.compile(text, options)
    except re2.error as exc:
        said = exc.args[0]
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None


def _pattern_objections(written: str) -> Iterator[Objection]:
    try:
        pattern(written)
    except ValueError as exc:
        yield (), f"not a pattern of RE2, which knows no look-around: {exc}"


def _checked_pattern(written: str) -> str:
    pattern(written)
    return written


def _no_objection(_: Written) -> Iterator[Objection]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Form:
    """How a test is written; `canonical` gives equal JSON for equal meaning."""

    schema: Schema
    canonical: Callable[[Written], Any]
    objections: Callable[[Written], Iterator[Objection]] = _no_objection


def _asked(title: str) -> Form:
    schema = {"const": True, "title": title, "description": "true; leave it out otherwise"}
    return Form(schema, lambda _: True)


ACCEPTANCE: Mapping[str, Form] = MappingProxyType(
    {
        "mean_logprob_above": Form(
            {
                "type": "number",
                "exclusiveMaximum": 0,
                "title": "The mean log probability of its tokens lies above this",
            },
            float,
        ),
        "json_valid": _asked("It is JSON and nothing else"),
        "schema_valid": _asked("It is JSON of the request's own JSON Schema"),
        "matches": Form(
            {
                "type": "string",
                "minLength": 1,
                "maxLength": PATTERN_CHARS,
                "title": "This pattern (RE2) is found in it",
                "description": f"a pattern of up to {PATTERN_CHARS} characters",
            },
            _checked_pattern,
            _pattern_objections,
        ),
        "tokens": Form(
            {
                **numbers_between(_TOKENS, "a mapping with `above`, `below` or both"),
                "title": "Its completion tokens, the bounds left out",
            },
            lambda written: {side: int(written[side]) for side in _TOKENS if side in written},
            lambda written: nothing_between(written, whole=True),
        ),
        "no_refusal": _asked("It doesn't begin by declining, in English or Chinese"),
    }
)


def reads_logprobs(tests: Iterable[Acceptance]) -> bool:
    """Return whether one of these tests needs the answer's log probabilities."""
    return any(test.name == "mean_logprob_above" for test in tests)

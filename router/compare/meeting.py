"""Whether one request can meet the conditions of two rules, as `policies.regions` reasons. Pure."""

from collections.abc import Mapping
from typing import Any

from policies.conditions import CONDITIONS
from policies.model import Condition, Rule
from policies.regions import meet, space_of

When = Mapping[str, Any]


def can_both_match(a: When, b: When) -> bool:
    """Tell whether some request meets both; both are of a compiled policy."""
    one, other = space_of([_rule(a), _rule(b)]).boxes
    return meet(one, other) is not None


def _rule(when: When) -> Rule:
    conditions = (
        Condition(name, wanted, CONDITIONS[name].matcher(wanted)) for name, wanted in when.items()
    )
    return Rule("", tuple(conditions), ())

"""Rate limits of a policy in their compiled form. Pure."""

from collections.abc import Mapping
from typing import Any

from policies.match import match_from, match_json
from policies.model import RATES, RateLimit

Value = Mapping[str, Any]


def rate_limit_from(compiled: Value) -> RateLimit:
    rates = {name: compiled[name] for name in RATES}
    given = [most for most in rates.values() if most is not None]
    if not given or any(type(most) is not int or most < 1 for most in given):
        raise ValueError("a rate limit has at least one number, each an integer from 1")
    return RateLimit(compiled["id"], match_from(compiled["match"]), **rates)


def rate_limit_json(limit: RateLimit) -> dict[str, Any]:
    """Return the compiled form of a rate limit."""
    rates = {name: getattr(limit, name) for name in RATES}
    return {"id": limit.id, "match": match_json(limit.match), **rates}

"""How a rate limit is written: what is wrong with it, and what it leaves out. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.match import match_from, match_json
from policies.match_form import match_faults
from policies.model import RATES, SHADOW
from yamlfile import Fault

Value = Mapping[str, Any]


def rate_limit_faults(limits: Mapping[int, Value]) -> Iterator[Fault]:
    """Yield what is wrong with rate limits whose form is right."""
    seen: set[str] = set()
    for i, limit in limits.items():
        name, path = limit["id"], ("rate_limits", i)
        if name in seen:
            yield (*path, "id"), f"rate limit {name}: this id stands twice"
        seen.add(name)
        for at, said in match_faults(limit["match"], (*path, "match")):
            yield at, f"rate limit {name}: {said}"
        if limit["match"].get("tenant") == SHADOW:
            said = f"`{SHADOW}` sends no requests of its own: its budget is what limits it"
            yield (*path, "match", "tenant"), f"rate limit {name}: {said}"


def compiled_rate_limit(limit: Value) -> dict[str, Any]:
    """Return a rate limit with a null for each number that it leaves out."""
    rates = {name: int(limit[name]) if name in limit else None for name in RATES}
    return {"id": limit["id"], "match": match_json(match_from(limit["match"])), **rates}

"""Whose requests count in a budget or a rate limit, and for which value. Pure.

It is identity alone (tenant, team, key, tags bound to the key or allowed by it). `*` is any value,
each counted apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from policies.model import Facts, Match

Value = Mapping[str, Any]
ANY = "*"
IDENTITY = ("tenant", "team", "key")
KEY_PREFIX = "sk-sluice-"  # of a secret; a key is meant by the 8 hex digits after it


class _Matching(Protocol):
    @property
    def match(self) -> Match: ...


Matching = TypeVar("Matching", bound=_Matching)


def match_from(compiled: Value) -> Match:
    tags = tuple(sorted(compiled.get("tags", {}).items()))
    return Match(compiled.get("tenant"), compiled.get("team"), compiled.get("key"), tags)


def match_json(match: Match) -> dict[str, Any]:
    """Return the compiled form of a match."""
    own = {name: getattr(match, name) for name in IDENTITY}
    tags = {"tags": dict(match.tags)} if match.tags else {}
    return {name: value for name, value in own.items() if value is not None} | tags


def value_of(match: Match, facts: Facts) -> str | None:
    """Return for whom the request counts (`team=search`, `key=ab12,tags.app=web`, `all`), or None
    if it doesn't.
    """
    found: list[str] = []
    for name, wanted, own in (
        ("tenant", match.tenant, facts.tenant),
        ("team", match.team, facts.team),
        ("key", match.key, facts.key),
        *((f"tags.{tag}", wanted, facts.tags.get(tag)) for tag, wanted in match.tags),
    ):
        if wanted is None:
            continue
        if own is None or wanted not in (ANY, own):
            return None
        found.append(f"{name}={own}")
    return ",".join(found) or "all"


def counting(written: Sequence[Matching], facts: Facts) -> list[tuple[Matching, str]]:
    """Return the budgets or rate limits that a request counts in, each with its value."""
    found = []
    for one in written:
        value = value_of(one.match, facts)
        if value is not None:
            found.append((one, value))
    return found

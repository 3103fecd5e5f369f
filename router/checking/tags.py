"""Tags that budgets and rate limits count by, held against what the keys say. Pure.

A key's own tags stand firm. One that it merely allows is for its callers to set, or to leave out:
then they are not counted. Callers who come with tokens or as AWS principals are not known here.
"""

from collections.abc import Iterator, Sequence

from policies.match import ANY
from policies.model import Budget, Match, Policy, RateLimit
from policies.odd import Odd
from router.identity import Key

SHOWN = 3  # keys that a message names


def tag_oddities(policy: Policy, keys: Sequence[Key]) -> Iterator[Odd]:
    for i, budget in enumerate(policy.budgets):
        yield from _of("budgets", i, f"budget {budget.id}", budget, keys)
    for i, limit in enumerate(policy.rate_limits):
        yield from _of("rate_limits", i, f"rate limit {limit.id}", limit, keys)


def _of(
    part: str, i: int, whose: str, one: Budget | RateLimit, keys: Sequence[Key]
) -> Iterator[Odd]:
    meant = [key for key in keys if _meant(one.match, key)]
    for tag, wanted in one.match.tags if meant else ():
        path, prefix = (part, i, "match", "tags", tag), f"{whose}: tag `{tag}`: "
        bound = [key for key in meant if _has(key, tag, wanted)]
        free = [key.id for key in meant if tag not in key.tags and _allows(key, tag)]
        shown = f"{tag}={'VALUE' if wanted == ANY else wanted}"
        if not bound and not free:
            said = "no key has it or allows it, so nothing is counted"
            yield Odd("tag_of_no_key", path, f"{prefix}{said}: `keys create --tag {shown}`")
        elif free:
            names = ", ".join(f"`{name}`" for name in free[:SHOWN])
            more = f" and {len(free) - SHOWN} more" if len(free) > SHOWN else ""
            said = f"whoever calls by {names}{more} may leave it out, and isn't counted then"
            yield Odd("tag_by_caller", path, f"{prefix}{said}: bind it with `--tag {shown}`")


def _meant(match: Match, key: Key) -> bool:
    """Tell whether the key is of those that the rest of the match means."""
    return all(
        wanted is None or (own is not None and wanted in (ANY, own))
        for wanted, own in (
            (match.tenant, key.tenant),
            (match.team, key.team),
            (match.key, key.id),
        )
    )


def _has(key: Key, tag: str, wanted: str) -> bool:
    return tag in key.tags and wanted in (ANY, key.tags[tag])


def _allows(key: Key, tag: str) -> bool:
    return tag in key.allowed_tags or ANY in key.allowed_tags

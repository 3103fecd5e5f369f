"""Budgets and rate limits that never bind, because another one always does first. Pure.

Two that count the same requests are legal, and often meant: an alert below a cap, a day's below a
month's. What is told is one that can't have any effect.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from policies.match import ANY, IDENTITY
from policies.model import RATES, Budget, Match, Policy, RateLimit
from policies.odd import Odd
from policies.work import MOST_PAIRS

# So many of the shorter period touch one of the longer, in one time zone: an hour more where
# daylight saving ends, the weeks at both ends of a month.
TOUCHED: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("hour", "day"): 25,
        ("hour", "week"): 169,
        ("hour", "month"): 745,
        ("day", "week"): 7,
        ("day", "month"): 31,
        ("week", "month"): 6,
    }
)


def overlap_oddities(policy: Policy, most_pairs: int = MOST_PAIRS) -> Iterator[Odd]:
    """Yield what never binds, and of how many it is not known: each is held against all others."""
    budgets, limits = (_asked(each, most_pairs) for each in (policy.budgets, policy.rate_limits))
    for i, budget in enumerate(policy.budgets[:budgets]):
        others = [(j, other) for j, other in enumerate(policy.budgets) if j != i]
        first = next((o for j, o in others if _spent_first(budget, o, later=i > j)), None)
        if first is not None:
            said = _said_of(budget, first)
            yield Odd("never_spent", ("budgets", i), f"budget {budget.id}: {said}")
    for i, limit in enumerate(policy.rate_limits[:limits]):
        for name in RATES:
            found = _reached_first(policy, i, limit, name)
            if found is not None:
                most = getattr(found, name)
                said = f"never reached: rate limit `{found.id}` counts its requests, too, and"
                message = f"rate limit {limit.id}: {name}: {said} allows {most}"
                yield Odd("never_reached", ("rate_limits", i, name), message)
    yield from _unanswered("budgets", budgets, len(policy.budgets))
    yield from _unanswered("rate_limits", limits, len(policy.rate_limits))


def _asked(entries: Sequence[object], most_pairs: int) -> int:
    """Return of how many it is asked, the first ones."""
    return min(len(entries), most_pairs // max(1, len(entries)))


def _unanswered(key: str, asked: int, many: int) -> Iterator[Odd]:
    if asked < many:
        said = "are not held against the others, which would take too much work"
        yield Odd("unanswered", (key,), f"{key}: {many - asked:,} of {many:,} {said}")


def _said_of(budget: Budget, first: Budget) -> str:
    most = (first.hard_nano or 0) / 1e9
    per = "" if first.per == budget.per else f" per {first.per}"
    return f"never spent: budget `{first.id}` counts its requests, too, and ends at {most:g}{per}"


def covers(wide: Match, narrow: Match) -> bool:
    """Tell whether all requests that are counted together in `narrow` are together in `wide`."""
    return all(
        mine is None or mine == theirs or (mine == ANY and theirs is not None)
        for mine, theirs in _pairs(wide, narrow)
    )


def _pairs(wide: Match, narrow: Match) -> Iterator[tuple[str | None, str | None]]:
    for name in IDENTITY:
        yield getattr(wide, name), getattr(narrow, name)
    tags = dict(narrow.tags)
    for tag, value in wide.tags:
        yield value, tags.get(tag)


def _spent_first(budget: Budget, other: Budget, *, later: bool) -> bool:
    """Tell whether `other` refuses all that comes before `budget` would do anything.

    Of two that are alike in all, the later one is told of.
    """
    most, times = other.hard_nano, _times(other, budget)
    if most is None or times is None or not covers(other.match, budget.match):
        return False
    if budget.when_spent == "alert":
        return most * times < budget.nano * min(budget.alert_at, default=1.0)
    own = budget.hard_nano
    alike = covers(budget.match, other.match) and own is not None and own <= other.nano
    return most * times <= budget.nano and (later or not alike)


def _times(short: Budget, long: Budget) -> int | None:
    """Return how many periods of the one may touch one period of the other, if that is known."""
    elsewhere = 0 if short.tz == long.tz else 1
    if short.per == long.per:
        return 1 + elsewhere
    times = TOUCHED.get((short.per, long.per))
    return None if times is None else times + elsewhere


def _reached_first(policy: Policy, i: int, limit: RateLimit, name: str) -> RateLimit | None:
    own = getattr(limit, name)
    if own is None:
        return None
    for j, other in enumerate(policy.rate_limits):
        most = getattr(other, name)
        if j == i or most is None or most > own or not covers(other.match, limit.match):
            continue
        alike = most == own and covers(limit.match, other.match)
        if not alike or j < i:
            return other
    return None

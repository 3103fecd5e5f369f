"""Whether one request can meet the conditions of two rules.

It looks at one condition at a time. "Can" is said too often rather than too seldom: of a condition
that it doesn't know, and of times of day in different zones, it says so.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from policies.conditions import CHINESE, MINUTES_A_DAY

When = Mapping[str, Any]


def can_both_match(a: When, b: When) -> bool:
    """Tell whether no condition that both ask for rules the other's out."""
    return all(MEET.get(name, _unknown)(a[name], b[name]) for name in a.keys() & b.keys())


def _unknown(_a: object, _b: object) -> bool:
    return True


def _share_one(a: Sequence[str], b: Sequence[str]) -> bool:
    return not set(a).isdisjoint(b)


def _languages(a: Sequence[str], b: Sequence[str]) -> bool:
    return _share_one(_scripts(a), _scripts(b))


def _scripts(wanted: Sequence[str]) -> list[str]:
    return [*wanted, *(CHINESE if "zh" in wanted else ())]


def _tags(a: Mapping[str, Sequence[str]], b: Mapping[str, Sequence[str]]) -> bool:
    return all(_share_one(a[tag], b[tag]) for tag in a.keys() & b.keys())


def _numbers(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    return _bounds(a, b) > 0


def _whole_numbers(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    return _bounds(a, b) > 1


def _bounds(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Return how far the nearest bounds lie apart, both left out."""
    above = max(side.get("above", -1.0) for side in (a, b))
    return min(side.get("below", float("inf")) for side in (a, b)) - above


def _times(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    if a["tz"] != b["tz"]:
        return True
    return any(
        low < other_high and other_low < high
        for low, high in _stretches(a)
        for other_low, other_high in _stretches(b)
    )


def _stretches(time: Mapping[str, str]) -> list[tuple[int, int]]:
    """Return the minutes of a day from which to before which it is; two over midnight."""
    start, end = (int(time[side][:2]) * 60 + int(time[side][3:]) for side in ("from", "to"))
    turns = [start, end] if start < end else [start, MINUTES_A_DAY, 0, end]
    return [(low, high) for low, high in pairwise(turns) if low < high]


MEET: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        **dict.fromkeys(("tier", "task", "service_class", "tenant", "team", "key"), _share_one),
        "requested_model": _share_one,
        "language": _languages,
        "complexity": _numbers,
        "tokens_in": _whole_numbers,
        "tags": _tags,
        "needs": _unknown,  # any of them: a request may need several
        "local_time": _times,
    }
)

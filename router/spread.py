"""Which of nearly equal candidates is first, where many routers read the same load. Pure.

All of them would send all their requests to the one that is best by a hair, until they read again.
So where `facts.spread` says where a request falls, from 0 to below 1, the first is chosen among the
candidates whose marginal and average cost lie within NEAR of the best's, each as likely as it has
places left. It is the same for the same request, facts and loads; how many it was chosen among
stands in its marks. The others keep their order.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

from policies.evaluate import Verdict
from policies.model import Minimize, Rule
from router.estimate import Estimate

NEAR: Final = 0.05  # of the best's cost; beside a best that costs nothing only what costs nothing
BY_COST: Final[frozenset[Minimize]] = frozenset({"marginal_cost", "average_cost"})


def spread(verdict: Verdict[Estimate], at: float) -> Verdict[Estimate]:
    """Return the verdict with its first one chosen so, of a cascade's tried and following alike; as
    it was where something else than cost is minimized.
    """
    if verdict.minimize not in BY_COST or verdict.rule is None:
        return verdict
    tried, rest = verdict.ranked[: verdict.tried], verdict.ranked[verdict.tried :]
    chosen = (*_chosen(tried, verdict.rule, at), *_chosen(rest, verdict.rule, at))
    return replace(verdict, ranked=chosen)


def _chosen(ranked: Sequence[Estimate], rule: Rule, at: float) -> Sequence[Estimate]:
    if not ranked:
        return ranked
    best = ranked[0]
    near = [c for c in ranked if _group(rule, c) == _group(rule, best) and _is_near(c, best)]
    places = [headroom(c) for c in near]
    total = sum(places)
    if len(near) == 1 or total == 0:
        return ranked
    ends = accumulate(places)  # a fleet without places has no stretch to fall into
    chosen = next(c for c, end in zip(near, ends, strict=True) if at * total < end)
    marked = chosen._replace(marks=(*chosen.marks, f"spread:{len(near)}"))
    return (marked, *(c for c in ranked if c is not chosen))


def headroom(candidate: Estimate) -> int:
    """Return how many more requests the fleet has places for, at its limit if it has one."""
    load = candidate.load
    places = load.limit
    if places is None:
        places = int(load.replicas * candidate.on.capacity)
    return max(0, places - load.in_flight)


def _is_near(candidate: Estimate, best: Estimate) -> bool:
    return all(
        mine is not None and other is not None and abs(mine - other) <= NEAR * other
        for mine, other in (
            (candidate.usd_marginal, best.usd_marginal),
            (candidate.usd_average, best.usd_average),
        )
    )


def _group(rule: Rule, candidate: Estimate) -> int | None:
    """Return the place of the set of `use` that the candidate is in; None: it is pinned."""
    names = ((place, group) for place, group in enumerate(rule.use))
    found = (p for p, group in names if candidate.lane in group or candidate.fleet in group)
    return next(found, None)

"""One replayed policy in the figures that two are compared by."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from policies.model import Facts, Policy
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, Replayed
from router.replay.quantiles import Quantiles
from router.replay.summary import NANO, Money, met, money, served_quantiles, slos
from router.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Figures:
    """`attained`: the share of requests served within their own rule's objectives;
    `attained_as_old`: within those of the old policy. `by_team`: what was charged, in USD; None: a
    price is unknown. `rules`: requests of each rule, in its order.
    """

    policy: str
    hash: str
    money: Money
    ttft_ms: Quantiles
    e2e_ms: Quantiles
    attained: float
    attained_as_old: float
    served: int
    refused: int
    timed_out: int
    relaxed: int
    refusals: Mapping[str, int]
    rules: tuple[tuple[str, int], ...]
    by_team: Mapping[str, float | None]

    @property
    def never_hit(self) -> tuple[str, ...]:
        return tuple(rule for rule, requests in self.rules if not requests)


def figures(policy: Policy, trace: Trace, run: Replayed, kept_old: list[bool]) -> Figures:
    """Return the figures of a run; `kept_old`: which kept the old policy's objectives."""
    outcomes, rules = Counter(run.outcome), Counter(run.rule)
    return Figures(
        run.policy,
        run.hash,
        money(run.fleets, run.usd_router),
        served_quantiles(run, run.ttft_ms),
        served_quantiles(run, run.e2e_ms),
        share(met(run, slos(policy, run))),
        share(kept_old),
        outcomes[SERVED],
        outcomes[REFUSED],
        outcomes[TIMED_OUT],
        run.relaxed,
        dict(sorted(run.refusals.items())),
        tuple((rule.id, rules[place]) for place, rule in enumerate(policy.rules)),
        by_team(trace, run),
    )


def share(kept: list[bool]) -> float:
    """Return which share of all was kept; 0 of nothing."""
    return sum(kept) / len(kept) if kept else 0.0


def team_of(facts: Facts) -> str:
    """Return whose request it is: tenant/team, or the tenant where it has no team."""
    return facts.tenant if facts.team is None else f"{facts.tenant}/{facts.team}"


def by_team(trace: Trace, run: Replayed) -> dict[str, float | None]:
    """Return what each team was charged; None where something served has no price."""
    nano: dict[int, int] = {}
    unknown: set[int] = set()
    for kind, fleet, usd in zip(trace.kind, run.fleet, run.usd_nano, strict=True):
        if usd >= 0:
            nano[kind] = nano.get(kind, 0) + usd
        elif fleet >= 0:
            unknown.add(kind)
    found: dict[str, float | None] = {}
    for place, facts in enumerate(trace.kinds):
        team = team_of(facts)
        so_far = found.get(team, 0.0)
        missing = place in unknown or so_far is None
        found[team] = None if missing else (so_far or 0.0) + nano.get(place, 0) / NANO
    return dict(sorted(found.items()))

"""What a replay comes to: the money, who served, how fast, how well. Pure.

The money closes: total = allocated + idle + variance + router. An unknown price makes every sum
that it belongs to unknown (None), never smaller.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

from policies.model import Policy, Slo
from router.replay.outcome import REFUSED, SERVED, TIMED_OUT, FleetRun, Replayed
from router.replay.quantiles import Quantiles, quantiles
from router.replay.worth import Answers, answers
from router.traces.trace import Trace
from router.world import World

NANO = 1_000_000_000
NO_RULE = "(no rule)"
NOBODY = "(nobody)"
BUDGETS = 1_000  # that a report names: nobody reads a million rows


@dataclass(frozen=True, slots=True)
class Money:
    """USD of a whole run. None: a price is unknown."""

    total: float | None
    bill: float | None
    busy: float | None
    allocated: float
    idle: float | None
    variance: float | None
    router: float


@dataclass(frozen=True, slots=True)
class OfFleet:
    """`replicas` are means over the run, `most` the most that were ready at once."""

    fleet: str
    requests: int
    money: Money
    replicas: float
    paid: float
    most: float
    starts: int
    interruptions: int
    ttft_ms: Quantiles
    e2e_ms: Quantiles


@dataclass(frozen=True, slots=True)
class OfRule:
    """`attained`: share of the rule's requests that were served within its objectives."""

    rule: str
    requests: int
    served: int
    usd_allocated: float
    attained: float
    ttft_ms: Quantiles
    slo: Slo
    fleets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class OfBudget:
    """`first_s`: when it first refused or downgraded, since the trace's start; None: never."""

    budget: str
    value: str
    period: str
    usd: float
    limit_usd: float | None
    first_s: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """So many requests of a task and tier took this way."""

    task: str
    tier: str
    rule: str
    fleet: str
    requests: int


@dataclass(frozen=True, slots=True)
class Summary:
    """`attained`: the share of all requests that were asked, refused and timed out ones too.

    `budgets`: those that bound, and the fullest; `budgets_left_out`: how many more there are.
    """

    policy: str
    hash: str
    trace: str
    seconds: float
    requests: int
    served: int
    refused: int
    timed_out: int
    relaxed: int
    refusals: Mapping[str, int]
    money: Money
    attained: float
    ttft_ms: Quantiles
    e2e_ms: Quantiles
    answers: Answers
    by_fleet: tuple[OfFleet, ...]
    by_rule: tuple[OfRule, ...]
    budgets: tuple[OfBudget, ...]
    budgets_left_out: int
    flows: tuple[Flow, ...]
    assumptions: tuple[str, ...]


def summary(world: World, trace: Trace, run: Replayed) -> Summary:
    """Return what `run` comes to; it replayed `trace` under `world`'s policy."""
    within = met(run, slos(world.policy, run))
    outcomes = Counter(run.outcome)
    return Summary(
        policy=run.policy,
        hash=run.hash,
        trace=run.trace,
        seconds=run.seconds,
        requests=len(trace),
        served=outcomes[SERVED],
        refused=outcomes[REFUSED],
        timed_out=outcomes[TIMED_OUT],
        relaxed=run.relaxed,
        refusals=dict(sorted(run.refusals.items())),
        money=money(run.fleets, run.usd_router),
        attained=sum(within) / len(within) if within else 0.0,
        ttft_ms=served_quantiles(run, run.ttft_ms),
        e2e_ms=served_quantiles(run, run.e2e_ms),
        answers=answers(world, trace, run),
        by_fleet=tuple(_of_fleet(run, place) for place in range(len(run.fleets))),
        by_rule=_by_rule(world.policy, run, within),
        budgets=_budgets(world.policy, run),
        budgets_left_out=max(0, len(run.budgets) - BUDGETS),
        flows=_flows(world.policy, trace, run),
        assumptions=tuple(dict.fromkeys((*trace.assumptions, *run.assumptions))),
    )


# -- money -----------------------------------------------------------------------------------------


def money(fleets: Sequence[FleetRun], usd_router: float = 0.0) -> Money:
    """Return what these fleets cost together, and how that divides."""
    bill = _sum([fleet.usd_bill for fleet in fleets])
    busy = _sum([fleet.usd_busy for fleet in fleets])
    allocated = sum(fleet.usd_allocated for fleet in fleets)
    return Money(
        total=None if bill is None else bill + usd_router,
        bill=bill,
        busy=busy,
        allocated=allocated,
        idle=None if bill is None or busy is None else bill - busy,
        variance=None if busy is None else busy - allocated,
        router=usd_router,
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


# -- objectives ------------------------------------------------------------------------------------


def slos(policy: Policy, run: Replayed) -> list[Slo]:
    """Return each request's objectives: its rule's, the policy's defaults where none matched."""
    of_rule = [rule.settings.slo for rule in policy.rules]
    return [policy.defaults.slo if rule < 0 else of_rule[rule] for rule in run.rule]


def met(run: Replayed, wanted: Sequence[Slo]) -> list[bool]:
    """Return whether each request was served within its objectives."""
    columns = zip(run.outcome, run.ttft_ms, run.e2e_ms, wanted, strict=True)
    return [
        outcome == SERVED and _within(ttft_ms, slo.ttft_p95_ms) and _within(e2e_ms, slo.e2e_p95_ms)
        for outcome, ttft_ms, e2e_ms, slo in columns
    ]


def served_quantiles(run: Replayed, column: Iterable[float]) -> Quantiles:
    """Return the percentiles of the served: who was refused or timed out has no time."""
    pairs = zip(run.outcome, column, strict=True)
    return quantiles(value for outcome, value in pairs if outcome == SERVED)


def _within(took_ms: float, allowed_ms: float | None) -> bool:
    """Tell whether it took no longer than allowed; an unknown time is not within a limit."""
    return allowed_ms is None or took_ms <= allowed_ms


# -- fleets, rules, budgets, ways ------------------------------------------------------------------


def _of_fleet(run: Replayed, place: int) -> OfFleet:
    fleet = run.fleets[place]
    mine = array(
        "l", (i for i, by in enumerate(run.fleet) if by == place and run.outcome[i] == SERVED)
    )
    return OfFleet(
        fleet.fleet,
        fleet.requests,
        money([fleet]),
        _mean(fleet.replicas),
        _mean(fleet.paid),
        max(fleet.replicas, default=0.0),
        fleet.starts,
        fleet.interruptions,
        quantiles(run.ttft_ms[i] for i in mine),
        quantiles(run.e2e_ms[i] for i in mine),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _by_rule(policy: Policy, run: Replayed, within: Sequence[bool]) -> tuple[OfRule, ...]:
    """Return a row for every rule, hit or not, and one for those whom none matched."""
    mine = {place: array("l") for place in range(len(policy.rules))}
    for i, rule in enumerate(run.rule):
        mine.setdefault(rule, array("l")).append(i)
    return tuple(_of_rule(policy, run, within, rule, places) for rule, places in mine.items())


def _of_rule(
    policy: Policy, run: Replayed, within: Sequence[bool], rule: int, mine: Sequence[int]
) -> OfRule:
    charged = sum(run.usd_nano[i] for i in mine if run.usd_nano[i] > 0)
    return OfRule(
        NO_RULE if rule < 0 else policy.rules[rule].id,
        len(mine),
        sum(run.outcome[i] == SERVED for i in mine),
        charged / NANO,
        sum(within[i] for i in mine) / len(mine) if mine else 0.0,
        quantiles(run.ttft_ms[i] for i in mine if run.outcome[i] == SERVED),
        policy.defaults.slo if rule < 0 else policy.rules[rule].settings.slo,
        dict(Counter(_name(run, i) for i in mine).most_common()),
    )


def _name(run: Replayed, i: int) -> str:
    return NOBODY if run.fleet[i] < 0 else run.fleets[run.fleet[i]].fleet


def _budgets(policy: Policy, run: Replayed) -> tuple[OfBudget, ...]:
    limits = {budget.id: budget.usd for budget in policy.budgets}

    def fullness(name: tuple[str, str, str]) -> tuple[bool, float]:
        nano, first_s = run.budgets[name]
        limit_usd = limits.get(name[0])
        return first_s is not None, nano / limit_usd if limit_usd else math.inf

    shown = run.budgets if len(run.budgets) <= BUDGETS else nlargest(BUDGETS, run.budgets, fullness)
    return tuple(
        OfBudget(*name, nano / NANO, limits.get(name[0]), first_s)
        for name in sorted(shown)
        for nano, first_s in (run.budgets[name],)
    )


def _flows(policy: Policy, trace: Trace, run: Replayed) -> tuple[Flow, ...]:
    ways: dict[tuple[str, str], int] = {}  # many kinds, as of tenants, are alike here
    of = [ways.setdefault((kind.task, kind.tier), len(ways)) for kind in trace.kinds]
    counted = Counter(zip(map(of.__getitem__, trace.kind), run.rule, run.fleet, strict=True))
    names = tuple(ways)
    named: Counter[tuple[str, str, str, str]] = Counter()
    for (way, rule, fleet), requests in counted.items():
        to = NOBODY if fleet < 0 else run.fleets[fleet].fleet
        by = NO_RULE if rule < 0 else policy.rules[rule].id
        named[*names[way], by, to] += requests
    return tuple(Flow(*way, requests) for way, requests in sorted(named.items()))

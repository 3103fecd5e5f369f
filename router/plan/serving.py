"""Which fleets may serve which request: the router's own decision, times aside. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from backends.load import Load
from policies.compiled import from_compiled
from policies.evaluate import evaluate
from policies.model import Facts, Policy
from router.estimate import estimate
from router.plan.demand import Sort
from router.traces.trace import Trace
from router.world import World, world

STEP: Final = 32  # tokens; requests this near in length, and within a hundredth else, are alike
NOBODY: Final[frozenset[str]] = frozenset()


def without_times(policy: Policy, floor: float | None) -> Policy:
    """Return the policy without its SLOs, and with this quality floor in every rule, if given;
    then it never gives way. A confidence that labels must prove is not asked for.
    """
    compiled: dict[str, Any] = {**policy.compiled}
    for part in ("budgets", "rate_limits", "shadow"):
        compiled.pop(part, None)
    compiled["defaults"] = _timeless(compiled["defaults"], floor)
    compiled["rules"] = [
        {**rule, "settings": _timeless(rule["settings"], floor)} for rule in compiled["rules"]
    ]
    return from_compiled(compiled)


def _timeless(settings: Mapping[str, Any], floor: float | None) -> dict[str, Any]:
    own = settings["quality_floor"]
    wanted = own["at_least"] if isinstance(own, dict) else own
    relax = [soft for soft in settings["relax"] if soft == "quality_floor" and floor is None]
    return {
        **settings,
        "slo": {"ttft_p95_ms": None, "e2e_p95_ms": None},
        "quality_floor": wanted if floor is None else floor,
        "relax": relax,
        "strict": False,
    }


@dataclass(slots=True)
class Sorter:
    """Sorts a trace's requests by who may serve them. `why`: of sorts that nobody may serve, the
    reasons by fleet, of one such request.
    """

    over: World
    trace: Trace
    known: dict[tuple[int, ...], Sort] = field(default_factory=dict)
    why: dict[str, Mapping[str, str]] = field(default_factory=dict)
    relaxed: int = 0
    _by_clock: bool = False

    def __post_init__(self) -> None:
        rules = self.over.policy.rules
        self._by_clock = any(c.name == "local_time" for rule in rules for c in rule.when)

    def __call__(self, i: int) -> Sort:
        trace = self.trace
        key = (
            trace.kind[i],
            trace.tokens_in[i] // STEP,
            trace.expected[i] // STEP,
            round(trace.complexity[i] * 100),
            round(trace.p_small[i] * 100),
            int(trace.at_s[i] // 900) if self._by_clock else 0,
        )
        sort = self.known.get(key)
        if sort is None:
            sort = self.known[key] = self._sort(trace.facts(i))
        return sort

    def _sort(self, facts: Facts) -> Sort:
        policy = self.over.policy
        limit = policy.defaults.max_output_tokens if facts.max_tokens is None else facts.max_tokens
        loads = [Load()] * len(self.over.fleets)
        verdict = evaluate(policy, facts, estimate(self.over, facts, loads, limit))
        rule = -1 if verdict.rule is None else policy.rules.index(verdict.rule)
        named = "no rule" if verdict.rule is None else verdict.rule.id
        name = f"{named}, {facts.tier}, {facts.service_class}"
        sure = verdict.ranked[verdict.tried :] or verdict.ranked
        if not sure:
            reasons = {r.candidate.fleet: f"{r.code}: {r.detail}" for r in verdict.refused}
            self.why.setdefault(name, reasons)
        fleets = frozenset(c.fleet for c in sure)
        return Sort(rule, name, fleets, facts.tier, facts.service_class)


def sorter(over: World, trace: Trace, floor: float | None = None) -> Sorter:
    return Sorter(world(without_times(over.policy, floor), over.catalogue), trace)


def reasons_by_code(why: Mapping[str, str]) -> Mapping[str, int]:
    """Return how many fleets are out for which reason."""
    return Counter(reason.partition(":")[0] for reason in why.values())


def served_by(sort: Sort, fleets: frozenset[str]) -> Sort:
    """Return the sort with those fleets of it alone that can be planned."""
    return replace(sort, fleets=sort.fleets & fleets)

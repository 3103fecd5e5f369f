"""Which fleets may serve which request: the router's own decision, times aside. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from backends.load import Load
from policies.compiled import from_compiled
from policies.evaluate import evaluate
from policies.model import Facts, Policy
from router.estimate import estimate
from router.plan.demand import Sort
from router.traces.trace import Trace
from router.world import World, world

STEPS: Final = 100  # of complexity, where a model's quality is a curve over it
QUARTER_S: Final = 900  # no time zone's offset is finer


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


class Steps:
    """Where a number passes from one side of a limit to the other: equal steps, equal answers."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Iterable[float]) -> None:
        self._limits = sorted(set(limits))

    def of(self, value: float) -> int:
        """Return its step; a number that is a limit has one of its own."""
        return bisect_left(self._limits, value) + bisect_right(self._limits, value)


class Sorter:
    """Sorts a trace's requests by who of `fleets` may serve them: each different case is decided
    once. `why`: of sorts that nobody may serve, the reasons by fleet, of one such request.
    """

    def __init__(self, over: World, trace: Trace, fleets: frozenset[str]) -> None:
        self.over, self.trace, self.fleets = over, trace, fleets
        self.why: dict[str, Mapping[str, str]] = {}
        self._known: dict[tuple[int, ...], Sort] = {}
        policy = over.policy
        self._lengths = Steps(_bounds(policy, "tokens_in"))
        self._complexity = Steps(_bounds(policy, "complexity"))
        self._floors = Steps(rule.settings.quality_floor for rule in policy.rules)
        self._contexts = Steps(on.fleet.context_tokens for on in over.fleets)
        self._most = max((rule.settings.max_output_tokens for rule in policy.rules), default=0)
        self._curves = any(table is not None and table.curves for table, _ in over.grades)
        self._by_clock = any(c.name == "local_time" for rule in policy.rules for c in rule.when)

    def __call__(self, i: int) -> Sort:
        trace = self.trace
        tokens_in, complexity = trace.tokens_in[i], trace.complexity[i]
        key = (
            trace.kind[i],
            self._lengths.of(tokens_in),
            self._contexts.of(tokens_in + min(self._most, trace.expected[i])),
            self._complexity.of(complexity),
            round(complexity * STEPS) if self._curves else 0,
            self._floors.of(trace.p_small[i]),
            int((trace.start_s + trace.at_s[i]) // QUARTER_S) if self._by_clock else 0,
        )
        sort = self._known.get(key)
        if sort is None:
            sort = self._known[key] = self._sort(trace.facts(i))
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
        fleets = frozenset(c.fleet for c in sure) & self.fleets
        return Sort(rule, name, fleets, facts.tier, facts.service_class)


def sorter(over: World, trace: Trace, floor: float | None, fleets: frozenset[str]) -> Sorter:
    """Return what sorts this trace's requests under this world's policy, its times aside."""
    return Sorter(world(without_times(over.policy, floor), over.catalogue), trace, fleets)


def _bounds(policy: Policy, name: str) -> Iterator[float]:
    for rule in policy.rules:
        for condition in rule.when:
            if condition.name == name and isinstance(condition.wanted, Mapping):
                yield from condition.wanted.values()

"""(policy, facts, candidates) -> verdict. Total and pure: every input has a verdict.

1. The first rule that matches decides; a pin of the caller may replace what it uses or minimizes.
2. Hard limits, one after the other: the first that a candidate breaks is its reason.
3. Soft limits: objectives and the quality floor. If nobody meets them, the rule's `relax` drops
   them one after the other until somebody does.
4. Rank: the sets of `use` in their order, inside a set by the objective, unknown after known.

A caller's latency hint can only narrow what the policy lets through. So the policy's own limits
are relaxed as if there were no hint, then the hint applies; if nobody meets it, it gives way where
the rule may relax `slo.ttft`, and else everybody is refused.

Where a budget is spent that downgrades (`facts.downgraded`), only the lane of the cheapest
candidate within the hard limits is left, and a cascade is none.

A cascade's first set is tried. Its candidates are exempt from the quality floor, because their
answer is tested, and their first token counts as coming with their last, because the answer is
held until then. Nothing is relaxed for their sake while the second set has a feasible candidate.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from policies.acceptance import reads_logprobs
from policies.model import Candidate, Facts, Minimize, Policy, Rule, Settings, Soft
from policies.proof import enough, wilson_low, z_of

C = TypeVar("C", bound=Candidate)
Reason = tuple[str, str]
"""A code for programs and a detail for people."""
Objective = Callable[[Candidate], float | tuple[float, ...]]
_Left = tuple[int, int, C]
"""A candidate within the hard limits: its set of `use`, its place, itself."""


class Refused(NamedTuple, Generic[C]):  # a frozen dataclass takes three times as long to make
    """A candidate that may not serve, and the first limit that it breaks."""

    candidate: C
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict(Generic[C]):
    """Who may serve, best first, and why each other one may not, in the candidates' order.

    `rule` is None if none matched. `relaxed` are the limits that gave way because nobody met them.
    `tried`: so many of the first in `ranked` are a cascade's, whose answer is tested.
    """

    rule: Rule | None
    minimize: Minimize
    ranked: tuple[C, ...]
    refused: tuple[Refused[C], ...]
    relaxed: tuple[Soft, ...] = ()
    tried: int = 0


class _Wish(NamedTuple):
    """What the caller's `model` asks for: the rule's own choice, another order, or a pin."""

    minimize: Minimize
    right: str | None = None
    model: str | None = None
    fleet: str | None = None


class _Bounds(NamedTuple):
    """The soft limits in force; None is no limit. `strict` refuses what is unknown.

    `unproved`: why the labels don't bear out p_small, if they don't and must. `held`: the whole
    answer is held, so that its first token comes with its last.
    """

    ttft_ms: float | None
    e2e_ms: float | None
    floor: float
    strict: bool
    unproved: Reason | None
    held: bool


UNKNOWN = math.inf  # as a sort key only: after everything that is known
WISHES: Mapping[str, tuple[Minimize, str | None]] = MappingProxyType(
    {  # what is minimized, and the right that it takes
        "auto:cheapest": ("marginal_cost", None),
        "auto:fastest": ("e2e", "fastest"),
        "auto:best": ("best", "best"),
    }
)
CLOSED: Mapping[str, str] = MappingProxyType(
    {  # a fleet's state -> the code of the refusal; any other state may serve
        "open-circuit": "open_circuit",
        "cold": "cold",
        "waking": "cold",
        "draining": "draining",
        "at-limit": "at_limit",
    }
)
CODES = frozenset(
    {
        *CLOSED.values(),
        *("no_rule", "not_allowed", "not_in_use", "needs", "context", "residency", "max_usd"),
        *("downgraded", "unknown_cost", "unknown_latency", "slo_ttft", "slo_e2e"),
        *("quality_floor", "quality_unproved"),
    }
)


def evaluate(policy: Policy, facts: Facts, candidates: Sequence[C]) -> Verdict[C]:
    rule = matching(policy, facts)
    if rule is None:
        minimize = policy.defaults.minimize
        return _nobody(None, minimize, candidates, ("no_rule", "no rule matches this request"))
    wish = _wish(facts.requested_model, rule)
    if wish.right is not None and wish.right not in facts.may:
        lacking = ("not_allowed", f"the key lacks the right `{wish.right}`")
        return _nobody(rule, wish.minimize, candidates, lacking)

    reasons: list[Reason | None] = []
    left: list[_Left[C]] = []
    elsewhere = ("not_in_use", _elsewhere(rule, wish))
    cascade = bool(rule.accept_if) and wish.model is None and not facts.downgraded
    readable = not cascade or not reads_logprobs(rule.accept_if)
    limit = rule.settings.max_output_tokens
    expected = min(facts.tokens_out, limit) if facts.max_tokens is None else facts.max_tokens
    tokens = facts.tokens_in + expected
    for place, candidate in enumerate(candidates):
        group = _group(rule, wish, candidate)
        reason = elsewhere if group is None else _hard_limit(rule, facts, tokens, candidate)
        if group == 0 and reason is None and not readable:
            reason = _unreadable(candidate)
        if group is not None and reason is None:
            left.append((group, place, candidate))
        reasons.append(reason)

    if facts.downgraded and left:
        left = _in_cheapest_lane(left, facts, limit, reasons)

    relaxed: tuple[Soft, ...] = ()
    tries: list[int] = []
    if wish.fleet is not None:  # exactly this fleet: nothing soft, nothing to rank
        order = [place for _, place, _ in left]
    else:
        unproved = None if rule.settings.confidence is None else _unproved(rule.settings, facts)
        objective = OBJECTIVES[wish.minimize]
        choice = _Choice(rule, facts.slo_ttft_ms, unproved, objective, reasons)
        if cascade:
            tries, order, relaxed = choice.of_cascade(left)
        else:
            order, relaxed = choice.of(left)
    return Verdict(
        rule,
        wish.minimize,
        tuple([candidates[place] for place in (*tries, *order)]),
        tuple([Refused(c, *r) for c, r in zip(candidates, reasons, strict=True) if r is not None]),
        relaxed,
        len(tries),
    )


def _in_cheapest_lane(
    left: Sequence[_Left[C]], facts: Facts, limit: int, reasons: list[Reason | None]
) -> list[_Left[C]]:
    """Return those in the lane of whoever may cost the least; tell `reasons` of the others."""
    most = limit if facts.max_tokens is None else facts.max_tokens
    lane = min(left, key=lambda each: (_known(each[2].usd_at_most(most)), each[1]))[2].lane
    spent = ", ".join(f"`{budget}`" for budget in facts.downgraded)
    for _, place, candidate in left:
        if candidate.lane != lane:
            said = f"budget {spent} is spent: only lane `{lane}`, the cheapest, may answer"
            reasons[place] = ("downgraded", said)
    return [each for each in left if each[2].lane == lane]


def matching(policy: Policy, facts: Facts) -> Rule | None:
    for rule in policy.rules:
        if rule.matches(facts):
            return rule
    return None


def _nobody(
    rule: Rule | None, minimize: Minimize, candidates: Iterable[C], reason: Reason
) -> Verdict[C]:
    return Verdict(rule, minimize, (), tuple(Refused(c, *reason) for c in candidates))


def _wish(requested: str, rule: Rule) -> _Wish:
    own = rule.settings.minimize
    if requested == "auto":
        return _Wish(own)
    if requested in WISHES:
        return _Wish(*WISHES[requested])
    model, at, fleet = requested.rpartition("@")
    return _Wish(own, "pin_fleet", model, fleet) if at else _Wish(own, "pin_model", fleet)


def _elsewhere(rule: Rule, wish: _Wish) -> str:
    if wish.model is None:
        return f"rule `{rule.id}` doesn't use it"
    return f"another {'model' if wish.fleet is None else 'fleet'} was asked for"


def _group(rule: Rule, wish: _Wish, candidate: Candidate) -> int | None:
    if wish.model is not None:
        same = candidate.model == wish.model and wish.fleet in (None, candidate.fleet)
        return 0 if same else None
    lane, fleet = candidate.lane, candidate.fleet
    for place, names in enumerate(rule.use):
        if lane in names or fleet in names:
            return place
    return None


def _hard_limit(  # noqa: C901, PLR0911  (one paragraph a limit: this runs for every candidate)
    rule: Rule, facts: Facts, tokens: int, candidate: Candidate
) -> Reason | None:
    if facts.lanes is not None and candidate.lane not in facts.lanes:
        return "not_allowed", f"the key may not use lane `{candidate.lane}`"
    if facts.models is not None and candidate.model not in facts.models:
        return "not_allowed", f"the key may not use model `{candidate.model}`"
    if facts.needs:
        lacking = [need for need in facts.needs if need not in candidate.abilities]
        if lacking:
            return "needs", f"its model lacks {', '.join(lacking)}"
    if tokens > candidate.context_tokens:
        return "context", f"{tokens} tokens don't fit its {candidate.context_tokens}"
    if rule.residency is not None and candidate.region not in rule.residency:
        return "residency", f"region `{candidate.region}` is outside the rule's residency"
    if candidate.state in CLOSED:
        return CLOSED[candidate.state], f"the fleet is {candidate.state}"
    if facts.max_usd is not None:
        limit = rule.settings.max_output_tokens if facts.max_tokens is None else facts.max_tokens
        worst = candidate.usd_at_most(limit)
        if worst is None:
            return "unknown_cost", "its price is unknown, and the request has a cost limit"
        if worst > facts.max_usd:
            return "max_usd", f"may cost {worst:.9f} USD, the limit is {facts.max_usd:.9f}"
    return None


def _unreadable(candidate: Candidate) -> Reason | None:
    if "logprobs" in candidate.abilities:
        return None
    return "needs", "its model lacks logprobs, which the cascade's test reads"


def _soft_limit(  # noqa: C901, PLR0911  (as above)
    bounds: _Bounds, candidate: Candidate
) -> Reason | None:
    ttft_ms, e2e_ms, floor, strict, unproved, held = bounds
    if ttft_ms is not None:
        p95_ms = candidate.e2e_p95_ms if held else candidate.ttft_p95_ms
        if p95_ms is None:
            if strict:
                return "unknown_latency", "its time to the first token is unknown"
        elif p95_ms > ttft_ms:
            return "slo_ttft", f"first token after {p95_ms:.0f} ms (p95), {ttft_ms:g} allowed"
    if e2e_ms is not None:
        p95_ms = candidate.e2e_p95_ms
        if p95_ms is None:
            if strict:
                return "unknown_latency", "its end-to-end time is unknown"
        elif p95_ms > e2e_ms:
            return "slo_e2e", f"last token after {p95_ms:.0f} ms (p95), {e2e_ms:g} allowed"
    if candidate.quality < floor:
        return "quality_floor", f"quality {candidate.quality:.3f}, {floor:g} asked for"
    if unproved is not None and candidate.by_p_small:
        return unproved
    if strict and (candidate.usd_marginal is None or candidate.usd_average is None):
        return "unknown_cost", "its cost is unknown"
    return None


def _unproved(settings: Settings, facts: Facts) -> Reason | None:
    """Return why the task's labels don't prove the floor with the confidence asked for, if so."""
    at_least, labels, good = settings.quality_floor, facts.labels, facts.labels_acceptable
    assert settings.confidence is not None
    z = z_of(settings.confidence)
    share = min(1.0, max(0.0, good / labels)) if labels else 1.0
    low = wilson_low(share, labels, z)
    if low >= at_least:
        return None
    asked = f"{at_least:g} asked for with {settings.confidence:g} confidence"
    needed = enough(share, at_least, z)
    found = f"{good} of {labels} labels acceptable: at least {low:.3f}" if labels else "no labels"
    if needed is None:
        more = "more would not do at this share"
    elif labels:
        more = f"about {max(needed, labels + 1)} labels would do at this share"
    else:
        more = f"{needed} would do if all are acceptable"
    return "quality_unproved", f"task `{facts.task}`: {found}, {asked}; {more}"


class _Choice(NamedTuple):
    """How candidates are chosen for one request; `reasons` is told why each other one is not."""

    rule: Rule
    hint_ms: float | None
    unproved: Reason | None
    objective: Objective
    reasons: list[Reason | None]

    def of(
        self, left: Sequence[_Left[C]], *, held: bool = False
    ) -> tuple[list[int], tuple[Soft, ...]]:
        """Return the places of those who may serve, best first, and what gave way for them."""
        order = self._ranked(self.bounds(held=held), left)
        if order or not left:
            return order, ()
        bounds, relaxed = self._relaxed([c for _, _, c in left], held=held)
        return self._ranked(bounds, left), relaxed

    def of_cascade(self, left: Sequence[_Left[C]]) -> tuple[list[int], list[int], tuple[Soft, ...]]:
        """Return the places of those to try, of those that follow, and what gave way."""
        first = [each for each in left if each[0] == 0]
        order, relaxed = self.of([each for each in left if each[0] > 0])
        if order:
            tries = self._ranked(self.bounds(held=True), first)
        else:
            tries, relaxed = self.of(first, held=True)
        return tries, order, relaxed

    def _ranked(self, bounds: _Bounds, left: Sequence[_Left[C]]) -> list[int]:
        """Return the places of those within the bounds, best first; tell `reasons` of others."""
        keys = []
        for group, place, candidate in left:
            reason = self.reasons[place] = _soft_limit(bounds, candidate)
            if reason is None:
                worth = self.objective(candidate)
                keys.append((group, worth, _known(candidate.usd_average), place))
        keys.sort()  # objectives of one kind: all numbers, or all pairs of them
        return [key[-1] for key in keys]

    def _relaxed(
        self, candidates: Sequence[Candidate], *, held: bool
    ) -> tuple[_Bounds, tuple[Soft, ...]]:
        """Return the soft limits that hold where nobody meets them all, and what gave way."""
        unhinted = self._replace(hint_ms=None)

        def met(bounds: _Bounds) -> bool:
            return any(_soft_limit(bounds, candidate) is None for candidate in candidates)

        relax = self.rule.settings.relax
        prefixes = (relax[:count] for count in range(len(relax) + 1))
        opened = ((prefix, unhinted.bounds(prefix, held=held)) for prefix in prefixes)
        dropped = next((prefix for prefix, bounds in opened if met(bounds)), None)
        if dropped is None:
            return self.bounds(held=held), ()
        hinted = self.bounds(dropped, held=held)
        if met(hinted):
            return hinted, dropped
        if "slo.ttft" in relax:
            return unhinted.bounds(dropped, held=held), (*dropped, "slo.ttft")
        return self.bounds(held=held), ()

    def bounds(self, dropped: Sequence[Soft] = (), *, held: bool) -> _Bounds:
        settings = self.rule.settings
        ttft_ms, e2e_ms = settings.slo.ttft_p95_ms, settings.slo.e2e_p95_ms
        if "slo.ttft" in dropped:
            ttft_ms = None
        elif self.hint_ms is not None:
            ttft_ms = self.hint_ms if ttft_ms is None else min(ttft_ms, self.hint_ms)
        floored = not held and "quality_floor" not in dropped
        return _Bounds(
            ttft_ms,
            None if "slo.e2e" in dropped else e2e_ms,
            settings.quality_floor if floored else 0.0,
            settings.strict,
            self.unproved if floored else None,
            held,
        )


def _known(value: float | None, also: float = 0.0) -> float:
    return UNKNOWN if value is None else value + also


# Least first. A new objective is one entry here and one in the schema's MINIMIZE.
OBJECTIVES: Mapping[Minimize, Objective] = MappingProxyType(
    {
        "marginal_cost": lambda c: _known(c.usd_marginal, c.usd_router),
        "average_cost": lambda c: _known(c.usd_average, c.usd_router),
        "ttft": lambda c: _known(c.ttft_p50_ms),
        "e2e": lambda c: _known(c.e2e_p50_ms),
        "best": lambda c: (-c.quality, _known(c.usd_marginal, c.usd_router)),
    }
)

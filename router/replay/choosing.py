"""Whom a request goes to, found in a few microseconds where nothing is unusual about it.

`Choosers` gives of each kind of request what the policy's rules ask of one: the conditions that
depend on the kind alone are decided once, and so is everything about a fleet that does not depend
on its load. What is left is arithmetic, in the order of `FleetModel.predict` and of
`policies.evaluate`, so that it is the same to the last bit. A property test holds it against
`router.decide` (tests/property/test_replay_choosing.py). What is unusual is None: a pin or a wish,
a cap, a caller's latency, a confidence, a cascade; and UNSURE: nobody is feasible, or somebody who
sleeps may be worth waking. There the router's own `decide` is asked.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast

from backends.fleet_model import Prediction
from backends.load import Load
from backends.quality import Curve, QualityTable, quality, rests_on_p_small
from policies.evaluate import OBJECTIVES
from policies.model import Candidate, Facts, Matcher, Rule, Settings
from router.decide import COUNT_SLACK, TEMPLATE_SLACK
from router.ledger.entry import stamp
from router.replay.fleet import Fleet
from router.world import World

UNSURE: Final = -1
VARYING: Final = frozenset({"complexity", "tokens_in", "local_time"})  # conditions, of one kind
Pick = Callable[[int, int, float, float], int]
"""(tokens in, expected, complexity, p_small) -> the place of the fleet, or UNSURE."""
Hope = Callable[[int, int, float, float], frozenset[str] | None]
"""As `Pick` -> the full fleets that it may wait for, or None: the router decides."""
Worst = Callable[[int, int, float, float, int], int | None]
"""As `Pick`, and the most tokens that the prompt may have -> `router.budgets.worst_nano` of what is
decided; None: the router says.
"""
Worth = float | Curve | None
"""A candidate's quality: a number, by complexity, or None: the request's p_small."""


class Case(NamedTuple):
    """A rule that a kind of request may match. `pick` None: the router decides."""

    rule: int
    varying: tuple[Matcher, ...]
    pick: Pick | None
    hope: Hope | None
    worst: Worst | None


class Seen:
    """What the varying conditions read of a request: it stands in for its facts."""

    __slots__ = ("at", "complexity", "tokens_in")

    def __init__(self, at: str, complexity: float, tokens_in: int) -> None:
        self.at, self.complexity, self.tokens_in = at, complexity, tokens_in


class _Candidate(NamedTuple):
    fleet: Fleet
    context_tokens: int
    worth: Worth


class Choosers:
    """Finds the cases of a kind; kinds that no rule tells apart share them, however many tenants
    there are.
    """

    def __init__(self, world: World, fleets: Sequence[Fleet]) -> None:
        self._world, self._fleets = world, fleets
        self._found: dict[tuple[object, ...], tuple[Case, ...]] = {}
        self._varying = [
            tuple(
                _by_minute(each.matches) if each.name == "local_time" else each.matches
                for each in rule.when
                if each.name in VARYING
            )
            for rule in world.policy.rules
        ]

    def of(self, kind: Facts) -> tuple[Case, ...]:
        """Return the rules that requests of this kind may match, in order."""
        places = self._may_match(kind)
        key = (
            *(places, kind.task, kind.needs, kind.lanes, kind.models),
            *(kind.n, kind.max_tokens, kind.tokens_in_bound, _asks_nothing(kind)),
        )
        found = self._found.get(key)
        if found is None:
            world, rules = self._world, self._world.policy.rules
            found = self._found[key] = tuple(
                Case(
                    place,
                    self._varying[place],
                    *_usual(world, rules[place], kind, self._fleets),
                )
                for place in places
            )
        return found

    def _may_match(self, kind: Facts) -> tuple[int, ...]:
        places = []
        for place, rule in enumerate(self._world.policy.rules):
            if all(each.matches(kind) for each in rule.when if each.name not in VARYING):
                places.append(place)
                if not self._varying[place]:
                    break
        return tuple(places)


def is_usual(rule: Rule, kind: Facts) -> bool:
    """Return whether `_picking` knows all that the rule and the request ask for."""
    return (
        _asks_nothing(kind)
        and not rule.accept_if
        and rule.settings.confidence is None
        and rule.settings.minimize != "best"
    )


def _asks_nothing(kind: Facts) -> bool:
    """Return whether the caller leaves the choice to the policy."""
    return (
        kind.requested_model == "auto"
        and kind.max_usd is None
        and kind.slo_ttft_ms is None
        and not kind.downgraded
        and kind.spread is None
        and "vision" not in kind.needs
    )


def _by_minute(matches: Matcher) -> Matcher:
    """Return the same, asked of the calendar once a minute; no zone's offset has seconds now."""
    known: dict[str, bool] = {}

    def remembered(facts: Facts) -> bool:
        minute = facts.at[:16]
        found = known.get(minute)
        if found is None:
            found = known[minute] = matches(facts)
        return found

    return remembered


class Clock:
    """When a request came, as its facts say it: worked out once for all of a millisecond."""

    __slots__ = ("_at", "_ms", "start_s")

    def __init__(self, start_s: float) -> None:
        self.start_s, self._ms, self._at = start_s, -1, ""

    def at(self, at_s: float) -> str:
        now_s = self.start_s + at_s
        ms = int(now_s * 1000)
        if ms != self._ms:
            self._ms, self._at = ms, stamp(now_s)
        return self._at


def seen_as(seen: Seen) -> Facts:
    """Return it as what a condition takes; the varying ones read nothing else."""
    return cast("Facts", seen)


def _usual(
    world: World, rule: Rule, kind: Facts, fleets: Sequence[Fleet]
) -> tuple[Pick, Hope, Worst] | tuple[None, None, None]:
    if not is_usual(rule, kind):
        return None, None, None
    groups: list[list[_Candidate]] = [[] for _ in rule.use]
    for (_, known, grade), fleet in zip(world.rows, fleets, strict=True):
        name, model, lane, region, abilities, context_tokens = known
        group = next((i for i, use in enumerate(rule.use) if lane in use or name in use), None)
        if (
            group is None
            or (kind.lanes is not None and lane not in kind.lanes)
            or (kind.models is not None and model not in kind.models)
            or not all(need in abilities for need in kind.needs)
            or (rule.residency is not None and region not in rule.residency)
        ):
            continue
        worth = _worth(world, kind, world.grades[grade])
        groups[group].append(_Candidate(fleet, context_tokens, worth))
    floor = rule.settings.quality_floor
    good = [[c for c in group if _may_do(c.worth, floor)] for group in groups]
    every = [candidate for group in groups for candidate in group]
    worst = _reserving(world, rule, kind, groups)
    return _picking(world, rule, kind, good), _hoping(rule, kind, every), worst


def _may_do(worth: Worth, floor: float) -> bool:
    return not isinstance(worth, float) or worth >= floor


def _hoping(rule: Rule, kind: Facts, candidates: Sequence[_Candidate]) -> Hope:
    """Return what a request waits for whom only full fleets could serve (router.admission.hope)."""
    settings, n = rule.settings, kind.n
    limit = settings.max_output_tokens if kind.max_tokens is None else kind.max_tokens

    def hope(
        tokens_in: int, expected: int, complexity: float, p_small: float
    ) -> frozenset[str] | None:
        tokens_out = min(expected, limit)
        tokens = tokens_in + (tokens_out if kind.max_tokens is None else kind.max_tokens)
        found = []
        for fleet, context_tokens, worth in candidates:
            if tokens > context_tokens:
                continue
            if not fleet.closed:
                return None  # it may serve once a limit gives way
            if fleet.state == "ready":
                value = p_small if worth is None else worth
                value = value if isinstance(value, float) else value.at(complexity)
                seen = fleet.on.predict(tokens_in, tokens_out, n, with_a_place(fleet.load()))
                if value >= settings.quality_floor and _meets(settings, seen):
                    found.append(fleet.on.fleet.id)
        return frozenset(found) or None

    return hope


def _reserving(
    world: World, rule: Rule, kind: Facts, groups: Sequence[Sequence[_Candidate]]
) -> Worst:
    """Return what finds the most that all attempts of a plan can be charged together."""
    settings, n, router = rule.settings, kind.n, world.catalogue.router
    limit = settings.max_output_tokens if kind.max_tokens is None else kind.max_tokens
    objective = OBJECTIVES[settings.minimize]

    def worst(
        tokens_in: int, expected: int, complexity: float, p_small: float, bound: int
    ) -> int | None:
        tokens_out = min(expected, limit)
        tokens = tokens_in + (tokens_out if kind.max_tokens is None else kind.max_tokens)
        keys = []
        for group, candidates in enumerate(groups):
            for fleet, context_tokens, worth in candidates:
                if fleet.closed or tokens > context_tokens:
                    continue
                value = p_small if worth is None else worth
                value = value if isinstance(value, float) else value.at(complexity)
                seen = fleet.on.predict(tokens_in, tokens_out, n, fleet.load())
                if value < settings.quality_floor or not _meets(settings, seen):
                    continue
                usd_router = router.usd(seen.e2e_p50_ms) if router.lines else 0.0
                figures = Figures(*seen[:7], usd_router, value)
                average = math.inf if seen.usd_average is None else seen.usd_average
                keys.append((group, objective(cast("Candidate", figures)), average, fleet.place))
        keys.sort()
        total = prompt = 0
        attempts = [world.fleets[key[-1]] for key in keys[: settings.limits.attempts]]
        for on in attempts:
            if on.card is None:
                return None
            most = limit
            if kind.max_tokens is None:  # as router.decide.output_limit
                room = on.fleet.context_tokens - int(tokens_in * COUNT_SLACK) - TEMPLATE_SLACK
                most = max(1, min(limit, room))
            total += on.card.charge_nano(bound, 0, most * n)
            prompt = max(prompt, on.card.charge_nano(bound, 0, 0))
        return total + (settings.limits.attempts - len(attempts)) * prompt

    return worst


class Figures(NamedTuple):
    """What an objective reads of a candidate."""

    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    usd_router: float
    quality: float


def _meets(settings: Settings, seen: Prediction) -> bool:
    """Return whether a prediction meets the policy's own soft limits."""
    for most_ms, p95_ms in (
        (settings.slo.ttft_p95_ms, seen.ttft_p95_ms),
        (settings.slo.e2e_p95_ms, seen.e2e_p95_ms),
    ):
        if most_ms is None:
            continue
        if settings.strict if p95_ms is None else p95_ms > most_ms:
            return False
    return not settings.strict or None not in (seen.usd_marginal, seen.usd_average)


def with_a_place(load: Load) -> Load:
    """Return a full fleet's load as if one request had ended (router.admission)."""
    if load.limit is None:
        return load
    return replace(load, in_flight=min(load.in_flight, load.limit - 1))


def _worth(world: World, kind: Facts, grade: tuple[QualityTable | None, bool]) -> Worth:
    table, in_lane = grade
    baseline = world.baseline.fleet.model.quality
    if rests_on_p_small(table, baseline, kind.task, in_baseline_lane=in_lane):
        return None
    if table is not None and table is not baseline and table.by == "curves":
        return table.curves.get(kind.task) or table.curves["default"]
    found, _ = quality(table, baseline, kind.task, 0.0, 0.0, in_baseline_lane=in_lane)
    return float(found)


def _picking(  # noqa: C901, PLR0915  (one function on purpose: it runs for every request)
    world: World, rule: Rule, kind: Facts, groups: Sequence[Sequence[_Candidate]]
) -> Pick:
    settings = rule.settings
    limit = settings.max_output_tokens if kind.max_tokens is None else kind.max_tokens
    own_limit = kind.max_tokens
    n = kind.n
    floor = settings.quality_floor
    ttft_most = math.inf if settings.slo.ttft_p95_ms is None else settings.slo.ttft_p95_ms
    e2e_most = math.inf if settings.slo.e2e_p95_ms is None else settings.slo.e2e_p95_ms
    blind_ttft = settings.strict and settings.slo.ttft_p95_ms is not None
    blind_e2e = settings.strict and settings.slo.e2e_p95_ms is not None
    strict = settings.strict
    minimize = settings.minimize
    router = world.catalogue.router
    by_second = bool(router.lines)
    most_s, each_s = router.usd_per_request, router.usd_per_second
    unknown = math.inf
    idle = Load(replicas=1)

    def pick(tokens_in: int, expected: int, complexity: float, p_small: float) -> int:  # noqa: C901, PLR0912, PLR0915
        tokens_out = min(limit, expected)
        tokens = tokens_in + (tokens_out if own_limit is None else own_limit)
        out_total = tokens_out * n
        missed = False  # somebody who sleeps would have served
        for group in groups:
            best, best_worth, best_average, best_marginal = UNSURE, unknown, unknown, 0.0
            asleep, asleep_worth, asleep_average = UNSURE, unknown, unknown
            for fleet, context_tokens, worth in group:
                if fleet.closed and not fleet.cold:
                    continue
                if tokens > context_tokens:
                    continue
                if worth is None:
                    if p_small < floor:
                        continue
                elif worth.__class__ is not float and worth.at(complexity) < floor:  # type: ignore[union-attr]
                    continue
                if fleet.cold:
                    row = fleet.awake
                else:
                    rows, in_flight = fleet.rows, fleet.in_flight
                    row = rows[in_flight] if in_flight < len(rows) else fleet.costs()
                if row is None:
                    # Without a profile or its prompt's time, or with ratios of lengths.
                    (
                        p50_ms,
                        p95_ms,
                        _,
                        e2e_ms,
                        e2e_p95_ms,
                        marginal,
                        average,
                        _,
                    ) = fleet.on.predict(
                        tokens_in, tokens_out, n, idle if fleet.cold else fleet.load()
                    )
                    if p95_ms is None:
                        if blind_ttft:
                            continue
                    elif p95_ms > ttft_most:
                        continue
                    if e2e_p95_ms is None:
                        if blind_e2e:
                            continue
                    elif e2e_p95_ms > e2e_most:
                        continue
                else:
                    (
                        floor_ms,
                        p50_ms,
                        ms_per_token,
                        itl_ms,
                        marginal,
                        marginal_out,
                        average,
                        average_out,
                        wait_p50,
                        wait_p95,
                        ttft_p95,
                        e2e_p95_prefill,
                        e2e_p95_decode,
                    ) = row
                    p50_ms += ms_per_token * tokens_in
                    p50_ms = max(p50_ms, floor_ms)
                    decode_ms = (tokens_out - 1) * itl_ms if tokens_out > 1 else 0.0
                    e2e_ms = p50_ms + decode_ms
                    e2e_p95_ms = p50_ms * e2e_p95_prefill + decode_ms * e2e_p95_decode
                    p95_ms = p50_ms * ttft_p95
                    if wait_p50:
                        wait_ms, late_ms = wait_p50 * e2e_ms, wait_p95 * e2e_ms
                        p50_ms, p95_ms = wait_ms + p50_ms, late_ms + p95_ms
                        e2e_ms, e2e_p95_ms = wait_ms + e2e_ms, late_ms + e2e_p95_ms
                    if p95_ms > ttft_most or e2e_p95_ms > e2e_most:
                        continue
                    if marginal is not None:
                        marginal = marginal * tokens_in + marginal_out * out_total
                    if average is not None:
                        average = average * tokens_in + average_out * out_total
                if strict and (marginal is None or average is None):
                    continue
                usd_router = 0.0
                if by_second:
                    usd_router = most_s if e2e_ms is None else most_s + each_s * e2e_ms / 1000
                if minimize == "marginal_cost":
                    value = unknown if marginal is None else marginal + usd_router
                elif minimize == "average_cost":
                    value = unknown if average is None else average + usd_router
                elif minimize == "ttft":
                    value = unknown if p50_ms is None else p50_ms
                else:
                    value = unknown if e2e_ms is None else e2e_ms
                known = unknown if average is None else average
                if fleet.cold:
                    if asleep == UNSURE or (value, known) < (asleep_worth, asleep_average):
                        asleep, asleep_worth, asleep_average = fleet.place, value, known
                    continue
                if best != UNSURE and value > best_worth:
                    continue
                if best == UNSURE or value < best_worth or known < best_average:
                    best, best_worth, best_average = fleet.place, value, known
                    best_marginal = unknown if marginal is None else marginal
            if asleep != UNSURE:
                ours, theirs = (best_worth, best_average, best), (asleep_worth, asleep_average)
                missed = missed or best == UNSURE or (*theirs, asleep) < ours
            if best != UNSURE:
                return UNSURE if missed and best_marginal != 0 else best
        return UNSURE

    return pick

"""Whom a request goes to where something is unusual: every candidate is weighed, once.

Soft limits give way, who sleeps is missed, a full fleet is waited for, a cascade's answer is
tested. A candidate's broken limits are bits, so that one prediction is enough for all that the
rule's `relax` may drop. The same as `policies.evaluate`, `router.decide`, `router.wake_worth` and
`router.admission` find for a request that asks for nothing itself; a property test holds it
against them (tests/property/test_replay_choosing.py).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, cast

from backends.fleet_model import FleetModel
from backends.load import Load, is_full
from policies.acceptance import reads_logprobs
from policies.evaluate import OBJECTIVES
from policies.model import Candidate as Judged
from policies.model import Facts, Rule, Soft
from router.decide import COUNT_SLACK, TEMPLATE_SLACK
from router.replay.candidates import Asked, Candidate, Worth, figures, quality_of
from router.replay.fleet import Fleet
from router.wake_worth import ASLEEP, pays_beyond
from router.world import World

LATE_FIRST, LATE_LAST, WEAK, UNKNOWN = 1, 2, 4, 8
BIT: Final[Mapping[Soft, int]] = MappingProxyType(
    {"slo.ttft": LATE_FIRST, "slo.e2e": LATE_LAST, "quality_floor": WEAK}
)
AWAKE: Final = Load(replicas=1)  # as router.wake_worth takes one who sleeps
_new = tuple.__new__  # what a NamedTuple does, without its wrapper
Missed = tuple[int, float]
"""The place of a fleet that sleeps and would have served; how many requests must miss it."""


class Weighed(NamedTuple):
    """A candidate for one request. Those of one set are ordered by what comes first here.

    `broken`: the bits of the soft limits that it breaks; UNKNOWN never gives way.
    """

    group: int
    worth: float | tuple[float, ...]
    average: float
    place: int
    broken: int
    usd_marginal: float | None
    usd_router: float
    on: FleetModel


class Found(NamedTuple):
    """Who may serve, in no order: `tried` are a cascade's. `dropped`: bits of what gave way."""

    tried: list[Weighed]
    sure: list[Weighed]
    dropped: int


class Chosen(NamedTuple):
    """Who serves. `tested`: its answer is, and `follows` is asked where that isn't kept."""

    place: int
    relaxed: bool
    missed: Missed | None
    tested: bool = False
    follows: int | None = None


class Weighing:
    """All candidates of one rule for one kind of request."""

    def __init__(
        self, world: World, rule: Rule, kind: Facts, groups: Sequence[Sequence[Candidate]]
    ) -> None:
        settings = rule.settings
        self._cascade = bool(rule.accept_if)
        unreadable = reads_logprobs(rule.accept_if)
        self._candidates = [
            (group, candidate)
            for group, found in enumerate(groups)
            for candidate in found
            if group or not unreadable or _tells_logprobs(candidate)
        ]
        self._kind, self._attempts = kind, settings.limits.attempts
        self._limit = settings.max_output_tokens if kind.max_tokens is None else kind.max_tokens
        slo = settings.slo
        self._ttft_ms = math.inf if slo.ttft_p95_ms is None else slo.ttft_p95_ms
        self._e2e_ms = math.inf if slo.e2e_p95_ms is None else slo.e2e_p95_ms
        self._floor, self._strict = settings.quality_floor, settings.strict
        self._blind_first = LATE_FIRST if settings.strict and slo.ttft_p95_ms is not None else 0
        self._blind_last = LATE_LAST if settings.strict and slo.e2e_p95_ms is not None else 0
        self._objective = OBJECTIVES[settings.minimize]
        self._router = world.catalogue.router
        self._drops = [0]
        for soft in settings.relax:
            self._drops.append(self._drops[-1] | BIT[soft])

    def chosen(self, asked: Asked) -> Chosen | None:
        """Return who serves; None: nobody."""
        fitting = self._fitting(asked)
        here = self._here(asked, fitting)
        now = self._found(here)
        tried, sure, dropped = now
        if not tried and not sure:
            return None
        missed = self._missed(asked, fitting, here, now)
        first = min(tried or sure).place
        if not tried:
            return Chosen(first, bool(dropped), missed)
        follows = min(sure).place if sure else None
        return Chosen(first, bool(dropped), missed, tested=True, follows=follows)

    def missed(self, asked: Asked) -> Missed | None:
        """Return which sleeping fleet the request misses."""
        fitting = self._fitting(asked)
        here = self._here(asked, fitting)
        return self._missed(asked, fitting, here, self._found(here))

    def hope(self, asked: Asked) -> frozenset[str] | None:
        """Return the full fleets that a request nobody serves now may wait for. Without any it is
        refused: no fleet is feasible now. None: the router says why.
        """
        fitting = self._fitting(asked)
        full = [
            (group, fleet, worth, with_a_place(fleet))
            for group, (fleet, _, worth) in fitting
            if fleet.closed and fleet.state == "ready"
        ]
        weighed = self._here(asked, fitting) + self._weighed(asked, full)
        tried, sure, _ = self._found(weighed)
        if tried or sure:
            places = {fleet.place for _, fleet, _, _ in full}
            return frozenset(one.on.fleet.id for one in tried + sure if one.place in places)
        passes = any(fleet.state != "ready" for _, (fleet, _, _) in fitting) or (
            not self._strict and any(one.broken & (LATE_FIRST | LATE_LAST) for one in weighed)
        )
        return frozenset() if passes else None

    def worst(self, asked: Asked, bound: int) -> int | None:
        """Return `router.budgets.worst_nano` of what is decided without a test; None: unknown.

        `bound`: how many tokens the prompt has at most.
        """
        tokens_in, kind = asked[0], self._kind
        found = self._found(self._here(asked, self._fitting(asked)))
        attempts = [one.on for one in sorted(found.sure)[: self._attempts]]
        total = prompt = 0
        for on in attempts:
            if on.card is None:
                return None
            most = self._limit
            if kind.max_tokens is None:  # as router.decide.output_limit
                room = on.fleet.context_tokens - int(tokens_in * COUNT_SLACK) - TEMPLATE_SLACK
                most = max(1, min(most, room))
            total += on.card.charge_nano(bound, 0, most * kind.n)
            prompt = max(prompt, on.card.charge_nano(bound, 0, 0))
        return total + (self._attempts - len(attempts)) * prompt

    def _fitting(self, asked: Asked) -> list[tuple[int, Candidate]]:
        """Return the candidates whose context has room."""
        tokens_in, expected, _, _ = asked
        own = self._kind.max_tokens
        tokens = tokens_in + (min(expected, self._limit) if own is None else own)
        return [each for each in self._candidates if tokens <= each[1].context_tokens]

    def _here(self, asked: Asked, fitting: Iterable[tuple[int, Candidate]]) -> list[Weighed]:
        return self._weighed(
            asked,
            [
                (group, fleet, worth, fleet.load())
                for group, (fleet, _, worth) in fitting
                if not fleet.closed
            ],
        )

    def _weighed(
        self, asked: Asked, loaded: Iterable[tuple[int, Fleet, Worth, Load]]
    ) -> list[Weighed]:
        tokens_in, expected, complexity, p_small = asked
        tokens_out, n = min(expected, self._limit), self._kind.n
        ttft_ms, e2e_ms, floor, strict = self._ttft_ms, self._e2e_ms, self._floor, self._strict
        blind_first, blind_last, cascade = self._blind_first, self._blind_last, self._cascade
        objective, router = self._objective, self._router
        by_second = bool(router.lines)
        usd_router = 0.0
        weighed = []
        for group, fleet, worth, load in loaded:
            on = fleet.on
            seen = on.predict(tokens_in, tokens_out, n, load)
            _, first_ms, _, p50_ms, last_ms, marginal, average, _ = seen
            held = cascade and group == 0
            if held:
                first_ms = last_ms
            broken = 0
            if first_ms is None:
                broken = blind_first
            elif first_ms > ttft_ms:
                broken = LATE_FIRST
            if last_ms is None:
                broken |= blind_last
            elif last_ms > e2e_ms:
                broken |= LATE_LAST
            value = quality_of(worth, complexity, p_small)
            if value < floor and not held:
                broken |= WEAK
            if strict and (marginal is None or average is None):
                broken |= UNKNOWN
            if by_second:
                usd_router = router.usd(p50_ms)
            best = objective(cast("Judged", figures(seen, usd_router, value)))
            known = math.inf if average is None else average
            one = group, best, known, fleet.place, broken, marginal, usd_router, on
            weighed.append(_new(Weighed, one))
        return weighed

    def _found(self, weighed: Sequence[Weighed]) -> Found:
        """Return who may serve: nothing gives way for those to try while others may serve."""
        if not self._cascade:
            return Found([], *self._within(weighed))
        tried = [one for one in weighed if one.group == 0]
        sure, dropped = self._within([one for one in weighed if one.group])
        if sure:
            return Found([one for one in tried if not one.broken], sure, dropped)
        tried, dropped = self._within(tried)
        return Found(tried, sure, dropped)

    def _within(self, weighed: Sequence[Weighed]) -> tuple[list[Weighed], int]:
        """Return those within the soft limits, once enough of them gave way, and which did."""
        for dropped in self._drops:
            found = [one for one in weighed if not one.broken & ~dropped]
            if found:
                return found, dropped
        return [], 0

    def _missed(
        self,
        asked: Asked,
        fitting: Iterable[tuple[int, Candidate]],
        here: list[Weighed],
        now: Found,
    ) -> Missed | None:
        """Return the fleet that is to be woken for the request (router.wake_worth.sleeper)."""
        asleep = [
            (group, fleet, worth, AWAKE)
            for group, (fleet, _, worth) in fitting
            if fleet.state in ASLEEP
        ]
        tried, sure, dropped = now
        real = min(tried or sure, default=None)
        unsure = bool(tried) and not sure
        if not asleep or (
            real is not None and real.usd_marginal == 0 and not dropped and not unsure
        ):
            return None
        awake = self._found(here + self._weighed(asked, asleep))
        served = min(awake.sure if unsure else awake.tried or awake.sure, default=None)
        if served is None:
            return None
        fleet = next((fleet for _, fleet, _, _ in asleep if fleet.place == served.place), None)
        if fleet is None or not fleet.cold:
            return None
        if real is None or unsure or dropped & ~awake.dropped:
            return fleet.place, 0.0
        return fleet.place, pays_beyond(served, real)


def _tells_logprobs(candidate: Candidate) -> bool:
    return "logprobs" in candidate.fleet.on.fleet.model.abilities


def with_a_place(fleet: Fleet) -> Load:
    """Return a fleet's load; of a full one as if one request had ended (router.admission)."""
    load = fleet.load()
    if not is_full(load):
        return load
    return Load(load.state, fleet.limit - 1, None, load.replicas, load.committed, limit=fleet.limit)

"""Facts and loads -> a verdict and the attempts to make. Pure: the same values, the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.fleet_model import P95_OVER_P50
from backends.load import Load
from policies.evaluate import Verdict, evaluate, matching
from policies.hedges import PAIR
from policies.model import Acceptance, Facts, Hedge, Limits, Settings, nano_of
from router.estimate import Estimate, estimate
from router.hedging import hedge_after_ms
from router.spread import spread
from router.world import World

COUNT_SLACK = 1.1  # the estimate's median error is under 10 %
TEMPLATE_SLACK = 32  # tokens that a chat template adds


@dataclass(frozen=True, slots=True)
class Attempt:
    """One fleet to try. `timeout_ms` runs to the first content token of a stream, or to the whole
    of an answer that is plain or tested; `max_tokens` is the output limit per choice.
    With `accept_if` its answer is kept only if it passes these tests.
    """

    candidate: Estimate
    timeout_ms: float
    max_tokens: int
    accept_if: tuple[Acceptance, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Attempts in order, under one deadline. When all have failed, `retries` more may be made at
    their fleets; each may be charged its prompt beside what the attempts may be. `rest` may serve,
    and come after: more than the limits have attempts for, or than is paid for. With
    `hedge_after_ms` the second attempt starts beside the first, if nothing came of that by then.
    """

    attempts: tuple[Attempt, ...]
    limits: Limits
    retries: int = 0
    rest: tuple[Estimate, ...] = ()
    settings: Settings = field(default_factory=Settings)
    stream: bool = False
    hedge_after_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`waited_ms` went by before it was made, for a place on a fleet."""

    facts: Facts
    verdict: Verdict[Estimate]
    loads: Sequence[Load]
    plan: Plan
    waited_ms: float = 0.0


def decide(world: World, facts: Facts, loads: Sequence[Load], *, stream: bool = False) -> Decision:
    """Judge every fleet and plan the attempts. `stream` sets time-outs only."""
    rule = matching(world.policy, facts)
    settings = rule.settings if rule else world.policy.defaults
    limit = settings.max_output_tokens if facts.max_tokens is None else facts.max_tokens
    verdict = evaluate(world.policy, facts, estimate(world, facts, loads, limit))
    if facts.spread is not None:
        verdict = spread(verdict, facts.spread)
    return Decision(facts, verdict, loads, _plan(verdict, settings, facts, stream=stream))


def _plan(verdict: Verdict[Estimate], settings: Settings, facts: Facts, *, stream: bool) -> Plan:
    limits = settings.limits
    first, rest = _in_order(verdict, settings, facts)
    tests = verdict.rule.accept_if if verdict.rule and first else ()
    attempts: list[Attempt] = []
    nano_left = None if facts.max_usd is None else nano_of(facts.max_usd)
    ranked = (*first, *rest)
    for candidate in ranked[: limits.attempts]:
        max_tokens = output_limit(settings, facts, candidate)
        if nano_left is not None:
            # The caller's cap holds for all attempts together: each may be charged in full.
            nano = candidate.nano_at_most(max_tokens) or 0
            if nano > nano_left and attempts:
                break
            nano_left -= nano
        accept_if = () if attempts else tests
        streams = stream and not accept_if
        timeout_ms = timeout_ms_of(limits, candidate, max_tokens, stream=streams)
        attempts.append(Attempt(candidate, timeout_ms, max_tokens, accept_if))
    retries = _retries(attempts, limits, nano_left)
    cut = ranked[len(attempts) :]
    hedge = verdict.rule.hedge if verdict.rule and stream else None
    after_ms = None if hedge is None else _hedge_after_ms(hedge, attempts, settings, facts)
    return Plan(tuple(attempts), limits, retries, cut, settings, stream, after_ms)


def _hedge_after_ms(
    hedge: Hedge, attempts: Sequence[Attempt], settings: Settings, facts: Facts
) -> float | None:
    """Return when the second attempt starts beside the first. Both were set aside in full."""
    slo_ms = settings.slo.ttft_p95_ms
    if slo_ms is None or len(attempts) < PAIR or facts.downgraded:
        return None
    if facts.slo_ttft_ms is not None:
        slo_ms = min(slo_ms, facts.slo_ttft_ms)
    first, second = attempts[:PAIR]
    second_nano = second.candidate.nano_at_most(second.max_tokens)
    return hedge_after_ms(hedge, first.candidate, second_nano, slo_ms)


def _retries(attempts: Sequence[Attempt], limits: Limits, nano_left: int | None) -> int:
    """Return how many tries are left for fleets that fail at first, and are paid for."""
    if not attempts or attempts[-1].accept_if:  # what is tested is asked once
        return 0
    left = limits.attempts - len(attempts)
    if nano_left is None:
        return left
    nano = prompt_nano(attempts) or 0
    return min(left, max(0, nano_left) // nano) if nano else left


def prompt_nano(attempts: Sequence[Attempt]) -> int | None:
    """Return the most that one of the attempts is charged if it fails before any content: its
    prompt (docs/ledger.md). None: nobody knows.
    """
    found = [attempt.candidate.nano_at_most(0) for attempt in attempts]
    return max((nano for nano in found if nano is not None), default=None)


def _in_order(
    verdict: Verdict[Estimate], settings: Settings, facts: Facts
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...]]:
    """Return whose answer is tested, at most one, and who follows.

    A cap that doesn't pay for both leaves the sure answer.
    """
    first, rest = verdict.ranked[: min(1, verdict.tried)], verdict.ranked[verdict.tried :]
    if first and rest and facts.max_usd is not None:
        usd = sum(c.usd_at_most(output_limit(settings, facts, c)) or 0.0 for c in (*first, rest[0]))
        if usd > facts.max_usd:
            return (), rest
    return first, rest


def output_limit(settings: Settings, facts: Facts, candidate: Estimate) -> int:
    """Return the caller's own limit, else the policy's, as far as the fleet's context has room.

    Room is left for what the count of the prompt may be wrong by: a fleet refuses one token more.
    """
    if facts.max_tokens is not None:
        return facts.max_tokens
    room = candidate.context_tokens - int(facts.tokens_in * COUNT_SLACK) - TEMPLATE_SLACK
    return max(1, min(settings.max_output_tokens, room))


def timeout_ms_of(limits: Limits, candidate: Estimate, max_tokens: int, *, stream: bool) -> float:
    """Return the time to the first content token of a stream, else to the whole of an answer."""
    if stream:
        return float(limits.ttft_timeout_ms)
    if candidate.itl_p50_ms is None:
        return float(limits.deadline_ms)
    decode_ms = 2 * (max_tokens - 1) * candidate.itl_p50_ms * P95_OVER_P50
    return min(limits.ttft_timeout_ms + decode_ms, limits.deadline_ms)

"""What is left of a plan once a fleet has said that the prompt is too long for it. Pure.

The fleet may have told how many tokens it counted, or its own context. Attempts that come and have
no room are passed over; fleets that the plan had cut off may take their places, best first. Where
money binds, they cost no more than was set aside for those that will not be charged.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from backends.base import ContextExceeded
from router.decide import Attempt, Plan, timeout_ms_of
from router.estimate import Estimate


class Left(NamedTuple):
    """The attempts that come, and those that were passed over, each with why."""

    attempts: tuple[Attempt, ...]
    passed_over: tuple[tuple[Attempt, ContextExceeded], ...]


def after_overflow(
    plan: Plan,
    refused: Attempt,
    coming: Sequence[Attempt],
    error: ContextExceeded,
    *,
    money_binds: bool,
) -> Left:
    kept: list[Attempt] = []
    passed: list[Attempt] = []
    for attempt in coming:
        max_tokens = _room(plan, attempt.candidate, error, attempt.max_tokens)
        if max_tokens is None:
            passed.append(attempt)
        else:
            kept.append(replace(attempt, max_tokens=max_tokens))
    if passed:
        most_nano = _most_nano((refused, *passed)) if money_binds else None
        kept += _in_their_places(plan, len(passed), error, most_nano)
    return Left(tuple(kept), tuple((attempt, _why(attempt, error)) for attempt in passed))


def _in_their_places(
    plan: Plan, places: int, error: ContextExceeded, left_nano: int | None
) -> list[Attempt]:
    """Return as many attempts of fleets with room, which cost no more than `left_nano`."""
    found: list[Attempt] = []
    for candidate in plan.rest:
        if len(found) == places:
            break
        most = plan.settings.max_output_tokens
        asked = candidate.facts.max_tokens
        max_tokens = _room(plan, candidate, error, most if asked is None else asked)
        if max_tokens is None:
            continue
        if left_nano is not None:
            full, prompt = candidate.nano_at_most(max_tokens), candidate.nano_at_most(0)
            if full is None or prompt is None or full + plan.retries * prompt > left_nano:
                continue
            left_nano -= full + plan.retries * prompt
        timeout_ms = timeout_ms_of(plan.limits, candidate, max_tokens, stream=plan.stream)
        found.append(Attempt(candidate, timeout_ms, max_tokens))
    return found


def _room(plan: Plan, candidate: Estimate, error: ContextExceeded, max_tokens: int) -> int | None:
    """Return the output limit, as far as there is room; None: not even for what is expected."""
    facts, context = candidate.facts, candidate.context_tokens
    if error.n_prompt_tokens is None:
        return None if error.n_ctx is not None and context <= error.n_ctx else max_tokens
    room = context - error.n_prompt_tokens
    if facts.max_tokens is not None:
        return max_tokens if room >= facts.max_tokens else None
    expected = min(facts.tokens_out, plan.settings.max_output_tokens)
    return min(max_tokens, room) if room >= max(1, expected) else None


def _most_nano(attempts: Sequence[Attempt]) -> int:
    """Return what was set aside for these; nobody knows: nothing."""
    found = [attempt.candidate.nano_at_most(attempt.max_tokens) for attempt in attempts]
    return sum(nano for nano in found if nano is not None)


def _why(attempt: Attempt, error: ContextExceeded) -> ContextExceeded:
    context = attempt.candidate.context_tokens
    if error.n_prompt_tokens is None:
        said = f"its context of {context} is no larger than the {error.n_ctx} that were too few"
    else:
        said = f"its context of {context} has no room for the {error.n_prompt_tokens} tokens"
        said += " that the prompt was found to have"
    return ContextExceeded(said, n_prompt_tokens=error.n_prompt_tokens, n_ctx=error.n_ctx)

"""What a request sets aside before it is sent, and in which budgets. Pure.

The worst case of a plan is that every attempt is sent and answers at its limit: every byte of the
prompt a token, none cached, at the fleet's rate card. Every retry adds a prompt: of all tries of a
fleet at most the last one has an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from backends.cost import NANO
from backends.fleet_model import FleetModel
from policies.match import counting
from policies.model import Budget, Facts
from policies.periods import Period, period
from router.decide import Decision, prompt_nano
from router.ledger.port import Scope

LEASE_S: Final = 60.0  # beyond the deadline: then what was set aside counts as spent


@dataclass(slots=True)
class Periods:
    """The running periods, by kind and zone, so that a request looks none up in a calendar."""

    _running: dict[tuple[str, str], Period] = field(default_factory=dict)

    def at(self, budget: Budget, now_s: float) -> Period:
        found = self._running.get((budget.per, budget.tz))
        if found is None or not found.begins_s <= now_s < found.ends_s:
            found = self._running[budget.per, budget.tz] = period(budget.per, budget.tz, now_s)
        return found


def scopes_of(
    budgets: Sequence[Budget], facts: Facts, now_s: float, periods: Periods
) -> tuple[Scope, ...]:
    """Return the budgets that the request counts in, each for its value and running period."""
    return tuple(
        _scope(budget, value, periods.at(budget, now_s))
        for budget, value in counting(budgets, facts)
    )


def _scope(budget: Budget, value: str, running: Period) -> Scope:
    return Scope(
        budget=budget.id,
        value=value,
        period=running.name,
        ends=datetime.fromtimestamp(running.ends_s, UTC).isoformat(timespec="seconds")[:-6] + "Z",
        soft_nano=budget.nano,
        hard_nano=budget.hard_nano,
        on_spent=budget.when_spent,
        alert_at=budget.alert_at,
    )


def worst_nano(decision: Decision) -> int | None:
    """Return the most that the plan's attempts can be charged together; None: nobody knows."""
    plan, found = decision.plan, 0
    for attempt in plan.attempts:
        nano = worst_nano_of(attempt.candidate.on, decision.facts, attempt.max_tokens)
        if nano is None:
            return None
        found += nano
    if plan.retries:
        found += plan.retries * (prompt_nano(plan.attempts) or 0)
    return found


def worst_nano_of(on: FleetModel, facts: Facts, max_tokens: int) -> int | None:
    """Return the most that one attempt on this fleet can be charged; None: nobody knows."""
    card = on.card
    if card is None or "vision" in facts.needs:  # nobody knows an image's tokens beforehand
        return None
    tokens_in = facts.tokens_in if facts.tokens_in_bound is None else facts.tokens_in_bound
    return card.charge_nano(tokens_in, 0, max_tokens * facts.n)


def within(facts: Facts, nano: int) -> Facts:
    """Return the facts of a request that may cost this much and no more."""
    usd = max(0, nano) / NANO
    return replace(facts, max_usd=usd if facts.max_usd is None else min(facts.max_usd, usd))


def least_hard_nano(scopes: Sequence[Scope]) -> int | None:
    """Return the smallest limit among the hard ones, or None if there is none."""
    return min((s.hard_nano for s in scopes if s.hard_nano is not None), default=None)

"""Between a decision and its sending: the worst case is set aside in every budget, or nothing is
sent; afterwards what was used is charged.

Where a budget hasn't enough, the request is decided once more: within what is left, or, where the
budget downgrades, for the cheapest lane.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from backends.cost import NANO
from backends.load import Load
from policies.model import Facts, Policy
from router.budgets import LEASE_S, Periods, least_hard_nano, scopes_of, within, worst_nano
from router.charge import usd_text
from router.decide import Decision, decide
from router.entries import Finished, Spent, entries_of, worst_entry
from router.errors import Refusal
from router.ledger.entry import Entry, stamp
from router.ledger.port import (
    Alert,
    Before,
    Downgrade,
    Ledger,
    LedgerUnavailable,
    Limit,
    Refused,
    Reserved,
    Scope,
)
from router.owed import Owed, settled
from router.receipt import Json
from router.runtime import LOG
from router.world import World

ROUNDS: Final = 8  # of deciding anew: others may spend what was left in between

Decided = Callable[[Facts, Sequence[Load]], Decision]


@dataclass(frozen=True, slots=True)
class Held:
    """What was set aside for a request, and when (RFC 3339)."""

    reserved: Reserved
    at: str

    def json(self) -> Json:
        """Return the receipt's `reservation`."""
        scopes = [
            {"budget": s.budget, "value": s.value, "period": s.period} for s in self.reserved.scopes
        ]
        return {"usd": self.reserved.nano / NANO, "scopes": scopes}


@dataclass(slots=True)
class Treasury:
    """`now` is the wall clock, in seconds since 1970. `alert` is told of thresholds, once each;
    `unsettled` counts requests whose lease must run out.
    """

    ledger: Ledger
    now: Callable[[], float]
    alert: Callable[[Sequence[Alert]], None]
    unsettled: Callable[[], None]
    _periods: Periods = field(default_factory=Periods)
    _owed: Owed = field(default_factory=Owed)

    def adopt(self, policy: Policy) -> None:
        """Put the policy's limits in force. Raises LedgerUnavailable."""
        limits = {b.id: Limit(b.nano, b.hard_nano, b.alert_at) for b in policy.budgets}
        self.ledger.adopt(limits, policy.hash, self.now())

    def set_aside(
        self, request_id: str, world: World, decision: Decision, decided: Decided
    ) -> tuple[Decision, Held]:
        """Return the decision that may be sent, and what is set aside for it. Raises Refusal: 402
        with the budget, 503 if the ledger can't be used.
        """
        now_s = self.now()
        budgets = world.policy.budgets
        scopes = scopes_of(budgets, decision.facts, now_s, self._periods) if budgets else ()
        nano, least = worst_nano(decision), least_hard_nano(scopes)
        if nano is None and least is not None:  # only what has a price may go on
            decision = decided(within(decision.facts, least), decision.loads)
            if not decision.plan.attempts:
                told = "no fleet has a known price for this request, which its budget takes"
                raise Refusal(402, told, "budget_exhausted")
        answer = self._reserve(request_id, world, scopes, now_s, decision)
        for _ in range(ROUNDS):
            if isinstance(answer, Reserved):
                return decision, Held(answer, decision.facts.at)
            decision = decided(_poorer(decision.facts, answer), decision.loads)
            if not decision.plan.attempts:
                break
            answer = self._reserve(request_id, world, scopes, now_s, decision)
        if isinstance(answer, Reserved):
            return decision, Held(answer, decision.facts.at)
        raise _exhausted(answer.scope, answer.left_nano, now_s)

    def hold(
        self, request_id: str, world: World, decision: Decision, nano: int, lasts_s: float
    ) -> Held | None:
        """Set `nano` aside for a call that is not decided anew; None: a budget hasn't as much.

        It is over `lasts_s` from now. Raises LedgerUnavailable.
        """
        now_s = self.now()
        scopes = scopes_of(world.policy.budgets, decision.facts, now_s, self._periods)
        worst = worst_entry(request_id, world, decision, nano, decision.facts.at)
        answer = self.ledger.reserve(worst, scopes, now_s, now_s + lasts_s + LEASE_S)
        return Held(answer, decision.facts.at) if isinstance(answer, Reserved) else None

    def settle(
        self,
        held: Held,
        finished: tuple[str, World, Decision],
        spent: Sequence[Spent],
        receipt: bytes,
    ) -> None:
        """Charge what was used. Where nothing was sent, nothing is charged."""
        now_s, reserved = self.now(), held.reserved
        entries: Sequence[Entry] = ()
        if spent:
            entries = entries_of(
                Finished(*finished, spent, stamp(now_s), held.at, reserved.nano, receipt)
            )
        try:
            alerts = settled(self.ledger, reserved, entries, now_s)
        except LedgerUnavailable as exc:
            LOG.error("request %s could not be settled: %s", reserved.id, exc)
            if not self._owed.keep(reserved, entries):
                self.unsettled()  # its lease runs out, and it is charged in full then
            return
        if alerts:
            self.alert(alerts)

    def expire(self) -> int:
        """Charge what could not be charged before, and what nobody settled in time; return how many
        of these there were. Raises LedgerUnavailable.
        """
        now_s = self.now()
        for told in self._owed.pay(self.ledger, now_s):
            self.alert(told)
        found = self.ledger.expire(now_s)
        self.alert(found.alerts)
        return found.leases

    def once(self, key_id: str, idempotency_key: str, body_hash: str, request_id: str) -> None:
        """Take the idempotency key for this request. Raises Refusal: 409 if another has it, 422 if
        that one had another body, 503.
        """
        with_key = (key_id, idempotency_key, body_hash, request_id, self.now())
        try:
            before = self.ledger.once(*with_key)
        except LedgerUnavailable:
            raise _unavailable() from None
        if before is not None:
            raise _again(before)

    def forget(self, key_id: str, idempotency_key: str, request_id: str) -> None:
        """Give the key back: the request was refused, and nothing was spent."""
        try:
            self.ledger.forget(key_id, idempotency_key, request_id)
        except LedgerUnavailable as exc:
            LOG.error("an idempotency key of %s could not be given back: %s", request_id, exc)

    def _reserve(
        self,
        request_id: str,
        world: World,
        scopes: Sequence[Scope],
        now_s: float,
        decision: Decision,
    ) -> Reserved | Refused | Downgrade:
        nano = worst_nano(decision) or 0
        worst = worst_entry(request_id, world, decision, nano, decision.facts.at)
        lease_ends_s = now_s + decision.plan.limits.deadline_ms / 1000 + LEASE_S
        downgraded = frozenset(decision.facts.downgraded)
        try:
            return self.ledger.reserve(worst, scopes, now_s, lease_ends_s, downgraded)
        except LedgerUnavailable:
            raise _unavailable() from None


def decided_by(world: World, *, stream: bool) -> Decided:
    """Return what decides a request anew in the same world."""
    return lambda facts, loads: decide(world, facts, loads, stream=stream)


def _poorer(facts: Facts, answer: Refused | Downgrade) -> Facts:
    if isinstance(answer, Downgrade):
        spent = sorted(answer.budgets.difference(facts.downgraded))
        return replace(facts, downgraded=(*facts.downgraded, *spent))
    return within(facts, answer.left_nano)


def _exhausted(scope: Scope, left_nano: int, now_s: float) -> Refusal:
    left_nano = max(0, left_nano)
    told = (
        f"budget `{scope.budget}` ({scope.value}) has ${usd_text(left_nano).decode()} left, which "
        f"is not enough for this request; it is reset at {scope.ends}"
    )
    wait_s = datetime.fromisoformat(scope.ends).timestamp() - now_s
    headers = ((b"retry-after", b"%d" % max(1, math.ceil(wait_s))),)
    extra: Mapping[str, object] = {
        "scope": {"budget": scope.budget, "value": scope.value, "period": scope.period},
        "left_usd": left_nano / NANO,
        "reset": scope.ends,
    }
    return Refusal(402, told, "budget_exhausted", headers=headers, extra=dict(extra))


def _unavailable() -> Refusal:
    told = "the ledger can't be used now, and nothing is sent without it: try again"
    return Refusal(503, told, "ledger_unavailable", headers=((b"retry-after", b"1"),))


def _again(before: Before) -> Refusal:
    extra: dict[str, object] = {"request_id": before.request_id, "state": before.state}
    if not before.same_body:
        told = f"this idempotency key was used for another body, by {before.request_id}"
        return Refusal(422, told, "idempotency_key_reused", "idempotency-key", extra=extra)
    told = f"this request was made before: {before.request_id} is {before.state}"
    return Refusal(409, told, "already_requested", "idempotency-key", extra=extra)

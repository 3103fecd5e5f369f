"""Between a decision and its sending: the worst case is set aside in every budget, or nothing is
sent; afterwards what was used is charged.

Where a budget hasn't enough, the request is decided once more: within what is left, or, where the
budget downgrades, for the cheapest lane.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from router.ledger.fleet_time import FleetTime
from router.ledger.port import (
    Alert,
    Before,
    Downgrade,
    Expired,
    Ledger,
    LedgerUnavailable,
    Limit,
    Once,
    Refused,
    Reserved,
    Scope,
)
from router.owed import Owed, settled
from router.receipt import Json
from router.runtime import LOG
from router.teller import Teller
from router.world import World

ROUNDS: Final = 9  # of reserving: others may spend what was left in between

Decided = Callable[[Facts, Sequence[Load]], Decision]


@dataclass(frozen=True, slots=True)
class Held:
    """What was set aside for a request, and when (RFC 3339)."""

    reserved: Reserved
    at: str

    @property
    def most_nano(self) -> int | None:
        """Return the most that is charged; None: no hard budget counts the request."""
        hard = any(scope.hard_nano is not None for scope in self.reserved.scopes)
        return self.reserved.nano if hard else None

    def json(self) -> Json:
        """Return the receipt's `reservation`."""
        scopes = [
            {"budget": s.budget, "value": s.value, "period": s.period} for s in self.reserved.scopes
        ]
        return {"usd": self.reserved.nano / NANO, "scopes": scopes}


@dataclass(slots=True)
class Treasury:
    """`now` is the wall clock, in seconds since 1970. `alert` is told of thresholds, once each;
    `unsettled` counts requests whose lease must run out, or may: `frozen` is a router that does
    nothing between requests, so that what it owes is paid after a later request, or never.
    `follows`: the limits of budgets are put in force by somebody else (router.workers.limits).
    """

    ledger: Ledger
    now: Callable[[], float]
    alert: Callable[[Sequence[Alert]], None]
    unsettled: Callable[[], None]
    frozen: bool = False
    follows: bool = False
    _periods: Periods = field(default_factory=Periods)
    _owed: Owed = field(default_factory=Owed)
    _teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self._teller = Teller(remote=self.ledger.remote)

    def adopt(self, policy: Policy) -> None:
        """Put the policy's limits in force, before there is a loop. Raises LedgerUnavailable."""
        if self.follows:
            self.ledger.follow(limits_of(policy), policy.hash, self.now())
        else:
            self.ledger.adopt(limits_of(policy), policy.hash, self.now())

    async def publish(self, policy: Policy) -> None:
        """Put the policy's limits in force. Raises LedgerUnavailable."""
        await self._teller.do(lambda: self.adopt(policy))

    async def set_aside(
        self,
        request_id: str,
        world: World,
        decision: Decision,
        decided: Decided,
        once: Once | None = None,
    ) -> tuple[Decision, Held]:
        """Return the decision that may be sent, and what is set aside for it. Raises Refusal: 402
        with the budget, 503 if the ledger can't be used; 409 if another request has the
        idempotency key, 422 if that one had another body.
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
        taken, rounds = (request_id, world, scopes, now_s), ROUNDS
        while not isinstance(answer := await self._reserve(*taken, decision, once), Reserved):
            decision, rounds = decided(_poorer(decision.facts, answer), decision.loads), rounds - 1
            if not rounds or not decision.plan.attempts:
                raise _exhausted(answer.scope, answer.left_nano, now_s)
        return decision, Held(answer, decision.facts.at)

    async def hold(
        self, request_id: str, world: World, decision: Decision, nano: int, lasts_s: float
    ) -> Held | None:
        """Set `nano` aside for a call that is not decided anew; None: a budget hasn't as much.

        It is over `lasts_s` from now. Raises LedgerUnavailable.
        """
        now_s = self.now()
        scopes = scopes_of(world.policy.budgets, decision.facts, now_s, self._periods)
        worst = worst_entry(request_id, world, decision, nano, decision.facts.at)
        answer = await self._taken(worst, scopes, now_s, now_s + lasts_s + LEASE_S)
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

        def work() -> Sequence[Alert]:
            try:
                told = settled(self.ledger, reserved, entries, now_s)
            except LedgerUnavailable as exc:
                LOG.error("request %s could not be settled: %s", reserved.id, exc)
                if not self._owed.keep(reserved, entries) or self.frozen:
                    self.unsettled()  # its lease runs out, and it is charged in full then
                return ()
            return [*told, *self._paid(now_s)] if self.frozen else told

        self._teller.later(work, self._tell)

    async def abandon(self, request_id: str) -> bool:
        """Give back what a router that died set aside for a request; False: it was charged for what
        was used. Raises LedgerUnavailable.
        """
        now_s = self.now()
        return await self._teller.do(lambda: self.ledger.abandon(request_id, now_s)) != "settled"

    async def expire(self) -> int:
        """Charge what could not be charged before, and what nobody settled in time; return how many
        of these there were. Raises LedgerUnavailable.
        """
        now_s = self.now()

        def work() -> Expired:
            for told in self._owed.pay(self.ledger, now_s):
                alerts.extend(told)
            return self.ledger.expire(now_s)

        alerts: list[Alert] = []
        try:
            found = await self._teller.do(work)
        finally:  # what was paid before it failed has told its alerts, once
            self._tell(alerts)
        self._tell(found.alerts)
        return found.leases

    async def add_fleet_time(self, rows: Sequence[FleetTime]) -> None:
        """Write down what the fleets' time cost. Raises LedgerUnavailable."""
        await self._teller.do(lambda: self.ledger.add_fleet_time(rows))

    async def finished(self) -> None:
        """Return once every settlement is made, owed, or left to its lease, and its alerts told."""
        await self._teller.finished()

    async def aclose(self) -> None:
        """End what is under way and close the ledger; alerts may be told meanwhile."""
        await self._teller.aclose()
        self.ledger.close()

    def _paid(self, now_s: float) -> list[Alert]:
        """Pay what is owed, now that the ledger answers, as far as it goes on to."""
        alerts: list[Alert] = []
        with suppress(LedgerUnavailable):
            for told in self._owed.pay(self.ledger, now_s):
                alerts.extend(told)
        return alerts

    def _tell(self, alerts: Sequence[Alert]) -> None:
        if alerts:
            self.alert(alerts)

    async def _reserve(
        self,
        request_id: str,
        world: World,
        scopes: Sequence[Scope],
        now_s: float,
        decision: Decision,
        once: Once | None,
    ) -> Reserved | Refused | Downgrade:
        nano = worst_nano(decision) or 0
        worst = worst_entry(request_id, world, decision, nano, decision.facts.at)
        lease_ends_s = now_s + decision.plan.limits.deadline_ms / 1000 + LEASE_S
        downgraded = frozenset(decision.facts.downgraded)
        try:
            answer = await self._taken(worst, scopes, now_s, lease_ends_s, downgraded, once)
        except LedgerUnavailable as exc:
            LOG.error("nothing could be set aside for request %s: %s", request_id, exc)
            raise _unavailable() from None
        if isinstance(answer, Before):
            raise _again(answer)
        return answer

    async def _taken(
        self,
        worst: Entry,
        scopes: Sequence[Scope],
        now_s: float,
        lease_ends_s: float,
        downgraded: frozenset[str] = frozenset(),
        once: Once | None = None,
    ) -> Reserved | Refused | Downgrade | Before:
        """Reserve; what nobody waits for any more is given back. Raises LedgerUnavailable."""

        def work() -> Reserved | Refused | Downgrade | Before:
            return self.ledger.reserve(worst, scopes, now_s, lease_ends_s, downgraded, once)

        def undo(answer: Reserved | Refused | Downgrade | Before) -> None:
            if isinstance(answer, Reserved):
                self.ledger.release(answer, now_s)

        return await self._teller.do_soon(work, undo)


def limits_of(policy: Policy) -> dict[str, Limit]:
    """Return the limits of its budgets, by their ids."""
    return {b.id: Limit(b.nano, b.hard_nano, b.alert_at) for b in policy.budgets}


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


_STATES: Final[Mapping[str, str]] = {
    "open": "it is under way",
    "settled": "it was sent and charged, whatever came of it, and its answer is not kept",
    "expired": "its router ended before it was over, and it is charged in full",
}


def _again(before: Before) -> Refusal:
    extra: dict[str, object] = {"request_id": before.request_id, "state": before.state}
    if not before.same_body:
        told = f"this idempotency key was used for another body, by {before.request_id}"
        return Refusal(422, told, "idempotency_key_reused", "idempotency-key", extra=extra)
    told = f"this request was made before, as {before.request_id}: {_STATES[before.state]}"
    return Refusal(409, told, "already_requested", "idempotency-key", extra=extra)

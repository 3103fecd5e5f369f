"""Between a decision and its sending: the worst case is set aside in every budget, or it is not
sent; afterwards what was used is charged.

Where a budget hasn't enough, the request is decided once more: within what is left, or, where the
budget downgrades, for the cheapest lane.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from backends.cost import NANO
from backends.load import Load
from policies.model import Facts
from router.budgets import LEASE_S, Periods, least_hard_nano, scopes_of, within, worst_nano
from router.charge import usd_text
from router.decide import Decision, decide
from router.entries import Finished, Spent, entries_of
from router.errors import Refusal
from router.ledger.port import Alert, Downgrade, Ledger, LedgerUnavailable, Refused, Reserved, Scope
from router.receipt import Json
from router.runtime import LOG
from router.world import World

ROUNDS = 8  # of deciding anew: others may spend what was left in between


@dataclass(frozen=True, slots=True)
class Held:
    """What was set aside for a request, and when."""

    reserved: Reserved
    at: str

    def json(self) -> Json:
        scopes = [{"budget": s.budget, "value": s.value, "period": s.period} for s in self.scopes]
        return {"usd": self.reserved.nano / NANO, "scopes": scopes} if scopes else {}

    @property
    def scopes(self) -> Sequence[Scope]:
        return self.reserved.scopes


@dataclass(slots=True)
class Treasury:
    """`now` is the wall clock, in seconds since 1970; `alert` is told once of every threshold."""

    ledger: Ledger
    now: Callable[[], float]
    alert: Callable[[Sequence[Alert]], None]
    unsettled: Callable[[], None]  # counts what could not be settled
    _periods: Periods = field(default_factory=Periods)

    def set_aside(
        self,
        request_id: str,
        world: World,
        decision: Decision,
        decided: Callable[[Facts, Sequence[Load]], Decision],
    ) -> tuple[Decision, Held]:
        """Return the decision that may be sent, and what is set aside for it. Raises Refusal: 402
        with the budget, 503 if the ledger can't be used.
        """
        now_s = self.now()
        budgets = world.policy.budgets
        scopes = scopes_of(budgets, decision.facts, now_s, self._periods) if budgets else ()
        for _ in range(ROUNDS):
            nano = worst_nano(decision)
            least = least_hard_nano(scopes)
            if nano is None and least is not None:  # only what has a price may go on
                decision = self._anew(decision, within(decision.facts, least), decided, None)
                continue
            answer = self._reserve(request_id, scopes, nano or 0, now_s, decision)
            if isinstance(answer, Reserved):
                return decision, Held(answer, decision.facts.at)
            facts = decision.facts
            if isinstance(answer, Downgrade) and answer.scope.budget not in facts.downgraded:
                facts = replace(facts, downgraded=(*facts.downgraded, answer.scope.budget))
            else:
                facts = within(facts, answer.left_nano)
            decision = self._anew(decision, facts, decided, answer)
        raise _spent(answer.scope, answer.left_nano, now_s)

    def settle(
        self, held: Held, request_id: str, world: World, decision: Decision,
        spent: Sequence[Spent], receipt: bytes,
    ) -> None:  # fmt: skip
        """Charge what was used; nothing was sent, nothing is charged."""
        now_s = self.now()
        at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        try:
            if not spent:
                self.ledger.release(held.reserved)
                return
            finished = Finished(
                request_id, world, decision, spent, at, held.at, held.reserved.nano, receipt
            )
            alerts = self.ledger.settle(held.reserved, entries_of(finished), now_s)
        except LedgerUnavailable as exc:  # its lease runs out, and it is charged in full then
            LOG.error("request %s could not be settled: %s", request_id, exc)
            self.unsettled()
            return
        if alerts:
            self.alert(alerts)

    def _reserve(
        self, request_id: str, scopes: Sequence[Scope], nano: int, now_s: float, decision: Decision
    ) -> Reserved | Refused | Downgrade:
        lease_ends_s = now_s + decision.plan.limits.deadline_ms / 1000 + LEASE_S
        downgraded = frozenset(decision.facts.downgraded)
        try:
            return self.ledger.reserve(
                request_id, scopes, nano, now_s, lease_ends_s, downgraded=downgraded
            )
        except LedgerUnavailable:
            told = "the ledger can't be used now, and nothing is sent without it: try again"
            raise Refusal(
                503, told, "ledger_unavailable", headers=((b"retry-after", b"1"),)
            ) from None

    def _anew(
        self,
        decision: Decision,
        facts: Facts,
        decided: Callable[[Facts, Sequence[Load]], Decision],
        answer: Refused | Downgrade | None,
    ) -> Decision:
        """Decide once more; raise 402 if nobody may answer so."""
        found = decided(facts, decision.loads)
        if found.plan.attempts:
            return found
        if answer is None:
            told = "no fleet has a known price for this request, which its budget takes"
            raise Refusal(402, told, "budget_exhausted")
        raise _spent(answer.scope, answer.left_nano, self.now())


def _spent(scope: Scope, left_nano: int, now_s: float) -> Refusal:
    left = usd_text(max(0, left_nano)).decode()
    told = (
        f"budget `{scope.budget}` ({scope.value}) has ${left} left, which is not enough for this "
        f"request; it is reset at {scope.ends}"
    )
    ends_s = datetime.fromisoformat(scope.ends).timestamp()
    headers = ((b"retry-after", b"%d" % max(1, math.ceil(ends_s - now_s))),)
    extra: dict[str, object] = {
        "scope": {"budget": scope.budget, "value": scope.value, "period": scope.period},
        "left_usd": max(0, left_nano) / NANO,
        "reset": scope.ends,
    }
    return Refusal(402, told, "budget_exhausted", headers=headers, extra=extra)


def decided_by(world: World, *, stream: bool) -> Callable[[Facts, Sequence[Load]], Decision]:
    """Return what decides a request anew in the same world."""
    return lambda facts, loads: decide(world, facts, loads, stream=stream)

"""The budgets of a policy while a replay goes on: the ledger's rules, kept in memory.

Who is refused or downgraded is decided by `router.ledger.standing.judged`, as both stores do; what
is set aside is `router.budgets.worst_nano`, as the treasury does. A test holds it against the real
SqliteLedger (tests/unit/replay/test_replay_budgets.py).
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from policies.match import counting
from policies.model import Budget, Facts
from router.budgets import Periods, least_hard_nano, scopes_of, within, worst_nano
from router.decide import Decision
from router.ledger.port import Downgrade, Limit, Refused, Scope
from router.ledger.standing import judged

ROUNDS: Final = 9  # as of router.treasury, which a pure module can't import
Decided = Callable[[Facts], Decision]
Spent = dict[tuple[str, str, str], tuple[int, float | None]]


class Terms:
    """What a budget allows each of its values in a period."""

    __slots__ = ("floor", "hard", "nano")

    def __init__(self, budget: Budget) -> None:
        limit = Limit(budget.nano, budget.hard_nano)
        self.nano, self.floor, self.hard = limit.nano, limit.floor, limit.hard_nano is not None


class Account:
    """One scope: `avail` + `held` + `spent` = its limit. `short_s`: when a request was first
    refused or downgraded for it, in seconds since the trace's start.

    A million tenants have a million of these: what they share stands in `terms`.
    """

    __slots__ = ("held", "short_s", "spent", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms, self.held, self.spent = terms, 0, 0
        self.short_s: float | None = None

    @property
    def avail(self) -> int:
        return self.terms.nano - self.held - self.spent


class Books:
    """`start_s`: of the trace, since 1970; `now_s` everywhere: since then."""

    def __init__(self, budgets: Sequence[Budget], kinds: Sequence[Facts], start_s: float) -> None:
        self._budgets, self._kinds, self._start_s = budgets, kinds, start_s
        self._periods = Periods()
        self._terms = {budget.id: Terms(budget) for budget in budgets}
        # Of each budget and period, by value.
        self._accounts: dict[tuple[str, str], dict[str, Account]] = {}
        # Of each kind: its accounts, and until when they are.
        self._of: list[tuple[Account, ...]] = [()] * len(kinds)
        self._until_s = array("d", [-math.inf]) * len(kinds)
        self._held: dict[int, tuple[int, tuple[Account, ...]]] = {}

    def accounts(self, kind: int, now_s: float) -> tuple[Account, ...]:
        """Return the scopes that requests of this kind count in now."""
        if now_s < self._until_s[kind]:
            return self._of[kind]
        wall_s = self._start_s + now_s
        running = {budget.id: self._periods.at(budget, wall_s) for budget in self._budgets}
        accounts = tuple(
            self._account(budget.id, running[budget.id].name, value)
            for budget, value in counting(self._budgets, self._kinds[kind])
        )
        self._of[kind] = accounts
        ends_s = min((each.ends_s for each in running.values()), default=math.inf)
        self._until_s[kind] = ends_s - self._start_s
        return accounts

    def take(self, i: int, accounts: tuple[Account, ...], nano: int) -> bool:
        """Set aside for a request what all its scopes have, or nothing."""
        for account in accounts:
            if account.avail - nano < account.terms.floor:
                return False
        for account in accounts:
            account.held += nano
        self._held[i] = nano, accounts
        return True

    def set_aside(
        self, i: int, kind: int, now_s: float, decision: Decision, decided: Decided
    ) -> Decision | None:
        """Return the decision that is paid for (router.treasury.Treasury.set_aside); None: there is
        not enough for any.
        """
        accounts = self.accounts(kind, now_s)
        facts, wall_s = self._kinds[kind], self._start_s + now_s
        scopes = scopes_of(self._budgets, facts, wall_s, self._periods)
        least = least_hard_nano(scopes)
        if worst_nano(decision) is None and least is not None:
            decision = decided(within(decision.facts, least))
        answer: Refused | Downgrade | None = None
        for _ in range(ROUNDS):
            if not decision.plan.attempts:
                break
            nano = worst_nano(decision) or 0
            standing = [(account.avail, account.terms.floor) for account in accounts]
            answer = judged(scopes, standing, nano, frozenset(decision.facts.downgraded))
            if answer is None:
                for account in accounts:
                    account.held += nano
                self._held[i] = nano, accounts
                return decision
            if isinstance(answer, Downgrade):
                self._falls_short(answer.scope, now_s)
            decision = decided(_poorer(decision.facts, answer))
        if answer is not None:
            self._falls_short(answer.scope, now_s)
        return None

    def settle(self, i: int, nano: int) -> int:
        """Charge what was used in the place of what was set aside; return what is charged."""
        held = self._held.pop(i, None)
        if held is None:
            return nano
        reserved, accounts = held
        if any(account.terms.hard for account in accounts):
            nano = min(nano, reserved)
        for account in accounts:
            account.held -= reserved
            account.spent += nano
        return nano

    def closed(self) -> Spent:
        """Return of each scope what was spent, and when it first had not enough; and forget all of
        it, so that a million accounts don't stand twice.
        """
        self._of.clear()
        found: Spent = {}
        for (budget, running), accounts in self._accounts.items():
            while accounts:
                value, account = accounts.popitem()
                found[budget, value, running] = account.spent, account.short_s
        return found

    def _falls_short(self, scope: Scope, now_s: float) -> None:
        """Note when a scope first had a request refused or downgraded."""
        account = self._accounts[scope.budget, scope.period][scope.value]
        if account.short_s is None:
            account.short_s = now_s

    def _account(self, budget: str, running: str, value: str) -> Account:
        accounts = self._accounts.setdefault((budget, running), {})
        found = accounts.get(value)
        if found is None:
            found = accounts[value] = Account(self._terms[budget])
        return found


def _poorer(facts: Facts, answer: Refused | Downgrade) -> Facts:
    """As the treasury asks anew: for the cheapest lane, or within what is left."""
    if isinstance(answer, Downgrade):
        spent = sorted(answer.budgets.difference(facts.downgraded))
        return replace(facts, downgraded=(*facts.downgraded, *spent))
    return within(facts, answer.left_nano)

"""Budgets that begin to bind, or cease to, under the new policy."""

from dataclasses import dataclass

from policies.model import Policy
from router.replay.outcome import Replayed
from router.replay.summary import NANO


@dataclass(frozen=True, slots=True)
class Bound:
    """One budget for one value and period. `was_s`, `now_s`: when it first refused or downgraded,
    since the trace's start; None: never. `does`: what happens when it is spent.
    """

    budget: str
    value: str
    period: str
    does: str
    usd_was: float
    usd_now: float
    was_s: float | None
    now_s: float | None

    @property
    def breaks(self) -> bool:
        return self.was_s is None and self.now_s is not None

    @property
    def mended(self) -> bool:
        return self.was_s is not None and self.now_s is None


def bounds(old_policy: Policy, new_policy: Policy, old: Replayed, new: Replayed) -> list[Bound]:
    """Return the scopes that bind under one of the two, those that break first."""
    does = {b.id: b.when_spent for b in (*old_policy.budgets, *new_policy.budgets)}
    found = []
    for scope in sorted(old.budgets.keys() | new.budgets.keys()):
        was, was_s = old.budgets.get(scope, (0, None))
        now, now_s = new.budgets.get(scope, (0, None))
        if was_s is not None or now_s is not None:
            said = does.get(scope[0], "unknown")
            found.append(Bound(*scope, said, was / NANO, now / NANO, was_s, now_s))
    return sorted(found, key=lambda bound: (not bound.breaks, bound.mended))

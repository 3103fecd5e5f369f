"""What a trace doesn't show of budgets: those it would break in time, and those it never met.

A trace of an hour spends little of a month's budget, and breaks none.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from policies.model import Per, Policy
from router.replay.outcome import Replayed
from router.replay.summary import NANO

PERIOD_S: Final[Mapping[Per, int]] = MappingProxyType(
    {"hour": 3600, "day": 86_400, "week": 604_800, "month": 2_592_000}  # a month of 30 days
)


def foreseen(policy: Policy, run: Replayed, seconds: float) -> dict[tuple[str, str], str]:
    """Return the scopes (budget, value) that would be spent before their period ends, if all of it
    were as these `seconds` are, each with the sentence that says so.
    """
    spent = Counter[tuple[str, str]]()
    for (name, value, _), (nano, _) in run.budgets.items():
        spent[name, value] += nano
    found = {}
    for budget in policy.budgets:
        period_s = PERIOD_S[budget.per]
        if budget.when_spent == "alert" or seconds >= period_s:
            continue
        for (name, value), nano in sorted(spent.items()):
            usd = nano / NANO * period_s / max(seconds, 1.0)
            if name == budget.id and usd > budget.usd:
                found[name, value] = (
                    f"budget `{name}` ({value}): ${usd:,.2f} a {budget.per} at this trace's rate, "
                    f"${budget.usd:,.2f} allowed: the trace is too short to break it"
                )
    return found


def unmet(policy: Policy, run: Replayed) -> Iterator[str]:
    """Yield a sentence for each budget in which no request of the trace counts."""
    met = {name for name, _, _ in run.budgets}
    for budget in policy.budgets:
        if budget.id not in met:
            where = f"budget `{budget.id}` of policy `{policy.name}`"
            yield f"no request of the trace counts in {where}"

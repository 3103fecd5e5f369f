"""How budgets are used up over a replay: what each has spent by when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.match import value_of
from policies.model import Budget, Policy
from policies.periods import Period, period
from router.replay.outcome import Replayed
from router.replay.summary import NANO
from router.traces.trace import Trace

Line = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Burn:
    """One budget and value in one period. `line`: seconds since the trace's start, USD by then."""

    budget: Budget
    value: str
    period: str
    line: Sequence[tuple[float, float]]

    @property
    def usd(self) -> float:
        return self.line[-1][1]


def burns(policy: Policy, trace: Trace, run: Replayed, step_s: float) -> list[Burn]:
    """Return every scope that something was charged to, the fullest first. Charges count at the
    request's arrival, which is when a budget sets them aside.
    """
    found = [burn for budget in policy.budgets for burn in _burns(budget, trace, run, step_s)]
    return sorted(found, key=lambda burn: -burn.usd / (burn.budget.usd or 1))


def _burns(budget: Budget, trace: Trace, run: Replayed, step_s: float) -> list[Burn]:
    values = [value_of(budget.match, kind) for kind in trace.kinds]
    lines: dict[tuple[str, str], Line] = {}
    now = Period("", 0.0, 0.0)
    for at_s, kind, nano in zip(trace.at_s, trace.kind, run.usd_nano, strict=True):
        value = values[kind]
        if value is None or nano <= 0:
            continue
        if not now.begins_s <= trace.start_s + at_s < now.ends_s:
            now = period(budget.per, budget.tz, trace.start_s + at_s)
        line = lines.setdefault((value, now.name), [(at_s, 0.0)])
        _add(line, at_s, nano / NANO, step_s)
    return [Burn(budget, *scope, line) for scope, line in lines.items()]


def _add(line: Line, at_s: float, usd: float, step_s: float) -> None:
    """Charge: in the line's last point, or in a new one if a step is over."""
    began_s, so_far = line[-1]
    if len(line) > 1 and at_s - line[-2][0] < step_s:
        line[-1] = (at_s, so_far + usd)
    else:
        line.append((max(at_s, began_s), so_far + usd))

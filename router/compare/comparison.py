"""Two policies over one trace: what changes in money, time and ways."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.model import Policy
from router.compare import bills
from router.compare.bound import Bound, bounds
from router.compare.figures import Figures, figures
from router.compare.foreseen import foreseen, unmet
from router.compare.interval import Spread, settled, spread
from router.compare.moved import Moved, moves
from router.replay.ending import added_usd, money_until, until_s
from router.replay.outcome import Replayed
from router.replay.summary import met, slos
from router.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Side:
    """A policy and its run."""

    policy: Policy
    run: Replayed


@dataclass(frozen=True, slots=True)
class Seeded:
    """The same two policies under another draw of what the trace doesn't say. USD: the bills."""

    seed: int
    usd_old: float | None
    usd_new: float | None
    spread: Spread | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`spread`: how sure the difference of the bills is, over all seeds; None: the trace is too
    short, or a price unknown. `added_usd`: by how much the bill of the run that ended first was
    made longer, old and new. `moved`: in the order of how many. `foreseen`: budgets that the new
    policy would break in a longer trace, and the old one would not.
    """

    trace: str
    requests: int
    seconds: float
    old: Figures
    new: Figures
    spread: Spread | None
    seeded: tuple[Seeded, ...]
    moved: tuple[Moved, ...]
    bounds: tuple[Bound, ...]
    added_usd: tuple[float, float]
    assumptions: tuple[str, ...]
    foreseen: tuple[str, ...] = ()

    @property
    def usd_change(self) -> float | None:
        old, new = self.old.money.total, self.new.money.total
        return None if old is None or new is None else settled(new - old)

    @property
    def same(self) -> bool:
        """Whether not one figure differs."""
        return not self.moved and replace(self.new, policy="", hash="") == replace(
            self.old, policy="", hash=""
        )


def compare(trace: Trace, old: Side, new: Side, *, seed: int, look_s: float) -> Comparison:
    """Return what changes from `old` to `new`, both over `trace` with the same seed."""
    end_s = until_s(old.run, new.run)
    added = [added_usd(side.run, end_s, look_s) for side in (old, new)]
    kept_old = slos(old.policy, old.run)
    before, after = (
        replace(
            figures(side.policy, trace, side.run, met(side.run, kept_old)),
            money=money_until(side.run, end_s, look_s),
        )
        for side in (old, new)
    )
    found = _spread(trace, old.run, new.run, seed, look_s)
    would, would_now = (foreseen(side.policy, side.run, trace.seconds) for side in (old, new))
    coming = tuple(said for scope, said in would_now.items() if scope not in would)
    told = (*trace.warnings, *coming, *unmet(new.policy, new.run))
    warned = [f"warning: {warning}" for warning in told]
    assumed = dict.fromkeys((*warned, *trace.assumptions, *old.run.assumptions))
    assumed |= dict.fromkeys(new.run.assumptions)
    return Comparison(
        trace.name,
        len(trace),
        end_s,
        before,
        after,
        found,
        (Seeded(seed, before.money.total, after.money.total, found),),
        moves(trace, old.run, new.run),
        tuple(bounds(old.policy, new.policy, old.run, new.run)),
        (added[0], added[1]),
        tuple(assumed),
        coming,
    )


def over_seeds(first: Comparison, others: Sequence[Comparison]) -> Comparison:
    """Return the first with its interval made as wide as all of them together."""
    seeded = (*first.seeded, *(one for other in others for one in other.seeded))
    rest = [one.spread for one in seeded[1:] if one.spread is not None]
    whole = first.spread is not None and len(rest) == len(others)
    wide = first.spread.around(rest) if whole and first.spread is not None else None
    return replace(first, spread=wide, seeded=seeded)


def _spread(trace: Trace, old: Replayed, new: Replayed, seed: int, look_s: float) -> Spread | None:
    end_s = until_s(old, new)
    was, now = (bills.series(run, trace, end_s, look_s) for run in (old, new))
    return None if was is None or now is None else spread(was, now, seed)

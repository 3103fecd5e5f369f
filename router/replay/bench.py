"""Several policies over one trace, each beside its rivals and over the simple shares. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from router.replay.baseline import Alone, Baseline, Run
from router.replay.curve import SHARES, Point, Traces, curve, point_json
from router.replay.ending import money_until, until_s
from router.replay.outcome import Replayed, Settings
from router.replay.rivals import Course, Rival, rivals
from router.replay.summary import Summary, summary
from router.replay.summary_json import ms, quantiles_json, share, summary_json, usd
from router.replay.whom import whom
from router.traces.trace import Trace
from router.world import World

LOOK_S: Final = Settings().look_s
Tell = Callable[[str], None]
"""Told what is done next, for who waits."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be made beside the replay. `traces` None: the trace tells its simple share.
    `look_s`: of the replay's settings.
    """

    rivals: bool = True
    traces: Traces | None = None
    seed: int = 0
    look_s: float = LOOK_S


@dataclass(frozen=True, slots=True)
class Found:
    """One policy: what it did, what that comes to, and what it is held against.

    The summary's bill ends with the policy's own last answer. `look_s`: of the replay's settings.
    """

    at: World
    run: Replayed
    summary: Summary
    baseline: Baseline
    rivals: tuple[Rival, ...]
    curve: tuple[Point, ...]
    look_s: float


def bench(
    worlds: Sequence[World], trace: Trace, run: Run, asked: Asked, tell: Tell
) -> tuple[Found, ...]:
    """Replay each world's policy, in their order."""
    beside = Alone(run, asked.look_s)
    return tuple(_found(at, trace, run, beside, asked, tell) for at in worlds)


def _found(at: World, trace: Trace, run: Run, beside: Alone, asked: Asked, tell: Tell) -> Found:
    name = at.policy.name
    tell(f"{name}: {len(trace):,} requests")
    replayed = run(at, trace)
    found = summary(at, trace, replayed)
    tell(f"{name}: how many {at.baseline.fleet.id} alone do as well")
    baseline = beside.of(at, trace, replayed, found.attained)
    others: list[Rival] = []
    if asked.rivals:
        tell(f"{name}: its rivals")
        course = Course(at, trace, replayed, run, asked.seed, asked.look_s)
        others = rivals(course, baseline)
    points: list[Point] = []
    if asked.traces is not None:
        for point in curve(at, asked.traces, run, beside):
            points.append(point)
            tell(f"{name}: simple share {point.simple_share:g} ({len(points)} of {len(SHARES)})")
    return Found(at, replayed, found, baseline, tuple(others), tuple(points), asked.look_s)


def found_json(found: Found) -> dict[str, Any]:
    return {
        **summary_json(found.summary, found.baseline),
        "rivals": [_rival_json(rival) for rival in found.rivals],
        "saving_by_simple_share": [point_json(point) for point in found.curve],
    }


def _rival_json(rival: Rival) -> dict[str, Any]:
    of = rival.answers
    return {
        "rival": rival.name,
        "about": rival.about,
        "served": rival.served,
        "small_served": rival.small_served,
        "usd_total": usd(rival.money.total),
        "usd_policy": usd(rival.usd_policy),
        "usd_idle": usd(rival.money.idle),
        "slo_attainment": share(rival.attained),
        "ttft_ms": quantiles_json(rival.ttft_ms),
        "e2e_ms": quantiles_json(rival.e2e_ms),
        "quality": share(of.quality),
        "acceptable_share": share(of.acceptable),
        "small_share": share(of.small),
    }


def totals(*found: Found) -> tuple[float | None, ...]:
    """Return their whole bills until the last of them ends."""
    end_s = until_s(*(one.run for one in found))
    return tuple(money_until(one.run, end_s, one.look_s).total for one in found)


def delta_json(new: Found, old: Found) -> dict[str, Any]:
    """Return what `new` changes against `old` over the same trace; positive: `new` has more.

    Both bills run until the later of the two ends, as in `policy diff`.
    """
    ours, theirs = new.summary, old.summary
    end_s = until_s(new.run, old.run)
    now, was = (money_until(one.run, end_s, one.look_s) for one in (new, old))
    grown = _less(now.total, was.total)
    return {
        "against": {"name": theirs.policy, "hash": theirs.hash},
        "usd_total": usd(grown),
        "usd_total_share": None if grown is None or not was.total else share(grown / was.total),
        "usd_idle": usd(_less(now.idle, was.idle)),
        "slo_attainment": share(ours.attained - theirs.attained),
        "ttft_ms": {
            "p50": ms(_less(ours.ttft_ms.p50, theirs.ttft_ms.p50)),
            "p95": ms(_less(ours.ttft_ms.p95, theirs.ttft_ms.p95)),
        },
        "e2e_ms": {
            "p50": ms(_less(ours.e2e_ms.p50, theirs.e2e_ms.p50)),
            "p95": ms(_less(ours.e2e_ms.p95, theirs.e2e_ms.p95)),
        },
        "quality": share(_less(ours.answers.quality, theirs.answers.quality)),
        "served": ours.served - theirs.served,
        "moved": moved(new.run, old.run),
    }


def moved(new: Replayed, old: Replayed) -> int:
    """Return how many requests another fleet serves, or nobody any more, or somebody now."""
    return sum(a != b for a, b in zip(whom(new), whom(old), strict=True))


def _less(new: float | None, old: float | None) -> float | None:
    return None if new is None or old is None else new - old

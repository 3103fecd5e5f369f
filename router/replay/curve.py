"""The saving over the simple share, where a trace doesn't tell how hard its requests are. Pure.

One figure would only repeat what was assumed. So the trace is made anew for every share from 0 to
1, from the same draws: a request that is simple at one share is simple at every larger one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from router.replay.baseline import Alone, Run
from router.replay.summary import summary
from router.replay.summary_json import saving, share, usd
from router.traces.trace import Trace
from router.world import World

SHARES: Final = tuple(step / 10 for step in range(11))
Traces = Callable[[float], Trace]
"""Simple share -> the trace with that share."""


@dataclass(frozen=True, slots=True)
class Point:
    """What the policy comes to at one simple share. `replicas`: of the baseline it is held to."""

    simple_share: float
    usd_total: float | None
    usd_baseline: float | None
    saving: float | None
    attained: float
    small_share: float | None
    replicas: int


def curve(at: World, traces: Traces, run: Run, beside: Alone) -> Iterator[Point]:
    """Yield the points from share 0 to 1."""
    for simple_share in SHARES:
        yield _point(at, traces(simple_share), run, beside, simple_share)


def _point(at: World, trace: Trace, run: Run, beside: Alone, simple_share: float) -> Point:
    replayed = run(at, trace)
    found = summary(at, trace, replayed)
    baseline = beside.of(at, trace, replayed, found.attained)
    return Point(
        simple_share,
        found.money.total,
        baseline.money.total,
        saving(baseline),
        found.attained,
        found.answers.small,
        baseline.replicas,
    )


def point_json(point: Point) -> dict[str, Any]:
    return {
        "simple_share": point.simple_share,
        "usd_total": usd(point.usd_total),
        "usd_baseline": usd(point.usd_baseline),
        "baseline_replicas": point.replicas,
        "saving": share(point.saving),
        "slo_attainment": share(point.attained),
        "small_share": share(point.small_share),
    }

"""How good the answers of a replay would have been. Pure.

A large model's answer counts as acceptable; a small one's is what the trace says of it.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from backends.quality import quality, rests_on_p_small
from router.replay.outcome import SERVED, Replayed
from router.traces.trace import UNKNOWN, Trace
from router.world import World

ANY_TASK = "default"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was served by whom. `quality`: the mean predicted one, 1.0 is the baseline's.

    `acceptable`: the share of the served whose answer would do; None: of `unknown` small models'
    answers nobody knows. `small`: the share that a small model served. None: nobody was served.
    """

    quality: float | None
    acceptable: float | None
    unknown: int
    small: float | None


def small_fleets(world: World) -> frozenset[str]:
    """Return the fleets whose answers may not do: a request's p_small or a curve tells."""
    base = world.baseline.fleet

    def small(table_of: int) -> bool:
        table, in_lane = world.grades[table_of]
        by_curves = table is not None and table is not base.model.quality and table.by == "curves"
        of_p_small = rests_on_p_small(table, base.model.quality, ANY_TASK, in_baseline_lane=in_lane)
        return by_curves or of_p_small

    return frozenset(on.fleet.id for on, _, grade in world.rows if small(grade))


def answers(world: World, trace: Trace, run: Replayed) -> Answers:
    """Return how good the served requests' answers are, of `world`'s point of view.

    The run may be that of another world of the same fleets: a rival's.
    """
    served = array("l", (i for i, outcome in enumerate(run.outcome) if outcome == SERVED))
    if not served:
        return Answers(None, None, 0, None)
    small = small_fleets(world)
    is_small = [fleet.fleet in small for fleet in run.fleets]
    of_small = [trace.acceptable[i] for i in served if is_small[run.fleet[i]]]
    unknown = of_small.count(UNKNOWN)
    bad = of_small.count(0)
    return Answers(
        _mean_quality(world, trace, run, served),
        None if unknown else (len(served) - bad) / len(served),
        unknown,
        len(of_small) / len(served),
    )


def _mean_quality(world: World, trace: Trace, run: Replayed, served: Sequence[int]) -> float:
    base = world.baseline.fleet
    grade_of = {on.fleet.id: world.grades[grade] for on, _, grade in world.rows}
    grades = [grade_of[fleet.fleet] for fleet in run.fleets]
    total = 0.0
    for i in served:
        table, in_lane = grades[run.fleet[i]]
        total += quality(
            table,
            base.model.quality,
            trace.kinds[trace.kind[i]].task,
            trace.complexity[i],
            trace.p_small[i],
            in_baseline_lane=in_lane,
        )[0]
    return total / len(served)

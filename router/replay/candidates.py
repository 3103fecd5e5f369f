"""The fleets that a rule has for a kind of request, and what a policy reads of each of them."""

from collections.abc import Sequence
from typing import NamedTuple

from backends.fleet_model import Prediction
from backends.quality import Curve, QualityTable, quality, rests_on_p_small
from policies.model import Facts, Rule
from router.replay.fleet import Fleet
from router.world import World

_new = tuple.__new__  # what a NamedTuple does, without its wrapper
Asked = tuple[int, int, float, float]
"""Of a request: tokens in, expected, complexity, p_small."""
Worth = float | Curve | None
"""A candidate's quality: a number, by complexity, or None: the request's p_small."""


class Candidate(NamedTuple):
    """A fleet within the hard limits that a kind of request meets or breaks whatever it is sent."""

    fleet: Fleet
    context_tokens: int
    worth: Worth


class Figures(NamedTuple):
    """What an objective reads of a candidate (policies.evaluate.OBJECTIVES)."""

    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    itl_p50_ms: float | None
    e2e_p50_ms: float | None
    e2e_p95_ms: float | None
    usd_marginal: float | None
    usd_average: float | None
    usd_router: float
    quality: float


def candidates(
    world: World, rule: Rule, kind: Facts, fleets: Sequence[Fleet]
) -> list[list[Candidate]]:
    """Return of each set of `use` its candidates, in the catalogue's order."""
    groups: list[list[Candidate]] = [[] for _ in rule.use]
    for (_, known, grade), fleet in zip(world.rows, fleets, strict=True):
        name, model, lane, region, abilities, context_tokens = known
        group = next((i for i, use in enumerate(rule.use) if lane in use or name in use), None)
        if (
            group is None
            or (kind.lanes is not None and lane not in kind.lanes)
            or (kind.models is not None and model not in kind.models)
            or not all(need in abilities for need in kind.needs)
            or (rule.residency is not None and region not in rule.residency)
        ):
            continue
        worth = _worth(world, kind, world.grades[grade])
        groups[group].append(Candidate(fleet, context_tokens, worth))
    return groups


def quality_of(worth: Worth, complexity: float, p_small: float) -> float:
    """Return a candidate's quality for one request."""
    if worth is None:
        return p_small
    return worth if isinstance(worth, float) else worth.at(complexity)


def figures(seen: Prediction, usd_router: float, worth: float) -> Figures:
    return _new(Figures, seen[:7] + (usd_router, worth))  # noqa: RUF005  (a third of the time)


def _worth(world: World, kind: Facts, grade: tuple[QualityTable | None, bool]) -> Worth:
    table, in_lane = grade
    baseline = world.baseline.fleet.model.quality
    if rests_on_p_small(table, baseline, kind.task, in_baseline_lane=in_lane):
        return None
    if table is not None and table is not baseline and table.by == "curves":
        return table.curves.get(kind.task) or table.curves["default"]
    found, _ = quality(table, baseline, kind.task, 0.0, 0.0, in_baseline_lane=in_lane)
    return float(found)

"""What decisions are made from: policy and fleets as one immutable value, replaced as a whole."""

from dataclasses import dataclass

from backends.catalogue import Catalogue, Fleet
from backends.fleet_model import FleetModel, prepare
from backends.quality import QualityTable
from policies.model import Policy

Grade = tuple[QualityTable | None, bool]
"""What decides a fleet's quality: its model's table, and whether it is in the baseline's lane."""
Known = tuple[str, str, str, str, frozenset[str], int]
"""What a candidate begins with: fleet, model, lane, region, abilities, context_tokens."""


@dataclass(frozen=True, slots=True)
class World:
    """A policy and the fleets it is applied to, with the constants of every fleet worked out."""

    policy: Policy
    catalogue: Catalogue
    fleets: tuple[FleetModel, ...]
    baseline: FleetModel
    grades: tuple[Grade, ...]  # every different one of the fleets
    rows: tuple[tuple[FleetModel, Known, int], ...]  # fleets, each with the place of its grade


def world(policy: Policy, catalogue: Catalogue) -> World:
    """Bring policy and catalogue together; the policy was parsed against this catalogue's names."""
    fleets = tuple(prepare(fleet) for fleet in catalogue.fleets)
    _, baseline_id = policy.baseline
    baseline = next(model for model in fleets if model.fleet.id == baseline_id)
    grade_of = [(on.fleet.model.quality, on.fleet.lane == baseline.fleet.lane) for on in fleets]
    grades: list[Grade] = []
    for grade in grade_of:
        if grade not in grades:
            grades.append(grade)
    rows = tuple(
        (on, _known(on.fleet), grades.index(grade))
        for on, grade in zip(fleets, grade_of, strict=True)
    )
    return World(policy, catalogue, fleets, baseline, tuple(grades), rows)


def _known(fleet: Fleet) -> Known:
    model = fleet.model
    return fleet.id, model.id, fleet.lane, fleet.region, model.abilities, fleet.context_tokens

"""What decisions are made from: policy and fleets as one immutable value, replaced as a whole."""

from dataclasses import dataclass

from backends.catalogue import Catalogue
from backends.fleet_model import FleetModel, prepare
from policies.model import Policy


@dataclass(frozen=True, slots=True)
class World:
    """A policy and the fleets it is applied to, with the constants of every fleet worked out."""

    policy: Policy
    catalogue: Catalogue
    fleets: tuple[FleetModel, ...]
    baseline: FleetModel


def world(policy: Policy, catalogue: Catalogue) -> World:
    """Bring policy and catalogue together; the policy was parsed against this catalogue's names."""
    fleets = tuple(prepare(fleet) for fleet in catalogue.fleets)
    _, baseline_id = policy.baseline
    baseline = next(model for model in fleets if model.fleet.id == baseline_id)
    return World(policy, catalogue, fleets, baseline)

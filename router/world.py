"""What decisions are made from: policy and fleets as one immutable value, replaced as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from backends.catalogue import Catalogue, Fleet, ready
from backends.commitments import Usage, cover
from backends.fleet_model import FleetModel, prepare
from backends.quality import QualityTable
from policies.model import Policy

Grade = tuple[QualityTable | None, bool]
"""What decides a fleet's quality: its model's table, and whether it is in the baseline's lane."""
Known = tuple[str, str, str, str, frozenset[str], int]
"""What a candidate begins with: fleet, model, lane, region, abilities, context_tokens."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The canary of a policy: `policy` decides a share of its requests. `key` names these two,
    `number` is the canary's version in a store. `stopped`: why it no longer decides any.
    """

    policy: Policy
    key: str
    number: int | None = None
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """A policy and the fleets it is applied to, with the constants of every fleet worked out.

    `trial`: its canary. `canary_of`: where it is itself the one, name and hash of the policy whose
    canary it is. `candidate`: the world of a policy that decides too, and nothing is sent for that.
    `version`: the policy's number in the store that it comes from.
    """

    policy: Policy
    catalogue: Catalogue
    fleets: tuple[FleetModel, ...]
    baseline: FleetModel
    grades: tuple[Grade, ...]  # every different one of the fleets
    rows: tuple[tuple[FleetModel, Known, int], ...]  # fleets, each with the place of its grade
    trial: Trial | None = None
    canary_of: tuple[str, str] | None = None
    candidate: "World | None" = None
    version: int | None = None

    @property
    def hash_and_version(self) -> str:
        """Return how messages tell which policy of its name it is."""
        number = "" if self.version is None else f", version {self.version}"
        return f"{self.policy.hash}{number}"

    @property
    def canary(self) -> "World | None":
        """Return the world of its canary, which differs by its policy alone: it has the same
        baseline.
        """
        if self.trial is None or self.trial.stopped is not None:
            return None
        of = self.policy.name, self.policy.hash
        return replace(
            self,
            policy=self.trial.policy,
            trial=None,
            canary_of=of,
            candidate=None,
            version=self.trial.number,
        )


def world(policy: Policy, catalogue: Catalogue) -> World:
    """Bring policy and catalogue together; the policy was parsed against this catalogue's names."""
    fleets = fleet_models(catalogue)
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


def fleet_models(catalogue: Catalogue) -> tuple[FleetModel, ...]:
    """Return the catalogue's fleets with their constants, savings plans applied."""
    plans = _plans(catalogue)
    return tuple(prepare(fleet, *plans[fleet.id]) for fleet in catalogue.fleets)


def _plans(catalogue: Catalogue) -> Mapping[str, tuple[float, float | None]]:
    """Return the replicas of each fleet that savings plans cover, and their price there."""
    usages = []
    prices: dict[str, float | None] = {fleet.id: None for fleet in catalogue.fleets}
    for fleet in catalogue.fleets:
        plan = catalogue.price_book.find(fleet.instance, fleet.region, "savings_plan")
        listed = fleet.tariff.on_demand()
        if plan is None or listed is None:
            continue
        prices[fleet.id] = plan.usd_per_hour
        running = [n for t, n in fleet.tariff.filled(ready(fleet)) if t.option == "on_demand"]
        share = fleet.host_share
        usages.append(
            Usage(
                fleet.id,
                fleet.instance,
                fleet.region,
                sum(running) * share,
                listed,
                plan.usd_per_hour,
            )
        )
    covered = cover(usages, catalogue.price_book.pools).replicas
    return {
        fleet.id: (covered.get(fleet.id, 0.0) / fleet.host_share, prices[fleet.id])
        for fleet in catalogue.fleets
    }


def _known(fleet: Fleet) -> Known:
    model = fleet.model
    return fleet.id, model.id, fleet.lane, fleet.region, model.abilities, fleet.context_tokens

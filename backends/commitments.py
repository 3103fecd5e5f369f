"""Savings plans over several fleets: what a commitment covers, and what of it stands unused. Pure.

As the cloud applies them: a pool's commitment goes to the usage where it saves the most first,
and no hour is covered twice. Narrow pools go before wide ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.prices import Pool


@dataclass(frozen=True, slots=True)
class Usage:
    """Replicas of one fleet that run on demand now. `plan_usd` None: no plan has a price for it."""

    fleet: str
    instance: str
    region: str
    replicas: float
    on_demand_usd: float
    plan_usd: float | None

    @property
    def saving(self) -> float:
        """Return the share that a plan takes off."""
        return 0.0 if self.plan_usd is None else 1 - self.plan_usd / self.on_demand_usd


@dataclass(frozen=True, slots=True)
class Covered:
    """`replicas` of each fleet that pools cover (a part of one is possible), and USD an hour:
    of each pool the unused rest, and of everything together, commitments included.
    """

    replicas: Mapping[str, float]
    unused_usd: Mapping[str, float]
    usd_per_hour: float


def cover(usages: Sequence[Usage], pools: Iterable[Pool]) -> Covered:
    """Apply the pools to what runs now."""
    covered = dict.fromkeys((usage.fleet for usage in usages), 0.0)
    unused: dict[str, float] = {}
    committed = 0.0
    for pool in sorted(pools, key=lambda pool: (len(pool.families), pool.id)):
        left = pool.usd_per_hour
        committed += left
        fitting = [
            usage
            for usage in usages
            if usage.plan_usd is not None and pool.covers(usage.instance, usage.region)
        ]
        for usage in sorted(fitting, key=lambda u: (-u.saving, u.plan_usd, u.fleet)):
            if usage.saving <= 0 or usage.plan_usd is None:
                continue  # on demand is no dearer: nobody would spend a commitment on it
            take = min(usage.replicas - covered[usage.fleet], left / usage.plan_usd)
            covered[usage.fleet] += take
            left -= take * usage.plan_usd
        unused[pool.id] = max(left, 0.0)
    uncovered = sum((u.replicas - covered[u.fleet]) * u.on_demand_usd for u in usages)
    return Covered(covered, unused, committed + uncovered)

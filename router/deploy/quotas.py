"""The quotas of the account that a stage's machines need at their most: what AWS refuses only once
a machine is started. Pure: nothing here asks AWS what the account has.

Codes and names: service `ec2` of Service Quotas (docs.aws.amazon.com/AWSEC2/latest/UserGuide/
using-spot-limits.html and ec2-on-demand-instances.html name the groups; the codes as
`aws service-quotas list-service-quotas` prints them; read 2026-11-22). A new account has 0 of most.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from backends.tariff import Tariff
from router.deploy.lane import Lane, hosts
from router.deploy.stage import Stage

# By the letters that an instance type begins with; all others are Standard (A, C, D, H, I, M, ...).
ON_DEMAND: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "g": ("L-DB2E81BA", "Running On-Demand G and VT instances"),
        "inf": ("L-1945791B", "Running On-Demand Inf instances"),
        "p": ("L-417A185B", "Running On-Demand P instances"),
        "trn": ("L-2C3B7624", "Running On-Demand Trn instances"),
    }
)
STANDARD: Final = ("L-1216C47A", "Running On-Demand Standard instances")
SPOT: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "g": ("L-3819A6DF", "All G and VT Spot Instance Requests"),
        "inf": ("L-B5D1601B", "All Inf Spot Instance Requests"),
        "p": ("L-7212CCBC", "All P Spot Instance Requests"),
        # Accounts that list it have P5 apart from the other P.
        "p5": ("L-C4BD4855", "All P5 Spot Instance Requests"),
        "trn": ("L-6B0D517C", "All Trn Spot Instance Requests"),
    }
)
STANDARD_SPOT: Final = ("L-34B43A08", "All Standard Spot Instance Requests")
_KIND: Final = re.compile(r"([a-z]+)(\d*)")


@dataclass(frozen=True, slots=True)
class Quota:
    """`needed`: in `unit`, with every fleet at its most; None: unknown. `code` None: SageMaker's,
    which has one for each instance type, found by its name.
    """

    service: str
    code: str | None
    name: str
    needed: int | None
    unit: str
    fleets: tuple[str, ...]


def quotas(stage: Stage) -> tuple[Quota, ...]:
    """Return each quota once, in the fleets' order. Machines of a Capacity Block are in none."""
    found: dict[str, Quota] = {}
    for each in _needed(stage):
        before = found.get(each.name)
        found[each.name] = each if before is None else _both(before, each)
    return tuple(found.values())


def _both(one: Quota, other: Quota) -> Quota:
    known = one.needed is not None and other.needed is not None
    needed = (one.needed or 0) + (other.needed or 0) if known else None
    return replace(one, needed=needed, fleets=tuple(dict.fromkeys((*one.fleets, *other.fleets))))


def _needed(stage: Stage) -> Iterator[Quota]:
    for lane in stage.lanes:
        if lane.on == "sagemaker":
            name, most = f"{lane.fleet.instance} for endpoint usage", lane.fleet.replicas.max
            yield Quota("sagemaker", None, name, most, "instances", (lane.fleet.id,))
    for _, sharing in hosts(lane for lane in stage.lanes if lane.on != "sagemaker"):
        first, fleets = sharing[0], tuple(lane.fleet.id for lane in sharing)
        most = max(lane.fleet.replicas.max for lane in sharing)
        for (code, name), machines in _machines(first, most):
            vcpu = first.fit.instance.vcpu
            needed = None if vcpu is None else machines * vcpu
            yield Quota("ec2", code, name, needed, "vCPU", fleets)


def _machines(lane: Lane, most: int) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield (quota, machines) for each way that they are bought. Outside of its block a fleet has
    its most without it.
    """
    others = [each for each in lane.fleet.tariff.tranches if each.option != "capacity_block"]
    for tranche, machines in Tariff(tuple(others)).filled(most):
        yield _quota(lane.instance, spot=tranche.option == "spot"), machines


def _quota(instance: str, *, spot: bool) -> tuple[str, str]:
    found = _KIND.match(instance)
    assert found is not None, "an instance type begins with its family"
    letters, generation = found.groups()
    of, standard = (SPOT, STANDARD_SPOT) if spot else (ON_DEMAND, STANDARD)
    return of.get(letters + generation) or of.get(letters) or standard

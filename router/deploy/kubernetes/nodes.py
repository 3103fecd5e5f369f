"""Which machines EKS Auto Mode may start for a fleet: NodeClass and NodePools. Pure.

A pool for each purchase option, in the catalogue's order: Karpenter takes the heaviest pool that
has room. NodeClass: docs.aws.amazon.com/eks/latest/userguide/create-node-class.html and
auto-odcr.html; NodePool: karpenter.sh/v1.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from backends.tariff import Tranche
from router import lane_names
from router.deploy import disks
from router.deploy.kubernetes.common import (
    HOST,
    STAGE,
    Object,
    made,
    min_run_seconds,
    node_role,
)
from router.deploy.lane import Lane, Unmade
from router.deploy.stage import Stage

CAPACITY: Final = {
    "on_demand": "on-demand",
    "savings_plan": "on-demand",  # a discount on the bill, no machines of their own
    "spot": "spot",
    "reserved": "reserved",
    "capacity_block": "reserved",
}
WEIGHT: Final = 100  # Karpenter's heaviest
# A machine that goes for its age takes its fleet away for as long as the next one loads, for none
# is started beside it: as seldom as may be. Auto Mode ends each after 21 days (504 h) at the latest
# (docs.aws.amazon.com/eks/latest/userguide/automode-learn-instances.html).
EXPIRE: Final = "480h"
EKS: Final = "eks.amazonaws.com"
NEURON: Final = "aws.amazon.com/neuron"  # a resource of machines: chips


def nodes(stage: Stage, sharing: Sequence[Lane]) -> Iterator[Object]:
    """Yield what a host needs: fleets that share it have one kind of machines. Raises Unmade."""
    first = sharing[0]
    for rank, tranche in enumerate(first.fleet.tariff.tranches):
        option = f"{first.host}-{tranche.option.replace('_', '-')}"
        name = option if rank == 0 else f"{option}-{rank + 1}"
        yield _node_class(stage, sharing, name, tranche)
        yield _pool(stage, sharing, name, tranche, rank)


def _capacity(tranche: Tranche) -> str:
    capacity = CAPACITY[tranche.option]
    if capacity == "reserved" and tranche.reservation is None:
        if tranche.option == "capacity_block":
            said = (
                "a capacity block needs `reservation`: the id of the block that was bought (cr-...)"
            )
            raise Unmade(("tranches",), said)
        return "on-demand"  # a Reserved Instance: a discount on the bill
    return capacity


def _node_class(stage: Stage, sharing: Sequence[Lane], name: str, tranche: Tranche) -> Object:
    volume = disks.eks(sharing)
    spec: Object = {
        "role": node_role(stage.prefix, stage.region),
        "subnetSelectorTerms": [
            {"tags": {"sluice:stage": stage.name, "kubernetes.io/role/internal-elb": "1"}}
        ],
        "securityGroupSelectorTerms": [
            {"tags": {"aws:eks:cluster-name": lane_names.cluster(stage.name)}}
        ],
        # A new pod is open until its policies are known, which is seconds; its engine listens
        # minutes later. `DefaultDeny` would keep it from fetching its weights meanwhile.
        "networkPolicy": "DefaultAllow",
        "ephemeralStorage": {
            "size": f"{volume.gb}Gi",
            "iops": volume.iops,
            "throughput": volume.mbps,
        },
        "tags": {
            "sluice:stage": stage.name,
            "sluice:fleet": " ".join(lane.fleet.id for lane in sharing),
        },
    }
    if _capacity(tranche) == "reserved":
        spec["capacityReservationSelectorTerms"] = [{"id": tranche.reservation}]
    return made(f"{EKS}/v1", "NodeClass", name, spec, labels=_labels(stage, sharing[0]))


def _pool(stage: Stage, sharing: Sequence[Lane], name: str, tranche: Tranche, rank: int) -> Object:
    first = sharing[0]
    machine = first.fit.instance
    assert machine.vcpu is not None, f"{machine.id} has no vCPUs"
    most = max(lane.fleet.replicas.max for lane in sharing)
    machines = most if tranche.replicas is None else min(most, tranche.replicas)
    requirements = {
        "node.kubernetes.io/instance-type": first.instance,
        "karpenter.sh/capacity-type": _capacity(tranche),
        "kubernetes.io/arch": architecture(first),
    }
    spec: Object = {
        "weight": WEIGHT - rank,
        "limits": {"cpu": str(machines * machine.vcpu)},
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": f"{max(map(min_run_seconds, sharing))}s",
            "budgets": [{"nodes": "1"}],
        },
        "template": {
            "metadata": {"labels": _labels(stage, first)},
            "spec": {
                "nodeClassRef": {"group": EKS, "kind": "NodeClass", "name": name},
                "requirements": [
                    {"key": key, "operator": "In", "values": [value]}
                    for key, value in requirements.items()
                ],
                "taints": [{"key": HOST, "value": first.host, "effect": "NoSchedule"}],
                "expireAfter": EXPIRE,
                "terminationGracePeriod": "30m",
            },
        },
    }
    return made("karpenter.sh/v1", "NodePool", name, spec, labels=_labels(stage, first))


def architecture(lane: Lane) -> str:
    """Return Kubernetes' name of what the machine runs: Graviton is the only Arm here."""
    return "arm64" if lane.fit.instance.chip.startswith("Graviton") else "amd64"


def _labels(stage: Stage, lane: Lane) -> dict[str, str]:
    return {STAGE: stage.name, HOST: lane.host}

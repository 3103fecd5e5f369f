"""What all manifests share: names, labels, the shape of an object. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from backends.scaling import MIN_RUN_S, WAKE_S
from router import lane_names
from router.deploy.lane import Lane

Object = dict[str, Any]

FLEET: Final = "sluice/fleet"
HOST: Final = "sluice/host"
STAGE: Final = "sluice/stage"
ACCOUNT: Final = "engine"  # the service account of a fleet's pods: a Pod Identity names it
LEDGER: Final = "sluice-ledger"  # how KEDA reads the ledger
KEDA: Final = "keda"  # KEDA's own namespace
KEDA_OPERATOR: Final = "keda-operator"  # the label `app` of the pods that ask engines
KEDA_ACCOUNT: Final = "keda-operator"


def made(
    api: str,
    kind: str,
    name: str,
    spec: Mapping[str, Any] | None = None,
    *,
    space: str | None = None,
    labels: Mapping[str, str] | None = None,
    **more: Any,  # noqa: ANN401  (a section beside `spec`)
) -> Object:
    """Return an object; `space` None: of the whole cluster."""
    meta: Object = {"name": name}
    if space is not None:
        meta["namespace"] = space
    if labels:
        meta["labels"] = dict(labels)
    found: Object = {"apiVersion": api, "kind": kind, "metadata": meta}
    if spec is not None:
        found["spec"] = dict(spec)
    return {**found, **more}


def space(lane: Lane) -> str:
    return lane_names.namespace(lane.fleet.id)


def labels(lane: Lane) -> dict[str, str]:
    """Return the labels of all that is the fleet's; a label takes no id, but its slug."""
    return {FLEET: lane.name, HOST: lane.host}


def node_role(prefix: str, region: str) -> str:
    """Return the name of the role that the machines have; the stack makes it."""
    return f"{prefix}-{region}-eks-node"


def wake_seconds(lane: Lane) -> int:
    return lane.fleet.wake_seconds or WAKE_S


def min_run_seconds(lane: Lane) -> int:
    return lane.fleet.min_run_seconds or MIN_RUN_S

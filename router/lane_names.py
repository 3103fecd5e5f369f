"""What the fleets of a stage are called on AWS: by whom they are made, observed and woken. Pure."""

import re
from typing import Final

from backends.catalogue import Fleet

_OTHER: Final = re.compile(r"[^A-Za-z0-9]+")
WAKE_PK: Final = "WAKE"  # items of the ledger's table: a fleet that is asked to wake (sk: its id)


def slug(fleet_id: str) -> str:
    """Return the id as names of AWS and of Kubernetes take it; a stage's are distinct (checked)."""
    return _OTHER.sub("-", fleet_id).strip("-").lower()


def cluster(stage: str) -> str:
    """Return the name of the stage's cluster, of ECS and of EKS alike."""
    return f"sluice-{stage}"


def service(stage: str, fleet_id: str) -> str:
    """Return the name of the fleet's service on ECS."""
    return f"sluice-{stage}-{slug(fleet_id)}"


def namespace(fleet_id: str) -> str:
    """Return the fleet's namespace on EKS: its own, which its deployment and service share with
    no other fleet's.
    """
    return f"sluice-{slug(fleet_id)}"


def services(stage: str, fleet: Fleet) -> tuple[str, ...]:
    """Return the names of all services of a fleet on ECS: its replicas are the tasks of all.

    The first one is scaled by the load; beside it there may be one on a Capacity Block.
    """
    name = service(stage, fleet.id)
    in_block = {tranche.option == "capacity_block" for tranche in fleet.tariff.tranches}
    return (name, f"{name}-block") if in_block == {True, False} else (name,)


def scalable(stage: str, fleet: Fleet) -> tuple[str, str, str] | None:
    """Return the fleet's (service namespace, resource id, dimension) at Application Auto Scaling;
    None: it doesn't scale the fleet.
    """
    if fleet.runs is None or fleet.runs.on == "eks":
        return None
    if fleet.runs.on == "ecs":
        name = f"service/{cluster(stage)}/{service(stage, fleet.id)}"
        return "ecs", name, "ecs:service:DesiredCount"
    target = fleet.sagemaker
    assert target is not None, "what runs on SageMaker is called by it"
    if target.inference_component is not None:
        name = f"inference-component/{target.inference_component}"
        return "sagemaker", name, "sagemaker:inference-component:DesiredCopyCount"
    name = f"endpoint/{target.endpoint}/variant/{target.variant or VARIANT}"
    return "sagemaker", name, "sagemaker:variant:DesiredInstanceCount"


VARIANT: Final = "all"  # of an endpoint that a stage makes

"""All manifests of a stage's fleets on EKS, by file: what `kubectl apply -f FOLDER` takes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from router.deploy import images
from router.deploy import lane as lanes
from router.deploy.kubernetes import nodes, pods, scaling
from router.deploy.kubernetes.common import Object, made
from router.deploy.lane import Lane
from router.deploy.stage import Stage

HEAD: Final = "# Written by `sluice deploy --manifests`: change fleets.yaml and write it again.\n"
CLUSTER: Final = "cluster.yaml"
ONCE: Final = "once"  # what is created, not applied


@dataclass(frozen=True, slots=True)
class Told:
    """What only the deployed stack knows, by fleet id: `targets`, the ARN of its target group;
    `images`, the image that the stage copies or builds.
    """

    targets: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)


def of(stage: Stage) -> tuple[Lane, ...]:
    return tuple(lane for lane in stage.lanes if lane.on == "eks")


def manifests(stage: Stage, programs: Mapping[str, str], told: Told) -> dict[str, list[Object]]:
    """Return the objects of each file; a fleet whose target group is not told gets no binding.
    Raises Unmade. Every image is known (`untold`).
    """
    found = {CLUSTER: [_network_policies(), scaling.ledger()]}
    for host, sharing in lanes.hosts(of(stage)):
        found[f"nodes-{host}.yaml"] = list(nodes.nodes(stage, sharing))
    for lane in of(stage):
        image = images.image(lane, stage.partition, stage.region) or told.images[lane.fleet.id]
        whole = [*pods.pods(stage, lane, programs, image), scaling.scaled(stage, lane)]
        if lane.fleet.id in told.targets:
            whole.append(pods.binding(lane, told.targets[lane.fleet.id]))
        found[f"fleet-{lane.name}.yaml"] = whole
        found[f"{ONCE}/fleet-{lane.name}.yaml"] = list(pods.first(lane))
    return found


def stored(stage: Stage) -> tuple[Lane, ...]:
    """Return the fleets whose image the stage copies or builds. Raises Unmade."""
    return tuple(
        lane for lane in of(stage) if images.image(lane, stage.partition, stage.region) is None
    )


def output(what: str, lane: Lane) -> str:
    """Return the name of the stack's output with the fleet's `Target` group or `Image`."""
    return what + "".join(part.capitalize() for part in lane.name.split("-"))


def told(stage: Stage, outputs: Mapping[str, str]) -> Told:
    """Return what the stack's outputs tell, by their names."""

    def by_fleet(what: str) -> dict[str, str]:
        named = {lane.fleet.id: output(what, lane) for lane in of(stage)}
        return {fleet: outputs[name] for fleet, name in named.items() if name in outputs}

    return Told(by_fleet("Target"), by_fleet("Image"))


def text(objects: Iterable[Object]) -> str:
    """Return a file: documents of YAML, the same bytes for the same objects."""
    dumped = (
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
        for each in objects
    )
    return HEAD + "---\n".join(dumped)


def _network_policies() -> Object:
    """Turn network policies on (docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html)."""
    on = {"enable-network-policy-controller": "true"}
    return made("v1", "ConfigMap", "amazon-vpc-cni", space="kube-system", data=on)


class _Dumper(yaml.SafeDumper):
    """Writes programs as lines, and nothing as a reference to what stands above it."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (its base's)
        return True


def _lines(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _lines)

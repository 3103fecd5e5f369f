"""The fleets that a stage makes, each kind of them by its maker."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aws_cdk import aws_lambda as lambda_

from infra.lanes import ecs, eks, graviton
from infra.lanes.making import Maker, MakeStack, Making
from infra.network import Network
from infra.state import State
from router.deploy.lane import On
from router.deploy.stage import Stage

MAKERS: Final[Mapping[On, Maker]] = MappingProxyType(
    {"ecs": ecs.make, "eks": eks.make, "sagemaker": graviton.make}
)


def add(
    stack: MakeStack,
    stage: Stage,
    network: Network | None,
    bundle: Path,
    state: State,
    observer: lambda_.Function,
) -> None:
    """Add the stacks of the stage's fleets: one for each kind of machines, and what they share."""
    for on in dict.fromkeys(lane.on for lane in stage.lanes):
        of_kind = [lane for lane in stage.lanes if lane.on == on]
        MAKERS[on](Making(stack, stage, of_kind, network, bundle, state, observer))

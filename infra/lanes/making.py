"""What a maker of fleets has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra.network import Network
from infra.state import State
from router.deploy.lane import Lane
from router.deploy.stage import Stage

MakeStack = Callable[[str, str], cdk.Stack]
"""Makes the stage's stack of this name, with what is said of it."""


@dataclass(frozen=True, slots=True)
class Making:
    """What a maker has. `network` None: a small stage, without machines of its own."""

    stack: MakeStack
    stage: Stage
    lanes: Sequence[Lane]
    network: Network | None
    bundle: Path
    state: State
    observer: lambda_.Function


Maker = Callable[[Making], None]

"""The stacks of a stage, and what each one has.

What holds data (State) lives apart from what is replaced with every deployment (Router).
"""

from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_

from infra import lanes
from infra.api import Api
from infra.batches import Batches, Files
from infra.network import ZONES, Network
from infra.observability import Observability
from infra.policy import Policy
from infra.router import Router
from infra.state import State
from infra.topic import Topic
from infra.workers import Workers
from router.deploy.stage import Stage


class Zoned(cdk.Stack):
    """A stack whose zones are the region's first ones, whoever's account it is: asking AWS which
    they are needs credentials, and leaves the answer in a file.
    """

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        return [cdk.Fn.select(number, cdk.Fn.get_azs()) for number in range(ZONES)]


class Stacks:
    """One stage. `bundle`: the folder with the router."""

    def __init__(self, app: cdk.App, stage: Stage, bundle: Path) -> None:
        self._app, self._stage = app, stage

        self.state_stack = self._stack("State", "what is kept: ledger, lake, policy")
        self.state = State(self.state_stack, "State", stage=stage)
        self.files = (
            None
            if stage.deferrable is None
            else Files(self.state_stack, "Files", stage=stage, key=self.state.key)
        )
        self.topic = Topic(self.state_stack, "Alarms", stage=stage).topic
        self.policy = Policy(
            self.state_stack,
            "Policy",
            stage=stage,
            code=code(bundle),
            monitors_alarm=True,
        )

        self.router_stack = self._stack("Router", "the router and its front door")
        wide = stage.size == "prod" or stage.compute.on == "fargate"
        self.network = Network(self.router_stack, "Network", stage=stage) if wide else None
        self.router = Router(
            self.router_stack,
            "Router",
            stage=stage,
            state=self.state,
            policy=self.policy,
            bundle=bundle,
            network=self.network,
            files=self.files,
        )
        self.api: Api | None = None
        if self.router.alias is not None:
            self.api = Api(
                self.router_stack, "Api", stage=stage, router=self.router, network=self.network
            )

        self.workers = Workers(
            self._stack("Workers", "what works beside the requests"),
            "Workers",
            stage=stage,
            state=self.state,
            code=code(bundle),
            topic=self.topic,
            policy=self.policy,
            network=self.network,
        )
        self.batches = self._batches(self.files, bundle)
        observer = self.workers.functions["observer"]
        lanes.add(self._stack, stage, self.network, bundle, self.state, observer)
        self.observability = Observability(
            self._stack("Observability", "what is seen, and who is told"),
            "Observability",
            stage=stage,
            state=self.state,
            router=self.router,
            api=self.api,
            workers=self.workers,
            policy=self.policy,
            topic=self.topic,
            batches=self.batches,
        )

    def _batches(self, files: Files | None, bundle: Path) -> Batches | None:
        if files is None:
            return None
        return Batches(
            self._stack("Batches", "what sends batches"),
            "Batches",
            stage=self._stage,
            state=self.state,
            files=files,
            policy=self.policy,
            code=code(bundle),
            network=self.network,
        )

    def _stack(self, name: str, said: str) -> cdk.Stack:
        stage = self._stage
        return Zoned(
            self._app,
            f"{stage.prefix}-{name}",
            description=f"Sluice, stage {stage.name}: {said}",
            env=cdk.Environment(account=stage.account, region=stage.region),
            termination_protection=stage.size == "prod" and name == "State",
            tags={"sluice:stage": stage.name},
        )


def code(bundle: Path) -> lambda_.Code:
    """Return the bundle for the functions of one stack: no two stacks can share the object."""
    return lambda_.Code.from_asset(str(bundle))


def add(app: cdk.App, stage: Stage, bundle: Path) -> Stacks:
    return Stacks(app, stage, bundle)

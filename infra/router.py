"""The router: a Lambda function behind the Web Adapter, or the same app as a Fargate service."""

from pathlib import Path

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import permissions
from infra.batches import FILES, OBJECT, Files
from infra.network import Network
from infra.on_fargate import OnFargate
from infra.on_lambda import OnLambda
from infra.policy import Policy
from infra.state import State
from router.deploy.stage import Stage


class Router(Construct):
    """Either `function` and `alias`, or `service`; the others are None."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        state: State,
        policy: Policy,
        bundle: Path,
        network: Network | None = None,
        files: Files | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.function: lambda_.Function | None = None
        self.alias: lambda_.Alias | None = None
        self.service: OnFargate | None = None
        said = environment(stage, state, policy)
        if files is not None:
            said["SLUICE_BATCHES"] = files.name
        if stage.compute.on == "fargate":
            assert network is not None
            self.service = OnFargate(
                self, "Service", stage=stage, bundle=bundle, network=network, environment=said
            )
            role = self.service.role
        else:
            made = OnLambda(
                self, "Function", stage=stage, bundle=bundle, network=network, environment=said
            )
            self.function, self.alias, role = made.function, made.alias, made.role
        permissions.grant(role, stage, state, policy)
        if files is not None:
            files.let(role, FILES, OBJECT)


def environment(stage: Stage, state: State, policy: Policy) -> dict[str, str]:
    """Return what run.sh and the router read, wherever they run. No secret is among it."""
    return {
        "SLUICE_STAGE": stage.name,
        "SLUICE_APPCONFIG": policy.reference,
        "SLUICE_TABLE": state.table.table_name,
        "SLUICE_RECEIPTS": state.receipts_stream.ref,
        "SLUICE_NAMESPACE": "Sluice",
        "SLUICE_METRIC_DIMENSIONS": "stage" if stage.size == "small" else "fleet",
        "SLUICE_ROUTER_ON": stage.compute.on,
    }

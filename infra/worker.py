"""A function of the stage beside the router: its log, its role, its limits.

The role begins with its own log and nothing else: what it may do is added where its code's calls
are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.metrics import NAMESPACE
from infra.reasons import acknowledge
from router.deploy import adapter
from router.deploy.stage import Stage

LAMBDA: Final = "lambda.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Form:
    """What one function is. `alone`: two of it need not run at once, and in prod can't."""

    name: str
    memory_mb: int
    timeout_s: int
    alone: bool = False


def function(
    scope: Construct,
    form: Form,
    *,
    stage: Stage,
    code: lambda_.Code,
    environment: Mapping[str, str],
    inside: Mapping[str, Any] | None = None,
) -> lambda_.Function:
    """Return the function `<prefix>-<name>`, which may write its own log and do nothing else.

    `inside`: the network it runs in, as Function takes it.
    """
    title = form.name.capitalize()
    log = logs.LogGroup(
        scope,
        f"{title}Log",
        log_group_name=f"/sluice/{stage.name}/{form.name}",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    role = iam.Role(scope, f"{title}Role", assumed_by=iam.ServicePrincipal(LAMBDA))
    log.grant_write(role)
    x86 = adapter.is_x86(stage.partition)  # all functions run the router's bundle
    made = lambda_.Function(
        scope,
        title,
        function_name=f"{stage.prefix}-{form.name}",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.X86_64 if x86 else lambda_.Architecture.ARM_64,
        handler=f"router.workers.{form.name}.handler",
        code=code,
        role=role,
        log_group=log,
        logging_format=lambda_.LoggingFormat.JSON,
        memory_size=form.memory_mb,
        timeout=Duration.seconds(form.timeout_s),
        # A new account may run ten functions at once, and can't set any of them aside.
        reserved_concurrent_executions=1 if form.alone and stage.size == "prod" else None,
        environment={
            "SLUICE_STAGE": stage.name,
            "SLUICE_NAMESPACE": NAMESPACE,
            **environment,
        },
        **(inside or {}),
    )
    acknowledge(made, {"L1": "the bundle's wheels are of Python 3.13, as the lock has them"})
    return made

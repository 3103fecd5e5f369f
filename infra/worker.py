"""A function of the stage beside the router: its log, its role, its limits.

The role begins with its own log and nothing else: what it may do is added where its code's calls
are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.reasons import acknowledge
from router.deploy.stage import Stage

NAMESPACE = "Sluice"
LAMBDA = "lambda.amazonaws.com"
KEPT = {"small": logs.RetentionDays.ONE_WEEK, "prod": logs.RetentionDays.THREE_MONTHS}


@dataclass(frozen=True, slots=True)
class Form:
    """What one function is. `alone`: two of it must not run at once, where that can be had."""

    name: str
    memory_mb: int
    timeout_s: int
    alone: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def handler(self) -> str:
        return f"router.workers.{self.name}.handler"


def function(scope: Construct, form: Form, *, stage: Stage, code: lambda_.Code) -> lambda_.Function:
    """Return the function `<prefix>-<name>`, which may write its own log and do nothing else."""
    name = f"{stage.prefix}-{form.name}"
    title = form.name.capitalize()
    log = logs.LogGroup(
        scope,
        f"{title}Log",
        log_group_name=f"/aws/lambda/{name}",
        retention=KEPT[stage.size],
        removal_policy=cdk.RemovalPolicy.DESTROY,  # a stage that is torn down leaves nothing
    )
    role = iam.Role(scope, f"{title}Role", assumed_by=iam.ServicePrincipal(LAMBDA))
    log.grant_write(role)
    made = lambda_.Function(
        scope,
        title,
        function_name=name,
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=architecture(stage),
        handler=form.handler,
        code=code,
        role=role,
        log_group=log,
        memory_size=form.memory_mb,
        timeout=cdk.Duration.seconds(form.timeout_s),
        # A new account may run ten functions at once and can't set any of them aside.
        reserved_concurrent_executions=1 if form.alone and stage.size == "prod" else None,
        environment={
            "SLUICE_STAGE": stage.name,
            "SLUICE_NAMESPACE": NAMESPACE,
            **form.environment,
        },
    )
    acknowledge(made, {"L1": "the bundle's wheels are of Python 3.13, as the lock has them"})
    return made


def architecture(stage: Stage) -> lambda_.Architecture:
    """Return what the code asset was built for: in aws-cn the adapter's layer is x86_64 only."""
    china = stage.partition == "aws-cn"
    return lambda_.Architecture.X86_64 if china else lambda_.Architecture.ARM_64

"""The router as a Lambda function: streaming through the Web Adapter, deployed by and by.

Memory: the process takes 50 MB, a start 0.9 s of one processor, a request a few milliseconds; the
rest of a request is waiting, which is paid for by the GB. 1,769 MB is one processor. For 1M answers
of 4 s (arm64, $0.0000133334 a GB-second):

| MB    | starts in | USD |
|-------|-----------|-----|
| 512   | 3.1 s     | 27  |
| 1,024 | 1.6 s     | 53  |
| 1,769 | 0.9 s     | 92  |

So with provisioned environments, which nobody waits for, 512 MB will do; without, 1,024 MB.
(Measured on x86 with the host's bundle and a file for a ledger; not on Lambda.)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from infra.network import Network
from infra.reasons import acknowledge
from router.deploy import adapter
from router.deploy.stage import Stage

LIVE: Final = "live"


class OnLambda(Construct):
    """`alias`: what is called; it moves to a new version as long as no alarm rings."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        bundle: Path,
        environment: Mapping[str, str],
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage = stage
        log = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/sluice/{stage.name}/router",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.role = self._role(log, network)
        x86 = adapter.is_x86(stage.partition)
        layer = adapter.layer_arn(stage.partition, stage.region)
        assert layer is not None, "the stacks look first"
        self.function = lambda_.Function(
            self,
            "Router",
            function_name=f"{stage.prefix}-router",
            description="Sends every request to the cheapest fleet that meets the policy",
            code=lambda_.Code.from_asset(str(bundle)),
            handler="run.sh",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.X86_64 if x86 else lambda_.Architecture.ARM_64,
            layers=[lambda_.LayerVersion.from_layer_version_arn(self, "Adapter", layer)],
            memory_size=stage.compute.memory_mb,
            timeout=Duration.minutes(15),
            role=self.role,
            environment={**environment, **adapter.environment()},
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,
            current_version_options=lambda_.VersionOptions(
                removal_policy=RemovalPolicy.RETAIN  # what a rollback goes back to
            ),
            vpc=None if network is None else network.vpc,
            vpc_subnets=None if network is None else network.inside,
            security_groups=None if network is None else [network.callers],
        )
        acknowledge(self.function, {"L1": "the bundle's wheels are of Python 3.13, as the lock"})
        if network is not None:
            # A warm environment starts with its alias, and reaches AWS by the endpoints alone.
            self.function.node.add_dependency(network)
        self.alias = lambda_.Alias(
            self,
            "Live",
            alias_name=LIVE,
            version=self.function.current_version,
            provisioned_concurrent_executions=stage.compute.provisioned or None,
        )
        self._deploy_by_and_by()

    def _role(self, log: logs.LogGroup, network: Network | None) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log.grant_write(role)  # its ARN ends in `:*` already: all its streams, and no other log
        if network is not None:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="Interfaces", actions=list(permissions.INTERFACES), resources=["*"]
                )
            )
        return role

    def _deploy_by_and_by(self) -> None:
        """Move a tenth of the requests first in prod; go back if the new version fails."""
        config = codedeploy.LambdaDeploymentConfig
        prod = self._stage.size == "prod"
        group = codedeploy.LambdaDeploymentGroup(
            self,
            "Deployment",
            alias=self.alias,
            deployment_config=config.CANARY_10_PERCENT_5_MINUTES if prod else config.ALL_AT_ONCE,
            alarms=[self._alarm("Errors", 1), self._alarm("Throttles", 10)],
            auto_rollback=codedeploy.AutoRollbackConfig(
                failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True
            ),
        )
        limited = "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role"
        said = "AWS's own and limited: it moves aliases, and reads alarms"
        acknowledge(group, {f"IAM4[{limited}/AWSCodeDeployRoleForLambdaLimited]": said})

    def _alarm(self, name: str, threshold: int) -> cloudwatch.Alarm:
        """Ring when the version that the alias moves to fails: not for what the old one does."""
        version = self.function.current_version.version
        metric = cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={
                "FunctionName": self.function.function_name,
                "Resource": f"{self.function.function_name}:{LIVE}",
                "ExecutedVersion": version,
            },
            statistic="Sum",
            period=Duration.minutes(1),
        )
        return cloudwatch.Alarm(
            self,
            f"NewVersion{name}",
            alarm_description=f"{name} of the router's new version: its deployment is undone",
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

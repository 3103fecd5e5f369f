"""The router as a Fargate service behind a load balancer: for steady traffic.

One task serves many streams at once, and its state lives between requests; that is worth paying
for when it stands still, from the break-even on that `sluice deploy --plan` prints.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

from infra.domain import record
from infra.firewall import Firewall
from infra.network import Network
from infra.reasons import acknowledge
from router.deploy import adapter, parts
from router.deploy.stage import Stage

PORT: Final = 8080
STOP_S: Final = 60  # above the 25 s of router/settings.py: ECS kills then
GOING_S: Final = 300  # a task that goes gets nothing new, and its streams have so long to end
CPU_PERCENT: Final = 60


class OnFargate(Construct):
    """`role`: the task's. `balancer` is internal where the stage is private."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        bundle: Path,
        network: Network,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._network = stage, network
        self.role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com")
        )
        self.service = self._service(self._task(bundle, environment))
        self.balancer = self._balancer()
        least, most = stage.compute.tasks
        self.service.auto_scale_task_count(
            min_capacity=least, max_capacity=most
        ).scale_on_cpu_utilization(
            "Cpu",
            target_utilization_percent=CPU_PERCENT,
            scale_out_cooldown=Duration.seconds(60),
            scale_in_cooldown=Duration.minutes(5),
        )
        if stage.size == "prod":
            Firewall(self, "Firewall", stage=stage, protects=self.balancer.load_balancer_arn)

    def _task(self, bundle: Path, environment: Mapping[str, str]) -> ecs.FargateTaskDefinition:
        stage = self._stage
        x86 = adapter.is_x86(stage.partition)  # as the bundle
        architecture, platform = ecs.CpuArchitecture, ecr_assets.Platform
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            family=f"{stage.prefix}-router",
            cpu=stage.compute.cpu_units,
            memory_limit_mib=stage.compute.memory_mb,
            task_role=self.role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=architecture.X86_64 if x86 else architecture.ARM64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        task.add_volume(name="state")
        container = task.add_container(
            "router",
            image=ecs.ContainerImage.from_asset(
                str(bundle), platform=platform.LINUX_AMD64 if x86 else platform.LINUX_ARM64
            ),
            environment={**environment, "SLUICE_HOST": "0.0.0.0", "PORT": str(PORT)},  # noqa: S104 (the load balancer comes from outside the task)
            port_mappings=[ecs.PortMapping(container_port=PORT)],
            readonly_root_filesystem=True,
            stop_timeout=Duration.seconds(STOP_S),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="router",
                mode=ecs.AwsLogDriverMode.NON_BLOCKING,
                log_group=logs.LogGroup(
                    self,
                    "Log",
                    log_group_name=f"/sluice/{stage.name}/router",
                    retention=logs.RetentionDays.ONE_MONTH,
                    removal_policy=RemovalPolicy.DESTROY,
                ),
            ),
        )
        container.add_mount_points(
            ecs.MountPoint(container_path="/tmp", source_volume="state", read_only=False)  # noqa: S108 (where run.sh keeps the state)
        )
        acknowledge(task, {"ECS2": "names of tables and streams: no secret is among them"})
        role = task.obtain_execution_role()
        acknowledge(role, {"IAM5[Resource::*]": "ecr:GetAuthorizationToken has no resource"})
        return task

    def _service(self, task: ecs.FargateTaskDefinition) -> ecs.FargateService:
        network = self._network
        cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=self._stage.prefix,
            vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
        )
        service = ecs.FargateService(
            self,
            "Tasks",
            cluster=cluster,
            task_definition=task,
            desired_count=self._stage.compute.tasks[0],
            min_healthy_percent=100,
            vpc_subnets=network.inside,
            security_groups=[network.callers],
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )
        service.node.add_dependency(network)  # the image comes by its endpoints
        return service

    def _balancer(self) -> elb.ApplicationLoadBalancer:
        stage, network, domain = self._stage, self._network, self._stage.domain
        assert domain is not None, "the stacks look first"
        group = ec2.SecurityGroup(
            self, "BalancerGroup", vpc=network.vpc, description="callers", allow_all_outbound=False
        )
        balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            load_balancer_name=stage.prefix,
            vpc=network.vpc,
            internet_facing=not stage.private,
            vpc_subnets=network.inside if stage.private else None,
            security_group=group,
            idle_timeout=Duration.minutes(15),
            drop_invalid_header_fields=True,
            deletion_protection=stage.size == "prod",
        )
        acknowledge(balancer, {"ELB2": "every request has its receipt, which says more"})
        acknowledge(group, {"EC23": "the API is public, by TLS alone; `private` closes it"})
        listener = balancer.add_listener(
            "Https",
            port=443,
            certificates=[acm.Certificate.from_certificate_arn(self, "Cert", domain.certificate)],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            open=not stage.private,
        )
        if stage.private:
            inside = ec2.Peer.ipv4(parts.ADDRESSES)
            group.add_ingress_rule(inside, ec2.Port.tcp(443), "callers inside")
        listener.add_targets(
            "Tasks",
            port=PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            targets=[self.service],
            deregistration_delay=Duration.seconds(GOING_S),
            load_balancing_algorithm_type=(
                elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS
            ),
            # Not /readyz: it says 503 when no fleet is ready, and ECS replaces what is not healthy.
            health_check=elb.HealthCheck(
                path="/healthz", interval=Duration.seconds(10), healthy_threshold_count=2
            ),
        )
        if domain.zone is not None:
            record(
                self,
                domain,
                route53.RecordTarget.from_alias(targets.LoadBalancerTarget(balancer)),
            )
        return balancer

"""A fleet on ECS: its service, how the balancer finds it, how it follows the load."""

from datetime import datetime, timedelta
from typing import Any, Final

from aws_cdk import Duration
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

from backends import scaling as numbers
from infra.lanes import ecs_boot
from infra.lanes.ecs_shared import Shared
from infra.lanes.ecs_task import NAME, Task, going_s
from infra.lanes.image import Image
from infra.metrics import in_use
from infra.network import INSIDE
from router import lane_names
from router.deploy import purchase
from router.deploy.engine_start import starting_s
from router.deploy.lane import Lane
from router.deploy.stage import Stage

SCALABLE: Final = "ecs:service:DesiredCount"
HANDOVER_S: Final = 900  # until a block's machines answer, where the catalogue doesn't say


class Fleet(Construct):
    """A service that follows the load, one in a Capacity Block, or both: by how it is bought."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        shared: Shared,
        lane: Lane,
        image: Image,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._shared, self.lane = stage, shared, lane
        machines = shared.machines[lane.host]
        self._bought = machines.bought
        self._task = Task(
            self, "Task", stage=stage, lane=lane, sharing=machines.sharing, image=image
        )
        self._target = self._target_group()
        self._rule = self._listen()
        names = lane_names.services(stage.name, lane.fleet)
        if machines.standing is not None:
            service = self._service("Service", names[0], machines.standing)
            self._follow_load(service, names[0])
        if machines.block is not None and self._bought.block is not None:
            service = self._service("BlockService", names[-1], machines.block)
            self._follow_block(service, names[-1], self._bought.block)

    def _target_group(self) -> elb.CfnTargetGroup:
        lane = self.lane
        attributes = {
            "deregistration_delay.timeout_seconds": str(going_s(self._stage, lane)),
            "load_balancing.algorithm.type": "least_outstanding_requests",
        }
        return elb.CfnTargetGroup(
            self,
            "Target",
            vpc_id=self._shared.network.vpc.vpc_id,
            target_type="instance" if self._task.shared else "ip",
            protocol="HTTP",
            port=self._task.host_port,
            health_check_path=lane.health,
            health_check_interval_seconds=30,
            health_check_timeout_seconds=10,
            healthy_threshold_count=2,
            unhealthy_threshold_count=10,  # five minutes: a busy engine may be late with an answer
            matcher=elb.CfnTargetGroup.MatcherProperty(http_code="200"),
            target_group_attributes=[
                elb.CfnTargetGroup.TargetGroupAttributeProperty(key=key, value=value)
                for key, value in attributes.items()
            ],
        )

    def _listen(self) -> elb.CfnListenerRule:
        name = f"{self.lane.name}.{self._shared.domain}"
        rule = elb.CfnListenerRule(
            self,
            "Rule",
            listener_arn=self._shared.listener.listener_arn,
            priority=self._shared.priorities[self.lane.name],
            conditions=[
                elb.CfnListenerRule.RuleConditionProperty(
                    field="host-header",
                    host_header_config=elb.CfnListenerRule.HostHeaderConfigProperty(values=[name]),
                )
            ],
            actions=[
                elb.CfnListenerRule.ActionProperty(
                    type="forward", target_group_arn=self._target.ref
                )
            ],
        )
        route53.ARecord(
            self,
            "Record",
            zone=self._shared.zone,
            record_name=f"{name}.",
            target=route53.RecordTarget.from_alias(
                targets.LoadBalancerTarget(self._shared.balancer)
            ),
        )
        return rule

    def _service(self, title: str, name: str, provider: str) -> ecs.CfnService:
        network: dict[str, Any] = {}
        if not self._task.shared:
            subnets = self._shared.network.vpc.select_subnets(subnet_group_name=INSIDE)
            network["network_configuration"] = {
                "awsvpcConfiguration": {
                    "assignPublicIp": "DISABLED",
                    "subnets": subnets.subnet_ids,
                    "securityGroups": [self._shared.tasks.security_group_id],
                }
            }
        given: dict[str, Any] = {
            "cluster": lane_names.cluster(self._stage.name),
            "service_name": name,
            "task_definition": self._task.definition.task_definition_arn,
            "capacity_provider_strategy": [{"capacityProvider": provider, "weight": 1}],
            # A machine fetches weights once: changed ones are on new machines alone.
            "placement_constraints": [
                {
                    "type": "memberOf",
                    "expression": f"attribute:{ecs_boot.attribute(self.lane)} == "
                    f"{ecs_boot.version(self.lane)}",
                }
            ],
            # A replica has its machine alone: the old one goes before the new one finds room. Of
            # several, half of them at a time.
            "deployment_configuration": {
                "minimumHealthyPercent": 50 if self.lane.fleet.replicas.min > 1 else 0,
                "maximumPercent": 100,
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            },
            # It would end a task for its zone's sake.
            "availability_zone_rebalancing": "DISABLED",
            "health_check_grace_period_seconds": starting_s(self.lane),
            "enable_execute_command": False,
            "enable_ecs_managed_tags": True,
            "propagate_tags": "SERVICE",
            "load_balancers": [
                {
                    "containerName": NAME,
                    "containerPort": self.lane.port,
                    "targetGroupArn": self._target.ref,
                }
            ],
            **network,
        }
        count = self._shared.counts.of(self, f"{title}Count", name, given)
        made = ecs.CfnService(self, title, desired_count=count, **given)
        made.add_resource_dependency(self._rule)
        return made

    def _follow_load(self, service: ecs.CfnService, name: str) -> None:
        lane, block = self.lane, self._bought.block
        replicas = lane.fleet.replicas
        # A service is made at none, so that no deployment waits for its machines; registering its
        # target raises it to the least (Application Auto Scaling API, RegisterScalableTarget).
        target = self._scalable("Scaling", service, name, replicas.min, replicas.max)
        if replicas.max > replicas.min:
            target.scale_to_track_metric(
                "InUse",
                custom_metric=in_use(self._stage, lane.fleet.id),
                target_value=numbers.target_percent(replicas),
                scale_out_cooldown=Duration.seconds(numbers.out_cooldown_s(lane.fleet)),
                scale_in_cooldown=Duration.seconds(numbers.in_cooldown_s(lane.fleet)),
            )
        if block is not None:
            # Where the block has its replicas, they are none of the others'; both overlap by the
            # time that a machine takes to answer.
            wait = timedelta(seconds=lane.fleet.wake_seconds or HANDOVER_S)
            if block.begins + wait < block.let_go - wait:
                left = replicas.max - block.machines
                least = max(0, replicas.min - block.machines)
                _at(target, "InBlock", block.begins + wait, least, left)
                _at(target, "AfterBlock", block.let_go - wait, replicas.min, replicas.max)

    def _follow_block(self, service: ecs.CfnService, name: str, block: purchase.Block) -> None:
        target = self._scalable("BlockScaling", service, name, 0, 0)
        _at(target, "Begins", block.begins, block.machines, block.machines)
        _at(target, "LetGo", block.let_go, 0, 0)

    def _scalable(
        self, title: str, service: ecs.CfnService, name: str, least: int, most: int
    ) -> scaling.ScalableTarget:
        target = scaling.ScalableTarget(
            self,
            title,
            service_namespace=scaling.ServiceNamespace.ECS,
            resource_id=f"service/{lane_names.cluster(self._stage.name)}/{name}",
            scalable_dimension=SCALABLE,
            min_capacity=least,
            max_capacity=most,
        )
        made = target.node.default_child
        assert isinstance(made, scaling.CfnScalableTarget)
        made.role_arn = None  # the service's own role does it, whatever is named here
        target.node.try_remove_child("Role")
        target.node.add_dependency(service)
        return target


def _at(
    target: scaling.ScalableTarget, title: str, moment: datetime, least: int, most: int
) -> None:
    target.scale_on_schedule(
        title,
        schedule=scaling.Schedule.expression(f"at({moment:%Y-%m-%dT%H:%M:%S})"),
        min_capacity=least,
        max_capacity=most,
    )

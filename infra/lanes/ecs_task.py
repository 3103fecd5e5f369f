"""The task that is one replica of a fleet: its container, as `sluice fleet fit` starts it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import Acknowledgment, Aws, Duration, RemovalPolicy, Validations
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes import ecs_boot
from infra.lanes.docker_project import PULL
from infra.lanes.image import Image
from infra.reasons import acknowledge
from router.deploy import engine_start
from router.deploy.lane import SERVED_FROM, Lane
from router.deploy.stage import Stage

NAME: Final = "engine"
# Of a machine's memory, what tasks ask for: the system and the agent have the rest, and no second
# replica of a fleet finds room.
MEMORY_SHARE: Final = 0.8
SHARED_MIB: Final = 16384  # /dev/shm: vLLM's workers hand tensors to each other there
OPEN_FILES: Final = 65536
GOING_ON_SPOT_S: Final = 90  # of 120 s of notice
LEAST_GOING_S: Final = 120
MOST_GOING_S: Final = 3600  # a target group knows no longer delay
_IMAGE: Final = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z.]+/([^:@]+)[:@].+")


class Task(Construct):
    """`definition` of the fleet's task; `host_port`: where the balancer calls it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        lane: Lane,
        sharing: Sequence[Lane],
        image: Image,
    ) -> None:
        super().__init__(scope, construct_id)
        self._lane, self._sharing = lane, sharing
        self._going_s = going_s(stage, lane)
        self.shared = len(sharing) > 1
        self.host_port = host_port(lane, sharing)
        log = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/sluice/{stage.name}/fleet/{lane.name}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.definition = ecs.Ec2TaskDefinition(
            self,
            "Definition",
            family=f"{stage.prefix}-{lane.name}",
            # An address of its own, with a group that lets it reach nothing. A machine that is
            # shared has no two: of a p5's first network card one is left (AWS's limits.go in
            # amazon-vpc-resource-controller-k8s), and ECS attaches to that card.
            network_mode=ecs.NetworkMode.BRIDGE if self.shared else ecs.NetworkMode.AWS_VPC,
            execution_role=self._pulls_and_logs(image.repository_arn or repository(image.uri), log),
        )
        self._volumes()
        container = self._container(image.uri, log)
        container.add_mount_points(
            ecs.MountPoint(
                container_path=f"{SERVED_FROM}/{lane.name}", source_volume="models", read_only=True
            )
        )
        if lane.family != "cpu":
            container.add_mount_points(
                ecs.MountPoint(
                    container_path=engine_start.CACHE, source_volume="cache", read_only=False
                )
            )
        container.add_ulimits(
            ecs.Ulimit(name=ecs.UlimitName.MEMLOCK, soft_limit=-1, hard_limit=-1),
            ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=OPEN_FILES, hard_limit=OPEN_FILES),
        )
        acknowledge(self.definition, {"ECS2": "settings of an engine: no secret is among them"})
        Validations.of(container).acknowledge(
            Acknowledgment(
                id="Annotation::@aws-cdk/aws-ecs:ecrImageRequiresPolicy",
                reason="the role that pulls it may pull from its repository alone",
            )
        )

    def _volumes(self) -> None:
        add = self.definition.add_volume
        add(name="models", host=ecs.Host(source_path=ecs_boot.models(self._lane)))
        if self._lane.family == "cpu":
            add(name="tmp")
        else:
            add(name="cache", host=ecs.Host(source_path=ecs_boot.cache(self._lane)))

    def _container(self, image: str, log: logs.LogGroup) -> ecs.ContainerDefinition:
        lane = self._lane
        made = self.definition.add_container(
            NAME,
            image=ecs.ContainerImage.from_registry(image),
            command=list(engine_start.command(lane)) or None,
            environment=dict(environment(lane)),
            memory_reservation_mib=memory_mib(lane),
            gpu_count=lane.devices if lane.family == "cuda" else None,
            linux_parameters=self._linux(),
            port_mappings=[ecs.PortMapping(container_port=lane.port, host_port=self.host_port)],
            readonly_root_filesystem=lane.family == "cpu",  # vLLM writes kernels as it starts
            stop_timeout=Duration.seconds(self._going_s),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix=NAME, mode=ecs.AwsLogDriverMode.NON_BLOCKING, log_group=log
            ),
        )
        if lane.family == "cpu":
            made.add_mount_points(
                ecs.MountPoint(container_path="/tmp", source_volume="tmp", read_only=False)  # noqa: S108 (Python's, in the container)
            )
        return made

    def _linux(self) -> ecs.LinuxParameters | None:
        lane = self._lane
        if lane.family == "cpu":
            return None
        made = ecs.LinuxParameters(self, "Linux", shared_memory_size=SHARED_MIB)
        if lane.family == "neuron":
            made.add_capabilities(ecs.Capability.IPC_LOCK)
            made.add_devices(
                *(
                    ecs.Device(
                        host_path=path,
                        container_path=path,
                        permissions=[ecs.DevicePermission.READ, ecs.DevicePermission.WRITE],
                    )
                    for path in neuron_devices(lane, self._sharing)
                )
            )
        return made

    def _pulls_and_logs(self, repository_arn: str, log: logs.LogGroup) -> iam.Role:
        role = iam.Role(
            self, "Starting", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com")
        )
        role.add_to_policy(iam.PolicyStatement(actions=[*PULL], resources=[repository_arn]))
        role.add_to_policy(
            iam.PolicyStatement(actions=["ecr:GetAuthorizationToken"], resources=["*"])
        )
        log.grant_write(role)
        acknowledge(role, {"IAM5[Resource::*]": "ecr:GetAuthorizationToken has no resource"})
        return role


def host_port(lane: Lane, sharing: Sequence[Lane]) -> int:
    """Return the port that the balancer calls: on a shared machine each fleet has its own, and so
    no two replicas of one fleet stand on one machine.
    """
    return lane.port + (sharing.index(lane) if len(sharing) > 1 else 0)


def environment(lane: Lane) -> Mapping[str, str]:
    told = engine_start.environment(lane)
    place = {"SLUICE_MODEL_DIR": f"{SERVED_FROM}/{lane.name}"} if lane.family == "cpu" else {}
    return {**told, **place}


def going_s(stage: Stage, lane: Lane) -> int:
    """Return for how long a task that goes still has its streams: a request's whole deadline, or,
    with Spot among its machines, what AWS's notice of two minutes leaves.

    The balancer waits first, and then SIGTERM has as long again. On EC2 a container may have any
    time (community.aws, Easier EC2 instance maintenance with managed draining; the 120 s of the
    API's reference are Fargate's).
    """
    if any(each.option == "spot" for each in lane.fleet.tariff.tranches):
        return GOING_ON_SPOT_S
    deadline_s = math.ceil(stage.policy.defaults.limits.deadline_ms / 1000)
    return min(MOST_GOING_S, max(LEAST_GOING_S, deadline_s))


def memory_mib(lane: Lane) -> int:
    """Return what the task is placed by; of a CPU the fit is on the fleet's share already."""
    share = 1.0 if lane.family == "cpu" else lane.share
    return math.floor(lane.fit.instance.memory_gib * share * MEMORY_SHARE * 1024)


def neuron_devices(lane: Lane, sharing: Sequence[Lane]) -> tuple[str, ...]:
    """Return the chips of a fleet, which are devices of Linux: those of the fleets before it on the
    machine are theirs.
    """
    before = sum(_chips(each) for each in sharing[: sharing.index(lane)])
    return tuple(f"/dev/neuron{number}" for number in range(before, before + _chips(lane)))


def _chips(lane: Lane) -> int:
    has = lane.fit.instance.accelerators
    assert has is not None
    assert has.chips is not None, "every machine with Neuron says its chips"
    return round(has.chips * lane.share)


def repository(image: str) -> str:
    """Return the ARN of the repository of ECR that has the image."""
    found = _IMAGE.fullmatch(image)
    assert found is not None, f"{image} is in no ECR; images.image() refuses it"
    account, region, name = found.groups()
    return f"arn:{Aws.PARTITION}:ecr:{region}:{account}:repository/{name}"

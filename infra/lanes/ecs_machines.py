"""The machines of one host: what they start with, by which groups they are bought, what they may.

Everything here is there without a machine: a group begins at none, and ECS raises it when tasks
wait. So no missing capacity can fail the stack that the groups are in.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from aws_cdk import Aws, CfnTag, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes import ecs_boot
from infra.network import Network
from infra.reasons import acknowledge
from router import lane_names
from router.deploy import disks, purchase
from router.deploy.lane import Lane
from router.deploy.stage import Stage

# Public parameters, which name the newest image: ECS Developer Guide, Retrieving Amazon
# ECS-optimized Linux AMI metadata (read 2026-11-21). {family: folder}; a CPU's is its architecture.
IMAGES: Final = "/aws/service/ecs/optimized-ami/amazon-linux-2023/"
FOLDERS: Final[Mapping[str, str]] = MappingProxyType(
    {"cuda": "gpu/", "neuron": "neuron/", "arm64": "arm64/", "x86_64": ""}
)
WARM_S: Final = 600  # until a new machine has its weights: ECS starts no second one meanwhile
NOT_NOTIFIED: Final = "machines follow tasks; the observer tells of those that are missing"


class Machines(Construct):
    """`standing` and `block`: the names of capacity providers; None: not bought so."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        network: Network,
        sharing: Sequence[Lane],
        log: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._network, self.sharing = stage, network, sharing
        self.bought = purchase.bought([lane.fleet for lane in sharing])
        Tags.of(self).add("sluice:fleet", fleets(sharing))
        self._role = self._may()
        log.grant_write(self._role)
        self._boot = ec2.UserData.custom(
            ecs_boot.script(
                sharing,
                cluster=lane_names.cluster(stage.name),
                region=stage.region,
                log=log_name(stage),
            )
        )
        standing, block = self.bought.standing, self.bought.block
        self.standing = self._by_load(standing) if standing is not None else None
        self.block = self._in_block(block) if block is not None else None

    def _by_load(self, given: purchase.Standing) -> str:
        template = self._template("Template")
        how: dict[str, Any] = {"launch_template": _version(template)}
        if given.paid_by_the_hour is not None:
            how = {"mixed_instances_policy": _with_spot(template, given.paid_by_the_hour)}
        if given.reservations:
            how["capacity_reservation_specification"] = _first(given.reservations)
        # One more: with changed weights a task waits for a machine that has them while the old one,
        # which has no task any more, is still there.
        return self._provider("", given.most + 1, how)

    def _in_block(self, given: purchase.Block) -> str:
        template = self._template("BlockTemplate")
        made = template.node.default_child
        assert isinstance(made, ec2.CfnLaunchTemplate)
        told = "LaunchTemplateData."
        made.add_property_override(f"{told}InstanceMarketOptions.MarketType", "capacity-block")
        target = f"{told}CapacityReservationSpecification.CapacityReservationTarget"
        made.add_property_override(f"{target}.CapacityReservationId", given.reservation)
        return self._provider("-block", given.machines, {"launch_template": _version(template)})

    def _template(self, name: str) -> ec2.LaunchTemplate:
        """The instances' own tags are the group's, which it hands on."""
        volume = disks.ecs(self.sharing)
        return ec2.LaunchTemplate(
            self,
            name,
            instance_type=ec2.InstanceType(self.sharing[0].instance),
            machine_image=ec2.MachineImage.from_ssm_parameter(ami(self.sharing[0])),
            role=self._role,
            security_group=self._network.machines,
            user_data=self._boot,
            require_imdsv2=True,
            http_put_response_hop_limit=1,  # no container gets through to it
            instance_initiated_shutdown_behavior=ec2.InstanceInitiatedShutdownBehavior.TERMINATE,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        volume.gb,
                        encrypted=True,
                        volume_type=ec2.EbsDeviceVolumeType.GP3,
                        iops=volume.iops,
                        throughput=volume.mbps,
                        delete_on_termination=True,
                    ),
                )
            ],
        )

    def _provider(self, suffix: str, most: int, how: Mapping[str, Any]) -> str:
        name = f"{self._stage.prefix}-{self.sharing[0].host}{suffix}"
        subnets = self._network.vpc.select_subnets(subnet_group_name="inside").subnet_ids
        group = autoscaling.CfnAutoScalingGroup(
            self,
            f"Group{suffix.title()}",
            auto_scaling_group_name=name,
            min_size="0",
            max_size=str(most),
            vpc_zone_identifier=subnets,
            new_instances_protected_from_scale_in=True,  # ECS ends those without tasks
            tags=[
                autoscaling.CfnAutoScalingGroup.TagPropertyProperty(
                    key=key, value=value, propagate_at_launch=True
                )
                for key, value in {
                    "Name": name,
                    "sluice:stage": self._stage.name,
                    "sluice:fleet": fleets(self.sharing),
                    "AmazonECSManaged": "",
                }.items()
            ],
            **how,
        )
        encrypted = "the rule can't follow a mixed policy: the template's volume is encrypted"
        acknowledge(group, {"AS3": NOT_NOTIFIED, "EC26": encrypted})
        ecs.CfnCapacityProvider(
            self,
            f"Provider{suffix.title()}",
            name=name,
            auto_scaling_group_provider={
                "autoScalingGroupArn": group.ref,
                "managedDraining": "ENABLED",
                "managedTerminationProtection": "ENABLED",
                "managedScaling": {
                    "status": "ENABLED",
                    "targetCapacity": 100,
                    "minimumScalingStepSize": 1,
                    "maximumScalingStepSize": max(1, most),
                    "instanceWarmupPeriod": WARM_S,
                },
            },
            tags=[CfnTag(key="sluice:fleet", value=fleets(self.sharing))],
        )
        return name

    def _may(self) -> iam.Role:
        """AmazonEC2ContainerServiceforEC2Role, less what isn't needed: pulling images and writing
        logs are the task's own right, and the cluster is there already.
        """
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        base = f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        name = lane_names.cluster(self._stage.name)
        cluster, instances = f"{base}:cluster/{name}", f"{base}:container-instance/{name}/*"
        for sid, actions, on in (
            ("Find", ["ecs:DiscoverPollEndpoint"], ["*"]),
            (
                "Join",
                ["ecs:RegisterContainerInstance", "ecs:DeregisterContainerInstance"],
                [cluster],
            ),
            (
                "Serve",
                ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
                [instances],
            ),
            (
                "Tell",
                [
                    "ecs:SubmitAttachmentStateChanges",
                    "ecs:SubmitContainerStateChange",
                    "ecs:SubmitTaskStateChange",
                ],
                [cluster],
            ),
        ):
            role.add_to_policy(iam.PolicyStatement(sid=sid, actions=actions, resources=on))
        for statement in weights(self.sharing):
            role.add_to_policy(statement)
        reasons = {
            "IAM5[Resource::*]": "ecs:DiscoverPollEndpoint has no resource",
            f"IAM5[Resource::arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:"
            f"container-instance/{name}/*]": "a machine gets its name in the cluster as it joins",
        }
        for lane in self.sharing:
            folder = f"IAM5[Resource::arn:<AWS::Partition>:s3:::{lane.bucket}/{lane.prefix}*]"
            reasons[folder] = "the weights' folder, whatever files are in it"
        acknowledge(role, reasons)
        return role


def log_name(stage: Stage) -> str:
    """Return the group that has what the machines of the stage's fleets say of their start."""
    return f"/sluice/{stage.name}/machines"


def fleets(sharing: Sequence[Lane]) -> str:
    """Return the value of the tag `sluice:fleet` for what these fleets share."""
    return "+".join(lane.fleet.id for lane in sharing)


def ami(lane: Lane) -> str:
    """Return the parameter that has the machine's image."""
    arm = "arm64" if is_arm(lane) else "x86_64"
    return f"{IMAGES}{FOLDERS.get(lane.family, FOLDERS[arm])}recommended/image_id"


def is_arm(lane: Lane) -> bool:
    return lane.fit.instance.chip.startswith("Graviton")


def weights(sharing: Sequence[Lane]) -> list[iam.PolicyStatement]:
    """Let these fleets' weights be read, and nothing else of their buckets."""
    found = []
    for number, lane in enumerate(sharing, 1):
        bucket = f"arn:{Aws.PARTITION}:s3:::{lane.bucket}"
        folder = lane.prefix.endswith("/")
        files = f"{bucket}/{lane.prefix}*" if folder else f"{bucket}/{lane.prefix}"
        read = ["s3:GetObject"]
        found.append(iam.PolicyStatement(sid=f"Weights{number}", actions=read, resources=[files]))
        if folder:
            found.append(
                iam.PolicyStatement(
                    sid=f"Listing{number}",
                    actions=["s3:ListBucket"],
                    resources=[bucket],
                    conditions={"StringLike": {"s3:prefix": f"{lane.prefix}*"}},
                )
            )
    return found


def _version(template: ec2.LaunchTemplate) -> dict[str, str]:
    assert template.launch_template_id is not None
    return {
        "launchTemplateId": template.launch_template_id,
        "version": template.latest_version_number,
    }


def _with_spot(template: ec2.LaunchTemplate, by_the_hour: int) -> dict[str, Any]:
    return {
        "launchTemplate": {"launchTemplateSpecification": _version(template)},
        "instancesDistribution": {
            "onDemandBaseCapacity": by_the_hour,
            "onDemandPercentageAboveBaseCapacity": 0,
            "spotAllocationStrategy": "capacity-optimized",
        },
    }


def _first(reservations: Sequence[str]) -> dict[str, Any]:
    """What they don't hold is bought on demand: a reservation of no use is no reason to fail."""
    return {
        "capacityReservationPreference": "capacity-reservations-first",
        "capacityReservationTarget": {"capacityReservationIds": list(reservations)},
    }

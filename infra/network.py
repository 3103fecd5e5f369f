"""The network of a prod stage, or of a router on Fargate: two zones, no NAT, no way out.

AWS is reached through endpoints: S3 and DynamoDB by gateways, which cost nothing, and of the
others, which do, only those that this stage calls. All let this account's principals through, and
nobody else's. A fleet on a public address is out of reach: give it a name inside, or add a NAT of
your own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from router.deploy import parts
from router.deploy.stage import Stage

ZONES: Final = 2
INSIDE: Final = "inside"
PUBLIC: Final = "balancer"
FRONT: Final = "front"  # of fleets on EKS: parts.BALANCER_ADDRESSES
# Regions with a zone that lacks Fargate on arm64, networks of functions or endpoints; accounts have
# it under different letters. So two others, by ids that are the same for all (ECS's guide says it:
# AWS_Fargate-Regions; use1-az3 and cac1-az3 are old zones that many services leave out).
ZONE_IDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "ap-northeast-1": ("apne1-az1", "apne1-az4"),
        "ca-central-1": ("cac1-az1", "cac1-az2"),
        "us-east-1": ("use1-az4", "use1-az6"),
        "us-west-1": ("usw1-az1", "usw1-az3"),
    }
)
# Buckets of AWS's, read on 2026-11-21. Layers: ECR User Guide, Amazon ECR interface VPC endpoints,
# "Minimum Amazon S3 Bucket Permissions" (docs.amazonaws.cn has it alike). Packages: AL2023's
# amazonlinux.repo, and amazonlinux-nvidia.repo of ECS's GPU images (package nvidia-repo-s3), both
# with the mirror list al2023-repos-$awsregion-de612dc2: one name, whichever the region.
AL2023: Final = "de612dc2"
Service = ec2.InterfaceVpcEndpointAwsService


SERVICES: Final[Mapping[str, Service]] = MappingProxyType(  # by the names of parts.endpoints
    {
        "Api": Service.APIGATEWAY,
        "AppConfig": Service.APPCONFIGDATA,
        "Ec2": Service.EC2,
        "EcrApi": Service.ECR,
        "EcrDocker": Service.ECR_DOCKER,
        "Eks": Service.EKS,
        "EksAuth": Service.EKS_AUTH,
        "Ecs": Service.ECS,
        "EcsAgent": Service.ECS_AGENT,
        "EcsTelemetry": Service.ECS_TELEMETRY,
        "Firehose": Service.KINESIS_FIREHOSE,
        "Logs": Service.CLOUDWATCH_LOGS,
        "SageMaker": Service.SAGEMAKER_RUNTIME,
        "SageMakerApi": Service.SAGEMAKER_API,  # the observer's, which looks inside
        "Secrets": Service.SECRETS_MANAGER,
    }
)


def services(stage: Stage) -> dict[str, Service]:
    """Return the AWS services that this stage calls from its network, but S3 and DynamoDB."""
    return {name: SERVICES[name] for name in parts.endpoints(stage)}


class Network(Construct):
    """`callers`: the security group of what calls the endpoints. `api_endpoint`: the only door to
    a private API; None: the API is not private. `doors`: the group of the endpoints. `machines`:
    that of fleets' machines and tasks; None: the stage makes none on ECS. `front`: subnets of the
    balancer before fleets on EKS and of nothing else; None: the stage makes none there.
    """

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        groups = _groups(stage)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=stage.prefix,
            ip_addresses=ec2.IpAddresses.cidr(parts.ADDRESSES),
            max_azs=ZONES,
            nat_gateways=0,
            subnet_configuration=groups,
            restrict_default_security_group=False,  # nothing is in it; it takes a custom resource
        )
        for group in groups:
            if not group.reserved:
                self._place(group.name, stage.region)
        self.inside = ec2.SubnetSelection(subnet_group_name=INSIDE)
        self.front = ec2.SubnetSelection(subnet_group_name=FRONT) if parts.on_eks(stage) else None
        self._log_what_is_refused(stage)
        self.callers = self._group("Callers", "the router", outbound=True)
        for name, (gateway, lets) in {
            "S3": (ec2.GatewayVpcEndpointAwsService.S3, [_own_account(), *_files_of_aws(stage)]),
            "DynamoDb": (ec2.GatewayVpcEndpointAwsService.DYNAMODB, [_own_account()]),
        }.items():
            way = self.vpc.add_gateway_endpoint(name, service=gateway)
            for statement in lets:
                way.add_to_policy(statement)
        self.doors = doors = self._group("Doors", "endpoints of AWS services", outbound=False)
        doors.add_ingress_rule(self.callers, ec2.Port.tcp(443), "the router")
        self.machines = self._machines(doors) if parts.on_ecs(stage) else None
        made = {
            name: self.vpc.add_interface_endpoint(
                name,
                service=service,
                subnets=self.inside,
                security_groups=[doors],
                open=False,
                private_dns_enabled=True,
            )
            for name, service in services(stage).items()
        }
        for name, endpoint in made.items():
            endpoint.add_to_policy(_own_apis() if name == "Api" else _own_account())
        self.api_endpoint = made.get("Api")
        if self.api_endpoint is not None:
            inside = ec2.Peer.ipv4(parts.ADDRESSES)
            doors.add_ingress_rule(inside, ec2.Port.tcp(443), "callers of the private API")

    def _place(self, group: str, region: str) -> None:
        """Put a group's subnets into the zones of ZONE_IDS, where the region has some there."""
        found = self.vpc.select_subnets(subnet_group_name=group).subnets
        for subnet, zone_id in zip(found, ZONE_IDS.get(region, ()), strict=False):
            made = subnet.node.default_child
            assert isinstance(made, ec2.CfnSubnet)
            made.availability_zone, made.availability_zone_id = None, zone_id

    def _group(self, name: str, said: str, *, outbound: bool) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, name, vpc=self.vpc, description=said, allow_all_outbound=outbound
        )

    def _machines(self, doors: ec2.SecurityGroup) -> ec2.SecurityGroup:
        """They reach endpoints and, by its gateway, S3: a public address leads nowhere from here,
        and the numbers of S3's list of them are another in every region.
        """
        made = self._group("Machines", "fleets on ECS", outbound=False)
        made.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "endpoints, and S3's gateway")
        doors.add_ingress_rule(made, ec2.Port.tcp(443), "fleets on ECS")
        return made

    def _log_what_is_refused(self, stage: Stage) -> None:
        log = logs.LogGroup(
            self,
            "FlowLog",
            log_group_name=f"/sluice/{stage.name}/vpc",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        self.vpc.add_flow_log(
            "Refused",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(log),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )


def _groups(stage: Stage) -> list[ec2.SubnetConfiguration]:
    """Return the groups of subnets. One that a stage lacks keeps its addresses free where another
    follows, whose addresses are the same in every stage.
    """
    found = [_subnets(INSIDE, ec2.SubnetType.PRIVATE_ISOLATED)]
    public = stage.compute.on == "fargate" and not stage.private
    if public or parts.on_eks(stage):
        found.append(_subnets(PUBLIC, ec2.SubnetType.PUBLIC, reserved=not public))
    if parts.on_eks(stage):
        found.append(_subnets(FRONT, ec2.SubnetType.PRIVATE_ISOLATED))
    return found


def _subnets(name: str, kind: ec2.SubnetType, *, reserved: bool = False) -> ec2.SubnetConfiguration:
    return ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=22, reserved=reserved)


def _own_account() -> iam.PolicyStatement:
    """Let nobody's credentials but this account's through: what is inside can't be sent away."""
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=["*"],
        resources=["*"],
        conditions={"StringEquals": {"aws:PrincipalAccount": cdk.Aws.ACCOUNT_ID}},
    )


def _files_of_aws(stage: Stage) -> list[iam.PolicyStatement]:
    """Let files be read that AWS hands out to nobody of this account: images' layers where
    containers are pulled, AL2023's packages where machines are made.
    """
    buckets = []
    if "EcrDocker" in parts.endpoints(stage):
        buckets.append(f"prod-{stage.region}-starport-layer-bucket")
    if parts.on_ecs(stage):
        buckets.append(f"al2023-repos-{stage.region}-{AL2023}")
    if not buckets:
        return []
    base = f"arn:{cdk.Aws.PARTITION}:s3:::"
    return [
        iam.PolicyStatement(
            principals=[iam.AnyPrincipal()],
            actions=["s3:GetObject"],
            resources=[f"{base}{bucket}/*" for bucket in buckets],
        )
    ]


def _own_apis() -> iam.PolicyStatement:
    """Let everybody through, to this account's APIs alone: who brings a key and no signature of
    AWS's is nobody to an endpoint, and a condition on the principal would refuse them all.
    """
    base = f"arn:{cdk.Aws.PARTITION}:execute-api:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}"
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=["execute-api:Invoke"],
        resources=[f"{base}:*"],
    )

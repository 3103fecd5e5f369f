"""The network of a prod stage, or of a router on Fargate: two zones, no NAT, no way out.

AWS is reached through endpoints: S3 and DynamoDB by gateways, which cost nothing, and of the
others, which do, only those that this stage calls. A fleet on a public address is out of reach:
give it a name inside, or add a NAT of your own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import permissions
from router.deploy.stage import Stage

ZONES: Final = 2
INSIDE: Final = "inside"
ADDRESSES: Final = "10.0.0.0/16"
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
Service = ec2.InterfaceVpcEndpointAwsService


def services(stage: Stage) -> dict[str, Service]:
    """Return the AWS services that this stage calls from its network, but S3 and DynamoDB."""
    wanted = {"AppConfig": Service.APPCONFIGDATA, "Firehose": Service.KINESIS_FIREHOSE}
    if any(fleet.sagemaker is not None for fleet in stage.catalogue.fleets):
        wanted["SageMaker"] = Service.SAGEMAKER_RUNTIME
        if any(fleet.sagemaker is None for fleet in stage.catalogue.fleets):
            wanted["SageMakerApi"] = Service.SAGEMAKER_API  # the observer's, which looks inside
    if permissions.secret_names(stage):
        wanted["Secrets"] = Service.SECRETS_MANAGER
    if stage.private and stage.compute.on == "lambda":
        wanted["Api"] = Service.APIGATEWAY
    if stage.compute.on == "fargate":
        wanted |= {"EcrApi": Service.ECR, "EcrDocker": Service.ECR_DOCKER}
        wanted["Logs"] = Service.CLOUDWATCH_LOGS
    return wanted


class Network(Construct):
    """`callers`: the security group of what calls the endpoints. `api_endpoint`: the only door to
    a private API; None: the API is not private.
    """

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        subnets = [_subnets(INSIDE, ec2.SubnetType.PRIVATE_ISOLATED)]
        if stage.compute.on == "fargate" and not stage.private:
            subnets.append(_subnets("balancer", ec2.SubnetType.PUBLIC))
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=stage.prefix,
            ip_addresses=ec2.IpAddresses.cidr(ADDRESSES),
            max_azs=ZONES,
            nat_gateways=0,
            subnet_configuration=subnets,
            restrict_default_security_group=False,  # nothing is in it; it takes a custom resource
        )
        for group in subnets:
            self._place(group.name, stage.region)
        self.inside = ec2.SubnetSelection(subnet_group_name=INSIDE)
        self._log_what_is_refused(stage)
        self.callers = self._group("Callers", "the router", outbound=True)
        for name, gateway in {
            "S3": ec2.GatewayVpcEndpointAwsService.S3,
            "DynamoDb": ec2.GatewayVpcEndpointAwsService.DYNAMODB,
        }.items():
            self.vpc.add_gateway_endpoint(name, service=gateway)
        doors = self._group("Doors", "endpoints of AWS services", outbound=False)
        doors.add_ingress_rule(self.callers, ec2.Port.tcp(443), "the router")
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
            inside = ec2.Peer.ipv4(ADDRESSES)
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


def _subnets(name: str, kind: ec2.SubnetType) -> ec2.SubnetConfiguration:
    return ec2.SubnetConfiguration(name=name, subnet_type=kind, cidr_mask=22)


def _own_account() -> iam.PolicyStatement:
    """Let nobody's credentials but this account's through: what is inside can't be sent away."""
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=["*"],
        resources=["*"],
        conditions={"StringEquals": {"aws:PrincipalAccount": cdk.Aws.ACCOUNT_ID}},
    )


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

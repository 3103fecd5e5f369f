"""Fleets on EKS: a cluster in Auto Mode, and all that AWS has to know of them.

What runs in the cluster is written by `sluice deploy --manifests` and applied by whoever may: no
resource here speaks to Kubernetes. The balancer, its names and its target groups are this stack's;
pods come into a group by a TargetGroupBinding of Auto Mode.
"""

from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.lanes.eks_balancer import Balancer
from infra.lanes.eks_roles import Roles, allow_tags
from infra.lanes.image import Images
from infra.lanes.making import Making
from infra.network import Network
from router import lane_names
from router.deploy import parts
from router.deploy.kubernetes import manifests
from router.deploy.kubernetes.common import ACCOUNT, KEDA, KEDA_ACCOUNT
from router.deploy.lane import Lane

VERSION: Final = "1.36"  # the newest that the locked CDK knows
POOLS: Final = ("general-purpose", "system")  # Auto Mode's own, for KEDA and what AWS runs
LOGGED: Final = ("api", "audit", "authenticator", "controllerManager", "scheduler")
KEY_USES: Final = ("kms:Encrypt", "kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant")
ACCESS: Final = "arn:{partition}:eks::aws:cluster-access-policy/{name}"
INTERNAL: Final = "kubernetes.io/role/internal-elb"  # the subnets that the manifests choose by


def make(given: Making) -> None:
    """Make the stack `Eks`. Raises Unmade, image_build.Unbuildable."""
    assert given.network is not None, "such fleets go with size: prod"
    stack = given.stack("Eks", "fleets on EKS: cluster, balancer, roles")
    Eks(stack, "Eks", given=given, network=given.network)


class Eks(Construct):
    """`cluster`: AWS::EKS::Cluster."""

    def __init__(
        self, scope: Construct, construct_id: str, *, given: Making, network: Network
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._network = given.stage, network
        self._roles = Roles(self, "Roles", stage=given.stage, lanes=given.lanes)
        self.cluster = self._cluster()
        allow_tags(self._roles.cluster)
        self._who(KEDA, KEDA_ACCOUNT, "Keda", self._roles.keda(given.state))
        images = Images(given)
        for lane in given.lanes:
            self._weights(lane)
            self._image(lane, images)
        self.balancer = Balancer(
            self, "Balancer", stage=given.stage, network=network, lanes=given.lanes
        )
        self._doors(given)
        for lane in given.lanes:
            group = self.balancer.groups[lane.fleet.id]
            self._output("Target", lane, group.target_group_arn)

    def _subnets(self) -> list[str]:
        found = self._network.vpc.select_subnets(
            subnet_group_name=self._network.inside.subnet_group_name
        )
        for subnet in found.subnets:
            cdk.Tags.of(subnet).add(INTERNAL, "1")
        return found.subnet_ids

    def _cluster(self) -> eks.CfnCluster:
        stage, of = self._stage, eks.CfnCluster
        key = kms.Key(
            self, "Key", description=f"Secrets of {stage.prefix} on EKS", enable_key_rotation=True
        )
        key.grant(self._roles.cluster, *KEY_USES)
        name = lane_names.cluster(stage.name)
        log = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/eks/{name}/cluster",  # EKS writes there, and nowhere else
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        found = eks.CfnCluster(
            self,
            "Cluster",
            name=name,
            version=VERSION,
            role_arn=self._roles.cluster.role_arn,
            # A first deployment that fails elsewhere must be able to take its cluster back: one
            # that is active and protected would stay, and its name refuse the next. It holds
            # nothing that `sluice deploy --manifests` doesn't write again.
            deletion_protection=False,
            upgrade_policy=of.UpgradePolicyProperty(support_type="STANDARD"),
            bootstrap_self_managed_addons=False,  # Auto Mode has them
            access_config=of.AccessConfigProperty(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=False
            ),
            # For the role of these pools EKS makes the access entry, under which machines of our
            # own node classes join too: a second one is refused (409, terraform-aws-eks #3241;
            # docs.aws.amazon.com/eks/latest/userguide/create-node-class.html).
            compute_config=of.ComputeConfigProperty(
                enabled=True, node_pools=list(POOLS), node_role_arn=self._roles.machines.role_arn
            ),
            storage_config=of.StorageConfigProperty(
                block_storage=of.BlockStorageProperty(enabled=True)
            ),
            kubernetes_network_config=of.KubernetesNetworkConfigProperty(
                ip_family="ipv4",
                service_ipv4_cidr=parts.CLUSTER_ADDRESSES,
                elastic_load_balancing=of.ElasticLoadBalancingProperty(enabled=True),
            ),
            resources_vpc_config=of.ResourcesVpcConfigProperty(
                subnet_ids=self._subnets(),
                endpoint_private_access=True,
                endpoint_public_access=False,
            ),
            encryption_config=[
                of.EncryptionConfigProperty(
                    provider=of.ProviderProperty(key_arn=key.key_arn), resources=["secrets"]
                )
            ],
            logging=of.LoggingProperty(
                cluster_logging=of.ClusterLoggingProperty(
                    enabled_types=[of.LoggingTypeConfigProperty(type=each) for each in LOGGED]
                )
            ),
        )
        found.node.add_dependency(log, self._roles, self._network)
        return found

    def _entry(self, name: str, principal: str, policy: str, spaces: list[str]) -> None:
        of = eks.CfnAccessEntry
        scope = of.AccessScopeProperty(type="namespace", namespaces=spaces)
        arn = ACCESS.format(partition=cdk.Aws.PARTITION, name=policy)
        eks.CfnAccessEntry(
            self,
            name,
            cluster_name=self.cluster.ref,
            principal_arn=principal,
            type="STANDARD",
            access_policies=[of.AccessPolicyProperty(access_scope=scope, policy_arn=arn)],
        )

    def _who(self, space: str, account: str, name: str, role: iam.Role) -> None:
        eks.CfnPodIdentityAssociation(
            self,
            f"{name}Identity",
            cluster_name=self.cluster.ref,
            namespace=space,
            service_account=account,
            role_arn=role.role_arn,
        )

    def _weights(self, lane: Lane) -> None:
        """Say who the fleet's pods are."""
        space = lane_names.namespace(lane.fleet.id)
        title = manifests.output("Weights", lane)
        self._who(space, ACCOUNT, title, self._roles.weights(lane, title))

    def _image(self, lane: Lane, images: Images) -> None:
        """Tell the manifests of an image that the stage makes."""
        image = images.of(lane, cdk.Stack.of(self))
        if image.made_in is not None:
            self._output("Image", lane, image.uri)

    def _doors(self, given: Making) -> None:
        """Let the balancer to the engines, the pods to AWS's endpoints, the observer to the API."""
        group = self.cluster.attr_cluster_security_group_id
        for port in sorted({lane.port for lane in given.lanes}):
            self.balancer.reaches(group, port)
        self._tls("Endpoints", self._network.doors.security_group_id, group, "pods and machines")
        self._tls("Api", group, self._network.callers.security_group_id, "the observer")
        role = given.observer.role
        assert role is not None
        arn = f"arn:{cdk.Aws.PARTITION}:eks:{cdk.Aws.REGION}:{cdk.Aws.ACCOUNT_ID}:cluster/"
        spaces = [lane_names.namespace(lane.fleet.id) for lane in given.lanes]
        self._entry("Observer", role.role_arn, "AmazonEKSViewPolicy", spaces)
        given.observer.add_to_role_policy(
            iam.PolicyStatement(
                actions=["eks:DescribeCluster"],
                resources=[f"{arn}{lane_names.cluster(self._stage.name)}"],
            )
        )

    def _tls(self, name: str, to: str, source: str, said: str) -> None:
        ec2.CfnSecurityGroupIngress(
            self,
            name,
            group_id=to,
            source_security_group_id=source,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description=said,
        )

    def _output(self, what: str, lane: Lane, value: str) -> None:
        name = manifests.output(what, lane)
        made = cdk.CfnOutput(self, name, value=value, description=lane.fleet.id)
        made.override_logical_id(name)

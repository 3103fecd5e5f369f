"""Who is who on EKS: the cluster, its machines, KEDA, and what fetches each fleet's weights.

Cluster and machines have AWS's own policies, as Auto Mode asks for them
(docs.aws.amazon.com/eks/latest/userguide/auto-learn-iam.html); pods have what they call, no more.
"""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.reasons import acknowledge
from infra.state import State
from router import lane_names
from router.deploy.kubernetes.common import node_role
from router.deploy.lane import Lane
from router.deploy.stage import Stage

OF_CLUSTER: Final = (
    "AmazonEKSClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
)
OF_NODE: Final = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
NAME: Final = "eks:eks-cluster-name"
WHY_MANAGED: Final = "Auto Mode asks for AWS's own policies, which AWS extends as it needs to"
WHY_ANY: Final = (
    "machines, disks and interfaces have no ARN before they are made: the condition lets only "
    "those of this cluster be made, with tags of ours for the bill"
)


class Roles(Construct):
    """`cluster` is what Auto Mode acts as, `machines` what its nodes are."""

    def __init__(
        self, scope: Construct, construct_id: str, *, stage: Stage, lanes: Sequence[Lane]
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._lanes = stage, lanes
        trusted = iam.SessionTagsPrincipal(iam.ServicePrincipal("eks.amazonaws.com"))
        self.cluster = iam.Role(
            self, "Cluster", assumed_by=trusted, managed_policies=_managed(OF_CLUSTER)
        )
        self.machines = iam.Role(
            self,
            "Node",
            role_name=node_role(stage.prefix, stage.region),  # the manifests name it
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=_managed(OF_NODE),
        )
        for role, names in ((self.cluster, OF_CLUSTER), (self.machines, OF_NODE)):
            arn = "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/"
            acknowledge(role, {f"{arn}{name}]": WHY_MANAGED for name in names})

    def keda(self, state: State) -> iam.Role:
        """Return who looks for wake items in the ledger, and sees no other item."""
        role = self._pods("Keda")
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["dynamodb:Query"],
                resources=[state.table.table_arn],
                conditions={
                    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [lane_names.WAKE_PK]}
                },
            )
        )
        if state.key is not None:
            role.add_to_policy(
                iam.PolicyStatement(actions=["kms:Decrypt"], resources=[state.key.key_arn])
            )
        return role

    def weights(self, lane: Lane, title: str) -> iam.Role:
        """Return who reads this fleet's weights."""
        role = self._pods(title)
        bucket = f"arn:{Aws.PARTITION}:s3:::{lane.bucket}"
        below = lane.prefix if lane.prefix.endswith(".gguf") else f"{lane.prefix}*"
        role.add_to_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[f"{bucket}/{below}"])
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket],
                conditions={"StringLike": {"s3:prefix": [below]}},
            )
        )
        if below.endswith("*"):
            found = f"IAM5[Resource::arn:<AWS::Partition>:s3:::{lane.bucket}/{below}]"
            acknowledge(role, {found: "the files of one model, in a folder of its own"})
        return role

    def _pods(self, name: str) -> iam.Role:
        principal = iam.ServicePrincipal("pods.eks.amazonaws.com")
        return iam.Role(self, name, assumed_by=iam.SessionTagsPrincipal(principal))


def allow_tags(cluster: iam.Role) -> None:
    """Let Auto Mode give machines tags beside its own: AWS's policies forbid all others
    (the guide's `Custom AWS tags for EKS Auto resources`).
    """
    own = {f"aws:RequestTag/{NAME}": f"${{aws:PrincipalTag/{NAME}}}"}
    some = "aws:RequestTag/eks:kubernetes"
    kinds = {
        ("CreateFleet", "RunInstances", "CreateLaunchTemplate"): (
            f"{some}-node-class-name",
            f"{some}-node-pool-name",
        ),
        ("CreateVolume", "CreateSnapshot"): (),
        ("CreateNetworkInterface",): (f"{some}-cni-node-name",),
    }
    for actions, tags in kinds.items():
        like = {"StringLike": dict.fromkeys(tags, "*")} if tags else {}
        cluster.add_to_policy(
            iam.PolicyStatement(
                actions=[f"ec2:{action}" for action in actions],
                resources=["*"],
                conditions={"StringEquals": own, **like},
            )
        )
    acknowledge(cluster, {"IAM5[Resource::*]": WHY_ANY})


def _managed(names: Sequence[str]) -> list[iam.IManagedPolicy]:
    return [iam.ManagedPolicy.from_aws_managed_policy_name(name) for name in names]

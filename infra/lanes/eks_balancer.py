"""The balancer before fleets of EKS: inside the network alone, one name and one group each."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Duration, Tags
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

from infra.network import Network
from infra.reasons import acknowledge
from router import lane_names
from router.deploy.kubernetes.pods import drain_seconds
from router.deploy.lane import Lane
from router.deploy.stage import Stage

OURS: Final = "eks:eks-cluster-name"  # Auto Mode fills no group without it: its role may not


class Balancer(Construct):
    """`groups`: by fleet id, its target group, which a TargetGroupBinding fills with its pods."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        network: Network,
        lanes: Sequence[Lane],
    ) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._network = stage, network
        self._group = ec2.SecurityGroup(
            self,
            "Group",
            vpc=network.vpc,
            description="before fleets on EKS",
            allow_all_outbound=False,
        )
        self._group.add_ingress_rule(network.callers, ec2.Port.tcp(443), "the router")
        self._balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=network.vpc,
            internet_facing=False,
            vpc_subnets=network.front,  # pods tell it by its addresses
            security_group=self._group,
            idle_timeout=Duration.minutes(15),
            drop_invalid_header_fields=True,
            deletion_protection=False,  # as of the cluster, which says why
        )
        acknowledge(self._balancer, {"ELB2": "every request has its receipt, which says more"})
        assert stage.lanes_domain is not None, "fleets on EKS have one"
        domain = stage.lanes_domain.domain
        self._zone = route53.PrivateHostedZone(self, "Zone", zone_name=domain, vpc=network.vpc)
        listener = self._listener()
        self.groups = {
            lane.fleet.id: self._lane(listener, lane, rank) for rank, lane in enumerate(lanes, 1)
        }

    def reaches(self, group_id: str, port: int) -> None:
        """Let the balancer to this port of what has the group, and no further."""
        ours = self._group.security_group_id
        ec2.CfnSecurityGroupEgress(
            self,
            f"Out{port}",
            group_id=ours,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            destination_security_group_id=group_id,
        )
        ec2.CfnSecurityGroupIngress(
            self,
            f"In{port}",
            group_id=group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            source_security_group_id=ours,
            description="the balancer, to the engines",
        )

    def _listener(self) -> elb.ApplicationListener:
        domain = self._stage.lanes_domain
        assert domain is not None, "fleets on EKS have one"
        certificate = acm.Certificate.from_certificate_arn(self, "Cert", domain.certificate)
        return self._balancer.add_listener(
            "Https",
            port=443,
            certificates=[certificate],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            open=False,
            default_action=elb.ListenerAction.fixed_response(404),
        )

    def _lane(
        self, listener: elb.ApplicationListener, lane: Lane, rank: int
    ) -> elb.ApplicationTargetGroup:
        domain = self._stage.lanes_domain
        assert domain is not None, "fleets on EKS have one"
        host, title = f"{lane.name}.{domain.domain}", lane.name.title().replace("-", "")
        group = elb.ApplicationTargetGroup(
            self,
            f"{title}Group",
            vpc=self._network.vpc,
            target_type=elb.TargetType.IP,
            port=lane.port,
            protocol=elb.ApplicationProtocol.HTTP,
            deregistration_delay=Duration.seconds(drain_seconds(self._stage)),
            load_balancing_algorithm_type=(
                elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS
            ),
            health_check=elb.HealthCheck(
                path=lane.health,
                # An engine under its whole load answers late, and is none the worse for it.
                interval=Duration.seconds(30),
                timeout=Duration.seconds(10),
                healthy_threshold_count=2,
                unhealthy_threshold_count=10,
            ),
        )
        Tags.of(group).add(OURS, lane_names.cluster(self._stage.name))
        Tags.of(group).add("sluice:fleet", lane.fleet.id)
        elb.ApplicationListenerRule(
            self,
            f"{title}Rule",
            listener=listener,
            priority=rank,
            conditions=[elb.ListenerCondition.host_headers([host])],
            action=elb.ListenerAction.forward([group]),
        )
        to = route53.RecordTarget.from_alias(targets.LoadBalancerTarget(self._balancer))
        route53.ARecord(self, f"{title}Name", zone=self._zone, record_name=lane.name, target=to)
        return group

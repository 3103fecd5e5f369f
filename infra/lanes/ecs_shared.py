"""What the fleets on ECS share: cluster, machines, balancer, names.

The machines' groups are here and not in their fleets' stacks, for ECS takes the list of a cluster's
capacity providers as a whole, and a service is made after its provider is in that list. They cost
nothing and need no machine to be made; what may fail for lack of machines is a service, and each
host's services are in a stack of their own.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from infra.lanes.ecs_counts import Counts
from infra.lanes.ecs_machines import Machines, log_name
from infra.lanes.ecs_task import host_port
from infra.network import Network
from infra.reasons import acknowledge
from router import lane_names
from router.deploy.lane import Lane
from router.deploy.stage import Stage

SILENT: Final = Duration.minutes(15)  # a stream may say nothing for so long, as on the way before
PRIORITIES: Final = 50_000  # of a listener's rules


class Shared(Construct):
    """`machines` by host; `tasks`: the group of tasks with an address of their own."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        stage: Stage,
        network: Network,
        hosts: Mapping[str, Sequence[Lane]],
    ) -> None:
        super().__init__(scope, construct_id)
        assert stage.lanes_domain is not None, "the stage's reader looks first"
        self.network, self.domain = network, stage.lanes_domain.domain
        log = logs.LogGroup(
            self,
            "MachinesLog",
            log_group_name=log_name(stage),
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.machines = {
            host: Machines(
                self, f"Machines-{host}", stage=stage, network=network, sharing=sharing, log=log
            )
            for host, sharing in hosts.items()
        }
        self._cluster(stage)
        self.counts = Counts(self, "Counts", stage=stage)
        self.tasks = ec2.SecurityGroup(
            self, "Tasks", vpc=network.vpc, description="replicas", allow_all_outbound=False
        )
        lanes = [lane for sharing in hosts.values() for lane in sharing]
        self.priorities = priorities(lane.name for lane in lanes)
        self.zone = route53.PrivateHostedZone(self, "Zone", zone_name=self.domain, vpc=network.vpc)
        self.balancer = self._balancer(stage)
        self.listener = self._listener(stage.lanes_domain.certificate)
        self._let_in(hosts)

    def _cluster(self, stage: Stage) -> None:
        name = lane_names.cluster(stage.name)
        made = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=name,
            cluster_settings=[{"name": "containerInsights", "value": "enabled"}],
        )
        found = self.machines.values()
        providers = [p for each in found for p in (each.standing, each.block) if p is not None]
        association = ecs.CfnClusterCapacityProviderAssociations(
            self,
            "Providers",
            cluster=made.ref,
            capacity_providers=providers,
            default_capacity_provider_strategy=[],
        )
        association.node.add_dependency(*found)

    def _balancer(self, stage: Stage) -> elb.ApplicationLoadBalancer:
        self._callers = ec2.SecurityGroup(
            self,
            "Balancer",
            vpc=self.network.vpc,
            description="balancer of the fleets",
            allow_all_outbound=False,
        )
        self._callers.add_ingress_rule(self.network.callers, ec2.Port.tcp(443), "the router")
        made = elb.ApplicationLoadBalancer(
            self,
            "Alb",
            vpc=self.network.vpc,
            internet_facing=False,
            vpc_subnets=self.network.inside,
            security_group=self._callers,
            idle_timeout=SILENT,
            drop_invalid_header_fields=True,
            deletion_protection=stage.size == "prod",
        )
        acknowledge(made, {"ELB2": "the router alone calls it, and each request has its receipt"})
        return made

    def _listener(self, certificate: str) -> elb.ApplicationListener:
        return self.balancer.add_listener(
            "Https",
            port=443,
            certificates=[acm.Certificate.from_certificate_arn(self, "Cert", certificate)],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            open=False,
            default_action=elb.ListenerAction.fixed_response(
                404, content_type="application/json", message_body=no_such_fleet(self.domain)
            ),
        )

    def _let_in(self, hosts: Mapping[str, Sequence[Lane]]) -> None:
        """The balancer reaches tasks where they listen, and nothing else reaches them."""
        machines = self.network.machines
        assert machines is not None, "a stage with fleets on ECS has it"
        for sharing in hosts.values():
            to = machines if len(sharing) > 1 else self.tasks
            for lane in sharing:
                port = host_port(lane, sharing)
                self._allow(to, port, "machines" if len(sharing) > 1 else "tasks")

    def _allow(self, to: ec2.SecurityGroup, port: int, what: str) -> None:
        name = f"To-{what}-{port}"
        if self.node.try_find_child(name) is not None:
            return
        balancer = self._callers.security_group_id
        ec2.CfnSecurityGroupEgress(
            self,
            name,
            group_id=balancer,
            destination_security_group_id=to.security_group_id,
            description=what,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )
        ec2.CfnSecurityGroupIngress(
            self,
            f"From-{what}-{port}",
            group_id=to.security_group_id,
            source_security_group_id=balancer,
            description="balancer of the fleets",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
        )


def priorities(names: Iterable[str]) -> dict[str, int]:
    """Return each fleet's place among the listener's rules, which no other fleet's coming changes:
    CloudFormation can't swap two. (No two of them match the same name: their order means nothing.)
    """
    found: dict[int, str] = {}
    for name in sorted(names):
        place = zlib.crc32(name.encode()) % PRIORITIES
        while place in found:
            place = (place + 1) % PRIORITIES
        found[place] = name
    return {name: place + 1 for place, name in found.items()}


def no_such_fleet(domain: str) -> str:
    """Return what the balancer says to a name that is no fleet's, in OpenAI's envelope."""
    return json.dumps(
        {"error": {"message": f"no fleet has this name under {domain}", "type": "not_found"}}
    )

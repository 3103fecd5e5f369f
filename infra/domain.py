"""The name under which a stage is reached."""

from aws_cdk import aws_route53 as route53
from constructs import Construct

from router.deploy.stage import Domain


def record(scope: Construct, domain: Domain, target: route53.RecordTarget) -> None:
    """Give the domain's name to what serves it, in the hosted zone that the stage names."""
    assert domain.zone is not None
    zone = route53.HostedZone.from_hosted_zone_attributes(
        scope, "Zone", hosted_zone_id=domain.zone, zone_name=domain.name
    )
    route53.ARecord(scope, "Record", zone=zone, record_name=f"{domain.name}.", target=target)

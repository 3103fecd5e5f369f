"""The custom resource that says how many tasks of a service are wanted now.

CloudFormation sends a service's whole template with every change of it, and the count is what
scaling, the waker or a Capacity Block's date made of it meanwhile: what is there stays. A service
that isn't there yet begins at none, and its scalable target raises it to its least capacity.
"""

from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]


def on_event(event: Event, _context: object) -> dict[str, Any]:
    """Return the count. Raises botocore.exceptions.ClientError."""
    import boto3  # noqa: PLC0415  (Lambda's own; the tests of what follows bring their client)

    return counted(event, boto3.client("ecs"))


def counted(event: Event, ecs: Any) -> dict[str, Any]:  # noqa: ANN401 (a client)
    """Return the resource, with `Count`: nothing is changed, whatever is asked for."""
    wanted = event["ResourceProperties"]
    known = {"PhysicalResourceId": event.get("PhysicalResourceId") or wanted["Service"]}
    if event["RequestType"] == "Delete":
        return known
    told = ecs.describe_services(cluster=wanted["Cluster"], services=[wanted["Service"]])
    counts = [one["desiredCount"] for one in told["services"] if one["status"] == "ACTIVE"]
    return {**known, "Data": {"Count": counts[0] if counts else 0}}

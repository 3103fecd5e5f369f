"""What a cluster of EKS says of a fleet's deployment: how many pods it wants, how many are ready.

Two calls of the cluster's own API would need a library of 30 MB: this is one GET over TLS, with the
certificate that EKS names, and as whom the function is, by a signed URL that the cluster shows to
STS (github.com/kubernetes-sigs/aws-iam-authenticator, API Authorization from Outside a Cluster).
"""

import base64
import json
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from backends import regions
from router import lane_names

WITHIN_S: Final = 2.0
OK: Final = 200
GONE: Final = 404
TOKEN_S: Final = 60
MOST_BYTES: Final = 1_000_000


class Untold(Exception):  # noqa: N818  (it reads as what it says)
    """The cluster did not tell; says why, without what it was told."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's API is. `authority`: who signs its certificate, as PEM."""

    endpoint: str
    authority: str


def place(client: Any, name: str) -> Place:  # noqa: ANN401 (boto3 makes its classes as it goes)
    """Ask EKS. Raises botocore's errors."""
    found = client.describe_cluster(name=name)["cluster"]
    authority = base64.b64decode(found["certificateAuthority"]["data"]).decode("ascii")
    return Place(found["endpoint"], authority)


def token(session: Any, region: str, name: str) -> str:  # noqa: ANN401 (as above)
    """Return who asks, good for a minute or more on this cluster alone. Calls nobody."""
    from botocore.model import ServiceId  # noqa: PLC0415  (only where a fleet is on EKS)
    from botocore.signers import RequestSigner  # noqa: PLC0415  (as above)

    credentials, events = session.get_credentials(), session.get_component("event_emitter")
    signer = RequestSigner(ServiceId("STS"), region, "sts", "v4", credentials, events)
    query = "Action=GetCallerIdentity&Version=2011-06-15"
    request = {
        "method": "GET",
        "url": f"https://sts.{region}.{regions.suffix(region)}/?{query}",
        "body": {},
        "headers": {"x-k8s-aws-id": name},
        "context": {},
    }
    signed = signer.generate_presigned_url(
        request, region_name=region, expires_in=TOKEN_S, operation_name=""
    )
    return "k8s-aws-v1." + base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")


def pods(at: Place, bearer: str, fleet_id: str) -> tuple[int, int]:
    """Ask once: return how many pods of the fleet are ready, and how many are wanted.

    Raises Untold.
    """
    space, name = lane_names.namespace(fleet_id), lane_names.slug(fleet_id)
    found = _get(at, bearer, f"/apis/apps/v1/namespaces/{space}/deployments/{name}")
    try:
        ready, wanted = found["status"].get("readyReplicas", 0), found["spec"].get("replicas", 1)
        return int(ready), int(wanted)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Untold("no deployment") from None


def _get(at: Place, bearer: str, path: str) -> Any:  # noqa: ANN401 (JSON)
    host = urlsplit(at.endpoint)
    assert host.hostname is not None, "EKS names one"
    trusted = ssl.create_default_context(cadata=at.authority)
    calling = HTTPSConnection(host.hostname, host.port, timeout=WITHIN_S, context=trusted)
    try:
        calling.request("GET", path, headers={"authorization": f"Bearer {bearer}"})
        with calling.getresponse() as answer:
            if answer.status == GONE:
                raise Untold("there is no such deployment: its manifests are not applied")
            if answer.status != OK:
                raise Untold(f"HTTP {answer.status}")
            found = json.loads(answer.read(MOST_BYTES))
    except (OSError, HTTPException, ValueError) as exc:
        raise Untold(type(exc).__name__) from None
    finally:
        calling.close()
    return found

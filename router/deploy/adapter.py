"""The Lambda Web Adapter: an ordinary HTTP server as a Lambda function.

https://aws.github.io/aws-lambda-web-adapter/getting-started/zip-packages.html, version 1.0 (layer
26). Regions: the adapter's own list of where it publishes (.github/workflows/prod.json). In China
there is no layer for arm64. GovCloud has none at all: publish the layer there yourself.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

VERSION: Final = 26
_COMMERCIAL: Final = "753240598075"
_CHINA: Final[Mapping[str, str]] = MappingProxyType(
    {"cn-north-1": "041581134020", "cn-northwest-1": "069767869989"}
)
_ZONES: Final[Mapping[str, str]] = MappingProxyType(  # the regions of a zone, by their numbers
    {
        "af-south": "1",
        "ap-east": "1",
        "ap-northeast": "123",
        "ap-south": "12",
        "ap-southeast": "1234",
        "ca-central": "1",
        "eu-central": "12",
        "eu-north": "1",
        "eu-south": "12",
        "eu-west": "123",
        "me-central": "1",
        "me-south": "1",
        "sa-east": "1",
        "us-east": "12",
        "us-west": "12",
    }
)
REGIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "aws": frozenset(f"{zone}-{number}" for zone, all_ in _ZONES.items() for number in all_),
        "aws-cn": frozenset(_CHINA),
        "aws-us-gov": frozenset(),
    }
)
KNOWN: Final = (
    f"(known: {', '.join(sorted(REGIONS['aws'] | REGIONS['aws-cn']))}; elsewhere use `router: "
    "{on: fargate}`)"
)


def layer_arn(partition: str, region: str) -> str | None:
    """Return the layer for this region's functions; None: there is none."""
    if region not in REGIONS.get(partition, ()):
        return None
    account = _CHINA.get(region, _COMMERCIAL)
    machine = "X86" if is_x86(partition) else "Arm64"
    return f"arn:{partition}:lambda:{region}:{account}:layer:LambdaAdapterLayer{machine}:{VERSION}"


def is_x86(partition: str) -> bool:
    """Return whether the router's bundle is for x86_64 there: one processor for all of it."""
    return partition == "aws-cn"


def environment() -> Mapping[str, str]:
    """Return what tells the adapter how to run us. A request goes on only once the app is well."""
    return {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
        "AWS_LWA_INVOKE_MODE": "response_stream",
        "AWS_LWA_READINESS_CHECK_PATH": "/healthz",
        "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "200",
        "AWS_LWA_PORT": "8080",
        "PORT": "8080",
    }

"""A fleet of the catalogue at SageMaker: which keys go together, and where it is called. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from backends import regions
from backends.base import SageMakerTarget
from backends.prices import partition

KIND = "sagemaker"

OWN = ("endpoint", "protocol", "inference_component", "variant", "prefix_aware_id")
_INVOKE_ONLY = ("variant", "prefix_aware_id")  # the OpenAI path has no place for them


def url(region: str) -> str:
    return f"https://runtime.sagemaker.{region}.{regions.suffix(region)}"


def target(row: Mapping[str, Any]) -> SageMakerTarget | None:
    if row["kind"] != KIND:
        return None
    return SageMakerTarget(
        endpoint=row["endpoint"],
        region=row["region"],
        inference_component=row.get("inference_component"),
        invoke=row.get("protocol") == "invoke_endpoint",
        variant=row.get("variant"),
        prefix_aware_id=row.get("prefix_aware_id"),
    )


def upstream_model(row: Mapping[str, Any]) -> str:
    """Return what is sent on by itself: the endpoint is the model, and vLLM takes no other name
    than its own, or none.
    """
    return "" if row["kind"] == KIND else str(row["model"])


def contradictions(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the key and what is wrong with it."""
    if row["kind"] != KIND:
        for key in OWN:
            if key in row:
                yield key, f"`{key}` goes with `kind: sagemaker`"
        return
    if "endpoint" not in row:
        yield "kind", "`kind: sagemaker` needs `endpoint`: the name of the endpoint"
    if not regions.NAME.fullmatch(row["region"]):
        yield "region", f"`{row['region']}` is no AWS region (valid: as us-east-1)"
    if "api_key" in row:
        said = "SageMaker is called with AWS credentials (remove `api_key`)"
        yield "api_key", said
    yield from _not_in_china(row)
    if row.get("protocol") != "invoke_endpoint":
        for key in _INVOKE_ONLY:
            if key in row:
                yield key, f"`{key}` goes with `protocol: invoke_endpoint`"


def _not_in_china(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what SageMaker lacks in aws-cn: inference components (CloudFormation's schemas of both
    regions, cfn-lint 1.58), and the OpenAI path, of whose token no host is documented there.
    """
    if partition(row["region"]) != "aws-cn":
        return
    if row.get("protocol") != "invoke_endpoint":
        said = "SageMaker's OpenAI path is not known in the regions of China: write "
        yield "protocol", f"{said}`protocol: invoke_endpoint`"
    if "inference_component" in row:
        said = "SageMaker in China has no inference components (leave it out)"
        yield "inference_component", said

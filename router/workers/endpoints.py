"""What SageMaker says of an endpoint: how many instances are there, and in which state it is."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backends.base import SageMakerTarget, Seen
from backends.fleet_model import FleetModel
from router.runtime import LOG
from router.workers.aws_errors import code_of

SERVING: Final = frozenset(
    {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}
)
COMING: Final = frozenset({"Creating"})


@dataclass(frozen=True, slots=True)
class Described:
    """`replicas`: instances of the variants, or copies of the component; None: it doesn't say."""

    state: Seen
    replicas: int | None


Describe = Callable[[FleetModel], Described | None]
"""Asks for a fleet's replicas; None: it has none to tell of, or they are not told. May block."""


def describing() -> Describe:
    """Return what asks SageMaker; its clients are made when a fleet needs one."""

    @functools.cache
    def client(region: str) -> Any:  # noqa: ANN401 (boto3 makes its classes as it goes)
        import boto3  # noqa: PLC0415  (0.2 s, and only where an endpoint is)
        from botocore.config import Config  # noqa: PLC0415  (as above)

        quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        return boto3.Session().client("sagemaker", region_name=region, config=quick)

    def describe(model: FleetModel) -> Described | None:
        target = model.fleet.sagemaker
        if target is None:
            return None
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

        try:
            return described(client(target.region), target)
        except (BotoCoreError, ClientError) as exc:
            LOG.error("fleet %s: SageMaker does not tell: %s", model.fleet.id, code_of(exc))
            return None

    return describe


def described(client: Any, target: SageMakerTarget) -> Described:  # noqa: ANN401 (boto3's)
    """Ask once. Raises botocore's errors."""
    if target.inference_component is not None:
        name = target.inference_component
        answer = client.describe_inference_component(InferenceComponentName=name)
        status = answer["InferenceComponentStatus"]
        runtime = answer.get("RuntimeConfig", {})
        return _state(status, runtime.get("CurrentCopyCount"), runtime.get("DesiredCopyCount"))
    answer = client.describe_endpoint(EndpointName=target.endpoint)
    variants = [
        variant
        for variant in answer.get("ProductionVariants", ())
        if target.variant is None or variant["VariantName"] == target.variant
    ]
    status = answer["EndpointStatus"]
    return _state(
        status, _sum(variants, "CurrentInstanceCount"), _sum(variants, "DesiredInstanceCount")
    )


def _state(status: str, now: int | None, wanted: int | None) -> Described:
    if status not in SERVING:
        return Described(Seen("loading" if status in COMING else "down"), 0)
    if now == 0:
        return Described(Seen("loading" if wanted else "down"), 0)
    return Described(Seen("up"), now)


def _sum(variants: list[Mapping[str, Any]], name: str) -> int | None:
    """Return the sum over the variants; None: one doesn't say, as a serverless one."""
    counts = [variant.get(name) for variant in variants]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None

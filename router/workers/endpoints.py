"""What SageMaker says of an endpoint, ECS of a service, a cluster of EKS of a deployment: how many
replicas are there, and in which state it is.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from backends.base import SageMakerTarget, Seen
from backends.fleet_model import FleetModel
from router import lane_names
from router.runtime import LOG
from router.workers import kubernetes
from router.workers.aws_errors import code_of

ACTIVE: Final = "ACTIVE"
SERVING: Final = frozenset(
    {"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"}
)
COMING: Final = frozenset({"Creating"})


@dataclass(frozen=True, slots=True)
class Described:
    """`replicas`: instances of the variants, copies of the component, tasks of the service that
    run, whether they answer yet or not, or pods that are ready; None: it doesn't say.
    """

    state: Seen
    replicas: int | None


Describe = Callable[[FleetModel], Described | None]
"""Asks for a fleet's replicas; None: it has none to tell of, or they are not told. May block."""


class NoSuchService(Exception):  # noqa: N818  (what it says)
    """ECS has no such service, or it is being deleted."""


def describing(stage: str) -> Describe:
    """Return what asks SageMaker, ECS and EKS; its clients are made when a fleet needs one."""

    @functools.cache
    def client(service: Literal["ecs", "sagemaker"], region: str) -> Any:  # noqa: ANN401 (boto3 makes its classes as it goes)
        import boto3  # noqa: PLC0415  (0.2 s, and only where an endpoint is)
        from botocore.config import Config  # noqa: PLC0415  (as above)

        quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        return boto3.Session().client(service, region_name=region, config=quick)

    on_eks = _on_eks(stage)

    def describe(model: FleetModel) -> Described | None:
        fleet, target = model.fleet, model.fleet.sagemaker
        if fleet.runs is not None and fleet.runs.on == "eks":
            return on_eks(model)
        if target is None and (fleet.runs is None or fleet.runs.on != "ecs"):
            return None
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

        who = "ECS" if target is None else "SageMaker"
        try:
            if target is not None:
                return described(client("sagemaker", target.region), target)
            names = lane_names.cluster(stage), *lane_names.services(stage, fleet)
            return described_service(client("ecs", fleet.region), *names)
        except (BotoCoreError, ClientError, NoSuchService) as exc:
            LOG.error("fleet %s: %s does not tell: %s", fleet.id, who, code_of(exc))
            return None

    return describe


def _on_eks(stage: str) -> Describe:
    name = lane_names.cluster(stage)

    @functools.cache
    def place(region: str) -> kubernetes.Place:
        import boto3  # noqa: PLC0415  (as above)
        from botocore.config import Config  # noqa: PLC0415  (as above)

        quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        return kubernetes.place(
            boto3.Session().client("eks", region_name=region, config=quick), name
        )

    @functools.cache
    def session() -> Any:  # noqa: ANN401 (botocore's)
        import botocore.session  # noqa: PLC0415  (as above)

        return botocore.session.Session()

    def describe(model: FleetModel) -> Described | None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

        fleet = model.fleet
        try:
            at = place(fleet.region)
            who = kubernetes.token(session(), fleet.region, name)
            ready, wanted = kubernetes.pods(at, who, fleet.id)
            return _state("InService", ready, wanted)
        except (BotoCoreError, ClientError) as exc:
            LOG.error("fleet %s: EKS does not tell: %s", fleet.id, code_of(exc))
        except kubernetes.Untold as exc:
            LOG.error("fleet %s: its cluster does not tell: %s", fleet.id, exc)
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


def described_service(client: Any, cluster: str, *names: str) -> Described:  # noqa: ANN401 (boto3's)
    """Ask once for all services of a fleet. Raises botocore's errors and NoSuchService.

    A fleet that is wanted no more is asleep, even while its last tasks end.
    """
    found = services_of(client, cluster, *names)
    wanted = sum(each["desiredCount"] for each in found)
    running = sum(each["runningCount"] for each in found)
    if not wanted:
        return Described(Seen("down"), running)
    return Described(Seen("up" if running else "loading"), running)


def services_of(client: Any, cluster: str, *names: str) -> Sequence[Mapping[str, Any]]:  # noqa: ANN401 (boto3's)
    """Return ECS's descriptions of the services. Raises botocore's errors and NoSuchService."""
    told = client.describe_services(cluster=cluster, services=[*names])["services"]
    found: Sequence[Mapping[str, Any]] = [each for each in told if each["status"] == ACTIVE]
    if len(found) < len(names):
        raise NoSuchService
    return found


def together(told: Described, seen: Sequence[Seen], urls: int) -> tuple[Seen, ...]:
    """Return what is so of each url, by AWS and by the engine itself, where that can be asked.

    Whoever runs and doesn't answer is still loading its model: behind a balancer that can't be told
    from one that has stopped, and whichever it is, nothing is sent there.
    """
    if told.state.state != "up" or not seen:
        return (told.state,) * urls
    return tuple(each if each.state in ("up", "unknown") else Seen("loading") for each in seen)


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

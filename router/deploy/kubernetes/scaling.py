"""How many pods a fleet on EKS has: KEDA, by what the engine says of itself, and the wake item.

The engine's requests, running and waiting, are asked of every pod. Both are triggers of their own,
for a formula over them would fail at zero pods, where nobody answers, and a fleet could not wake:
KEDA takes the larger answer. More than `concurrency_each` never run in a pod, so the threshold is
crossed as on ECS; far above it the growth takes a second look.
"""

from collections.abc import Iterator
from typing import Final

from backends.scaling import POLL_S, target_streams
from router import lane_names
from router.deploy.engine_start import starting_s
from router.deploy.kubernetes.common import (
    LEDGER,
    Object,
    labels,
    made,
    min_run_seconds,
    space,
    wake_seconds,
)
from router.deploy.kubernetes.pods import as_json
from router.deploy.lane import Lane
from router.deploy.stage import Stage
from router.ledger import dynamo_table

REQUESTS: Final = {
    "cpu": ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    "cuda": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "neuron": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
}
LONGEST_WINDOW_S: Final = 3600  # autoscaling/v2 takes no more
API: Final = "keda.sh/v1alpha1"


def ledger() -> Object:
    """Return how KEDA's operator reads the ledger: as itself, by its Pod Identity."""
    spec = {"podIdentity": {"provider": "aws"}}
    return made(API, "ClusterTriggerAuthentication", LEDGER, spec)


def scaled(stage: Stage, lane: Lane) -> Object:
    replicas, calm = lane.fleet.replicas, min_run_seconds(lane)
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": lane.name},
        "minReplicaCount": replicas.min,
        "maxReplicaCount": replicas.max,
        "pollingInterval": POLL_S,
        "cooldownPeriod": cooldown_s(lane),
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": min(calm, LONGEST_WINDOW_S),
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    }
                }
            }
        },
        "triggers": [*_busy(lane), _asked(stage, lane)],
    }
    return made(API, "ScaledObject", lane.name, spec, space=space(lane), labels=labels(lane))


def cooldown_s(lane: Lane) -> int:
    """Return how long after its last request or wake item a fleet keeps its last pod.

    The item is there for the fleet's time to wake and its least run. An engine that compiles for
    longer answers nothing meanwhile, so KEDA knows of no other reason to keep its pod; it goes to
    zero when none was there for the cooldown (keda.sh/docs/2.20/reference/scaledobject-spec).
    """
    calm = min_run_seconds(lane)
    return max(calm, starting_s(lane) - wake_seconds(lane) - calm)


def threshold(lane: Lane) -> str:
    """Return the requests of a pod above which one more is wanted."""
    return f"{target_streams(lane.fleet.replicas):g}"


def _busy(lane: Lane) -> Iterator[Object]:
    for name, metric in zip(("running", "waiting"), REQUESTS[lane.family], strict=True):
        yield {
            "type": "metrics-api",
            "name": name,
            "metadata": {
                "url": f"http://{lane.name}.{space(lane)}:{lane.port}/metrics",
                "format": "prometheus",
                "valueLocation": metric,
                "aggregateFromKubeServiceEndpoints": "true",
                "aggregationType": "sum",
                "targetValue": threshold(lane),
            },
        }


def _asked(stage: Stage, lane: Lane) -> Object:
    """Return what keeps one pod for as long as the router's wake item is there."""
    keys = {":pk": {"S": lane_names.WAKE_PK}, ":sk": {"S": lane.fleet.id}}
    return {
        "type": "aws-dynamodb",
        "name": "wake",
        "metadata": {
            "awsRegion": stage.region,
            "tableName": dynamo_table.definition(stage.prefix)["TableName"],
            "keyConditionExpression": "#pk = :pk AND #sk = :sk",
            "expressionAttributeNames": as_json({"#pk": "pk", "#sk": "sk"}),
            "expressionAttributeValues": as_json(keys),
            "targetValue": "1",
        },
        "authenticationRef": {"kind": "ClusterTriggerAuthentication", "name": LEDGER},
    }

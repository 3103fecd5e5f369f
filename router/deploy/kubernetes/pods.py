"""A fleet's engine on EKS: its pods, the address the balancer finds them by, who may reach them.

Pure: the two programs of the container that fetches the weights are given.
"""

import json
import math
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Final

from backends import regions
from router.deploy import engine_start, parts
from router.deploy.kubernetes.common import (
    ACCOUNT,
    HOST,
    KEDA,
    KEDA_OPERATOR,
    Object,
    labels,
    made,
    space,
)
from router.deploy.kubernetes.nodes import EKS, NEURON, architecture
from router.deploy.lane import SERVED_FROM, Lane
from router.deploy.stage import Stage

CONTAINER_MODEL: Final = "/opt/ml/model"  # where llama.cpp's container looks
PROGRAMS: Final = "weights"
AT: Final = "/weights"
POLICIES: Final = "networking.k8s.io/v1"
FILES: Final = {  # the programs, and where they are in the container
    "fetch.py": "fetch.py",
    "__init__.py": "backends/__init__.py",
    "sigv4.py": "backends/sigv4.py",
}
# The cluster's names: EKS gives them the tenth address of its services.
NAMES: Final = f"{IPv4Network(parts.CLUSTER_ADDRESSES)[10]}/32"
IDENTITY: Final = "169.254.170.23/32"  # the agent of EKS Pod Identity
# Whoever is called by an address of these is of the network or of the cluster: no address of S3's.
OWN: Final = [parts.ADDRESSES, parts.CLUSTER_ADDRESSES, "169.254.0.0/16"]
PROBE_S: Final = 10
SPARE_S: Final = 30  # after the last request: what the engine needs to end by itself
LEAST_SHARE: Final = 0.75  # of a machine's cores and memory, that its fleets ask for
MOST_SHARED_GIB: Final = 64  # of memory that the ranks of an engine share


def pods(stage: Stage, lane: Lane, programs: Mapping[str, str], image: str) -> Iterator[Object]:
    """Yield the namespace and all in it but the scaling."""
    at, named = space(lane), labels(lane)
    yield made("v1", "Namespace", at, labels=named)
    account = made("v1", "ServiceAccount", ACCOUNT, space=at, labels=named)
    yield {**account, "automountServiceAccountToken": False}
    yield made("v1", "ConfigMap", PROGRAMS, space=at, labels=named, data=dict(programs))
    yield _deployment(stage, lane, image)
    port = {"name": "http", "port": lane.port, "targetPort": lane.port, "protocol": "TCP"}
    spec: Object = {"type": "ClusterIP", "selector": named, "ports": [port]}
    yield made("v1", "Service", lane.name, spec, space=at, labels=named)
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": named}}
    spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
    yield made("policy/v1", "PodDisruptionBudget", lane.name, spec, space=at, labels=named)
    yield _policy(lane)
    yield _nobody(lane)


def first(lane: Lane) -> Iterator[Object]:
    """Yield what is created once, before all else: a deployment begins with no pods. The one
    that is applied says no number, which is the autoscaler's, and Kubernetes would take that for
    one pod: an hour of a machine that nobody asked for.
    """
    at, named = space(lane), labels(lane)
    yield made("v1", "Namespace", at, labels=named)
    pod = {
        "containers": [{"name": "engine", "image": "none"}],
        "automountServiceAccountToken": False,
    }
    template = {"metadata": {"labels": named}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": named}, "template": template}
    yield made("apps/v1", "Deployment", lane.name, spec, space=at, labels=named)


def binding(lane: Lane, target_group: str) -> Object:
    """Return what puts the fleet's pods into the target group that the stack made."""
    spec = {
        "serviceRef": {"name": lane.name, "port": lane.port},
        "targetGroupARN": target_group,
        "targetType": "ip",
    }
    named = labels(lane)
    kind = "TargetGroupBinding"
    return made(f"{EKS}/v1", kind, lane.name, spec, space=space(lane), labels=named)


def drain_seconds(stage: Stage) -> int:
    """Return for how long a pod that goes still serves what it has: a request's whole deadline."""
    return math.ceil(stage.policy.defaults.limits.deadline_ms / 1000)


def devices(lane: Lane) -> dict[str, str]:
    """Return the accelerators of one pod, as device plugins count them: GPUs, or Neuron chips."""
    if lane.family == "cpu":
        return {}
    has = lane.fit.instance.accelerators
    assert has is not None, "only a CPU has none"
    if lane.family == "cuda":
        return {"nvidia.com/gpu": str(has.devices)}
    assert has.chips is not None, f"{lane.instance} says its chips"
    return {NEURON: str(round(has.chips * lane.share))}  # whole ones: router.deploy.lane


def _deployment(stage: Stage, lane: Lane, image: str) -> Object:
    named, patience = labels(lane), engine_start.starting_s(lane)
    spec = {
        # Without `replicas` (see `first`): an `apply` must not undo what the autoscaler chose.
        "selector": {"matchLabels": named},
        "progressDeadlineSeconds": patience + 600,
        "revisionHistoryLimit": 3,
        # A machine more for a moment is hours of waiting and of money: the old one goes first.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
        },
        "template": {"metadata": {"labels": named}, "spec": _pod(stage, lane, image, patience)},
    }
    return made("apps/v1", "Deployment", lane.name, spec, space=space(lane), labels=named)


def _pod(stage: Stage, lane: Lane, image: str, patience: int) -> Object:
    drain = drain_seconds(stage)
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": drain + SPARE_S,
        "nodeSelector": {HOST: lane.host, "kubernetes.io/arch": architecture(lane)},
        "tolerations": [
            {"key": HOST, "operator": "Equal", "value": lane.host, "effect": "NoSchedule"}
        ],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [_fetcher(stage, lane, image)],
        "containers": [_engine(lane, image, patience, drain)],
        "volumes": list(_volumes(lane)),
    }


def _fetcher(stage: Stage, lane: Lane, image: str) -> Object:
    suffix = regions.suffix(stage.region)
    environment = {
        "AWS_REGION": stage.region,
        "SLUICE_S3": f"https://s3.{stage.region}.{suffix}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {
        "name": "weights",
        "image": image,
        "command": ["python3", f"{AT}/fetch.py", lane.bucket, lane.prefix, _model(lane)],
        "env": _env(environment),
        "securityContext": _locked(lane),
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [
            {"name": PROGRAMS, "mountPath": AT, "readOnly": True},
            {"name": "model", "mountPath": _model(lane)},
        ],
    }


def _engine(lane: Lane, image: str, patience: int, drain: int) -> Object:
    check = {"httpGet": {"path": lane.health, "port": lane.port}}
    mounts: list[Object] = [{"name": "model", "mountPath": _model(lane), "readOnly": True}]
    if lane.family != "cpu":
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 (in the container)
        mounts.append({"name": "compiled", "mountPath": engine_start.CACHE})
    found: Object = {
        "name": "engine",
        "image": image,
        "ports": [{"name": "http", "containerPort": lane.port, "protocol": "TCP"}],
        "resources": _resources(lane),
        "securityContext": _locked(lane),
        "volumeMounts": mounts,
        "startupProbe": {
            **check,
            "periodSeconds": PROBE_S,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(patience / PROBE_S),
        },
        # An engine under its whole load answers late: half a minute of it takes no replica out, and
        # only one that is dead is started again.
        "readinessProbe": {**check, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 6},
        "livenessProbe": {
            **check,
            "periodSeconds": 30,
            "timeoutSeconds": 10,
            "failureThreshold": 5,
        },
        # The balancer lets go of a pod when it begins to go; what it has may end before it is told.
        "lifecycle": {"preStop": {"sleep": {"seconds": drain}}},
    }
    told, arguments = engine_start.environment(lane), engine_start.command(lane)
    if told:
        found["env"] = _env(told)
    if arguments:
        found["args"] = list(arguments)
    return found


def _resources(lane: Lane) -> Object:
    machine, share = lane.fit.instance, lane.share
    assert machine.vcpu is not None, f"{machine.id} has no vCPUs"
    # lane.fit of a CPU has the share already, of other machines the whole of their memory.
    memory = machine.memory_gib * (1 if lane.family == "cpu" else share)
    asked = {
        "cpu": str(max(1, math.floor(machine.vcpu * share * LEAST_SHARE))),
        "memory": f"{max(1, math.floor(memory * LEAST_SHARE))}Gi",
    }
    return {"requests": {**asked, **devices(lane)}, **_limits(devices(lane))}


def _limits(counted: Mapping[str, str]) -> Object:
    return {"limits": dict(counted)} if counted else {}


def _volumes(lane: Lane) -> Iterator[Object]:
    yield {"name": "model", "emptyDir": {}}
    items = [{"key": key, "path": path} for key, path in FILES.items()]
    yield {"name": PROGRAMS, "configMap": {"name": PROGRAMS, "items": items}}
    if lane.family != "cpu":
        shared = min(MOST_SHARED_GIB, int(lane.fit.instance.memory_gib * lane.share / 8))
        # What was compiled outlives the container, not the pod: on Auto Mode's machines SELinux
        # keeps pods apart, so that another one couldn't read it in a folder of the host
        # (kubernetes-sigs/aws-ebs-csi-driver #2331).
        yield {"name": "compiled", "emptyDir": {}}
        yield {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared}Gi"}}


def _locked(lane: Lane) -> Object:
    found: Object = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if lane.family == "cpu":
        found |= {"runAsNonRoot": True, "runAsUser": 10001}  # as its Dockerfile has it
    return found


def _model(lane: Lane) -> str:
    return CONTAINER_MODEL if lane.family == "cpu" else f"{SERVED_FROM}/{lane.name}"


def _env(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _nobody(lane: Lane) -> Object:
    """Let nobody in and nothing out, of whatever else comes to stand in the namespace."""
    spec: Object = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return made(POLICIES, "NetworkPolicy", "nobody", spec, space=space(lane), labels=labels(lane))


def _policy(lane: Lane) -> Object:
    """Let the balancer in on the engine's port, and KEDA's operator; the machine's own probes need
    no rule. Out: names; the agent that says who the pod is; TLS to addresses outside of the
    network, from where S3 is reached by its gateway and nothing else is.

    Each rule says its addresses: AWS's agent takes the narrowest range that an address is in, an
    `except` of any rule too, so that one for all addresses would open none of OWN
    (aws-network-policy-agent #326, amazon-network-policy-controller-k8s #146).
    """
    keda = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": KEDA}},
        "podSelector": {"matchLabels": {"app": KEDA_OPERATOR}},
    }
    outside = {"cidr": "0.0.0.0/0", "except": OWN}
    spec: Object = {
        "podSelector": {"matchLabels": labels(lane)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"ipBlock": {"cidr": parts.BALANCER_ADDRESSES}}, keda],
                "ports": _ports(lane.port, "TCP"),
            }
        ],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": NAMES}}],
                "ports": [*_ports(53, "UDP"), *_ports(53, "TCP")],
            },
            {"to": [{"ipBlock": outside}], "ports": _ports(443, "TCP")},
            {"to": [{"ipBlock": {"cidr": IDENTITY}}], "ports": _ports(80, "TCP")},
        ],
    }
    named = labels(lane)
    return made(POLICIES, "NetworkPolicy", lane.name, spec, space=space(lane), labels=named)


def _ports(port: int, protocol: str) -> list[Object]:
    return [{"port": port, "protocol": protocol}]


def as_json(value: object) -> str:
    """Return it as one line, the same each time."""
    return json.dumps(value, sort_keys=True)

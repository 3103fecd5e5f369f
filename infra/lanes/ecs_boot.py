"""What a machine of ECS does before it takes tasks: it fetches the weights of its fleets.

The ECS agent of Amazon's image starts after cloud-init's scripts (ecs.service is ordered after
cloud-final.service), so no task is placed before the weights are there. The image is built from
AL2023's minimal one and has no AWS CLI (github.com/aws/amazon-ecs-ami, variables.pkr.hcl,
packages_al2023): it is installed from AL2023's repositories, which lie in S3 and are reached by
the gateway endpoint, as the weights are. Pure.

What it did, and what the ECS agent does after it, go to CloudWatch Logs by AWS's own agent, which
AL2023's repositories have too. A machine without it serves as well: its console has the same.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import Final

from router.deploy.lane import Lane

# On the disks of the machine itself where it has some: the models, and what engines compile.
PLACE: Final = "/sluice"
# A repository that this network doesn't reach (Neuron's) must not hold a machine up.
REACHABLE: Final = "--setopt='*.skip_if_unavailable=1' --setopt=timeout=10"

TOLD_S: Final = 15  # until what was written last is in CloudWatch: the agent sends every 5 s
# What cloud-init and the ECS agent write: ECS Developer Guide, Viewing Amazon ECS container agent
# logs. No prompt is in either.
LOGS: Final = {"boot": "/var/log/cloud-init-output.log", "ecs": "/var/log/ecs/ecs-agent.log*"}
_AGENT: Final = "/opt/aws/amazon-cloudwatch-agent"
_TRAP: Final = (
    'trap \'echo "sluice: line $LINENO failed, this machine ends" | tee /dev/console; '
    f"sleep {TOLD_S}; shutdown -h now' ERR"
)
_DISKS: Final = f"""\
mapfile -t disks < <(lsblk --nodeps --noheadings --paths --output NAME,MODEL \\
  | awk '/Instance Storage/ {{print $1}}')
mkdir -p {PLACE}
if (( ${{#disks[@]}} > 0 )); then
  mdadm --create /dev/md0 --run --force --level=0 --raid-devices="${{#disks[@]}}" "${{disks[@]}}"
  mkfs.xfs -q -L sluice /dev/md0
  echo 'LABEL=sluice {PLACE} xfs defaults,nofail 0 2' >> /etc/fstab
  mount {PLACE}
fi"""


def models(lane: Lane) -> str:
    """Return the folder of a machine that the fleet's weights lie in."""
    return f"{PLACE}/models/{lane.name}-{version(lane)}"


def cache(lane: Lane) -> str:
    """Return the folder of a machine that keeps what the fleet's engine compiled."""
    return f"{PLACE}/cache/{lane.name}-{version(lane)}"


def version(lane: Lane) -> str:
    """Return what tells these weights from those that the fleet had before."""
    source = f"s3://{lane.bucket}/{lane.prefix}"
    return f"w{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def attribute(lane: Lane) -> str:
    """Return the attribute by which a machine in the cluster says which weights it has."""
    return f"sluice.weights.{lane.name}"


def script(sharing: Sequence[Lane], *, cluster: str, region: str, log: str) -> str:
    """Return the user data; `log`: the group that machines write to. A machine that can't get its
    weights ends, and another one tries.
    """
    has = {attribute(lane): version(lane) for lane in sharing}
    return "\n".join(
        (
            "#!/bin/bash",
            "set -euo pipefail",
            _TRAP,
            f"export HOME=/root AWS_DEFAULT_REGION={region}",
            *_told(log, region),
            f"dnf install -y -q {REACHABLE} awscli-2 mdadm",
            _DISKS,
            "aws configure set default.s3.preferred_transfer_client crt",
            *(line for lane in sharing for line in _weights(lane)),
            f"chmod -R a+rX {PLACE}/models",
            "cat >> /etc/ecs/ecs.config <<'END'",
            f"ECS_CLUSTER={cluster}",
            f"ECS_INSTANCE_ATTRIBUTES={json.dumps(has)}",
            "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
            "ECS_AWSVPC_BLOCK_IMDS=true",  # what is in a task is nobody to AWS
            "ECS_ENABLE_AWSLOGS_EXECUTIONROLE_OVERRIDE=true",  # logs by the task's role
            "ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
            "END",
            "",
        )
    )


def _told(log: str, region: str) -> tuple[str, ...]:
    """Start what sends the machine's logs; one that can't be had is no reason to end."""
    config = f"{_AGENT}/etc/sluice.json"
    files = [
        {
            "file_path": path,
            "log_group_name": log,
            "log_stream_name": f"{{instance_id}}/{name}",
        }
        for name, path in LOGS.items()
    ]
    collected = {"logs_collected": {"files": {"collect_list": files}}, "force_flush_interval": 5}
    start = f"{_AGENT}/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c file:{config}"
    return (
        "tell() {",
        f"  dnf install -y -q {REACHABLE} amazon-cloudwatch-agent < /dev/null || return",
        f"  cat > {config} && {start}",
        "}",
        "tell <<'END' || echo 'sluice: this machine has no log but its console'",
        json.dumps({"agent": {"region": region}, "logs": collected}, indent=1),
        "END",
    )


def _weights(lane: Lane) -> tuple[str, ...]:
    source, place = f"s3://{lane.bucket}/{lane.prefix}", models(lane)
    how = "sync" if lane.prefix.endswith("/") else "cp"
    folder = shlex.quote(place if how == "sync" else f"{place}/")
    return (
        f"mkdir -p {shlex.quote(place)} {shlex.quote(cache(lane))}",
        f"aws s3 {how} --only-show-errors {shlex.quote(source)} {folder}",
    )

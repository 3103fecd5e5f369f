"""What `sluice deploy --plan` says of the account's quotas: as text, and as JSON."""

from dataclasses import asdict
from typing import Any

from router.cli.table import WIDEST, grid
from router.deploy.quotas import STANDARD, quotas
from router.deploy.stage import Stage

HEAD = ("code", "quota", "needed at max", "unit", "fleets")
# docs.aws.amazon.com/eks/latest/userguide/set-builtin-node-pools.html: on demand, of C, M and R
OWN = (
    f"and Auto Mode's own machines, for KEDA and what AWS runs (some vCPU, `{STANDARD[1]}`,",
    f"{STANDARD[0]}): how many it takes is nobody's choice here, so they are in no line above",
)
LEFT = {"code", "quota", "unit", "fleets"}
ASK = "aws service-quotas get-service-quota --service-code ec2 --quota-code CODE --region {}"
FIND = "aws service-quotas list-service-quotas --service-code sagemaker --region {}"


def text(stage: Stage) -> list[str]:
    """Return the section as lines; none where the stage makes no fleet."""
    found = quotas(stage)
    if not found:
        return []
    rows = [
        (
            each.code or "by its name",
            each.name,
            "unknown" if each.needed is None else f"{each.needed:,}",
            each.unit,
            ", ".join(each.fleets),
        )
        for each in found
    ]
    services = {each.service for each in found}
    return [
        "quotas of the account that its machines need at max; a new account has 0 of most, and a",
        "machine above them is refused only when it is to start. The account was not asked:",
        grid(HEAD, rows, LEFT, WIDEST),
        *(OWN if any(lane.on == "eks" for lane in stage.lanes) else ()),
        *([f"ask: {ASK.format(stage.region)}"] if "ec2" in services else []),
        *([f"ask: {FIND.format(stage.region)}"] if "sagemaker" in services else []),
        "",
    ]


def as_json(stage: Stage) -> list[dict[str, Any]]:
    return [asdict(each) for each in quotas(stage)]

"""The example's stages, dev (small) and prod, and two more: `steady` is prod on Fargate, `inner` is
a private API by IAM.
"""

from dataclasses import replace

from infra.paths import CONFIG
from router.deploy import read
from router.deploy.stage import Compute

ROOT = CONFIG.parents[2]


def examples():
    """Return them by name."""
    found = read.stages(CONFIG)
    prod = found["prod"]
    on_fargate = replace(prod, name="steady", compute=Compute(on="fargate", memory_mb=2048))
    inner = replace(prod, name="inner", domain=None, private=True, auth=("iam",))
    return {**found, "steady": on_fargate, "inner": inner}

"""The example's stages, dev (small) and prod, and `steady`: prod on Fargate, for steady traffic."""

from dataclasses import replace

from infra.app import CONFIG
from router.deploy import read
from router.deploy.stage import Compute

ROOT = CONFIG.parents[2]


def examples():
    """Return them by name."""
    found = read.stages(CONFIG)
    prod = found["prod"]
    on_fargate = replace(prod, name="steady", compute=Compute(on="fargate", memory_mb=2048))
    return {**found, "steady": on_fargate}

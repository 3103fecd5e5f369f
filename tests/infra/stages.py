"""The example's stages, dev (small) and prod, and two more: `steady` is prod on Fargate, `inner` is
a private API by IAM. And those of China.
"""

from dataclasses import replace

from infra.lanes import MAKERS
from infra.paths import CONFIG
from router.deploy import read
from router.deploy.stage import Compute, Deferrable, Domain, Window

ROOT = CONFIG.parents[2]
CHINA = CONFIG.parent / "china" / "deploy.yaml"


def examples():
    """Return them by name."""
    found = read.stages(CONFIG)
    prod = found["prod"]
    on_fargate = replace(prod, name="steady", compute=Compute(on="fargate", memory_mb=2048))
    inner = replace(prod, name="inner", domain=None, private=True, auth=("iam",))
    return {**found, "steady": on_fargate, "inner": inner}


def china():
    """Return the stages of China: `beijing` (small) and `ningxia` (prod), and two that are prod in
    Beijing: `steppe` on Fargate, `signed` by IAM with a domain and a budget. Fleets that nothing
    makes yet (infra/lanes) are called as if they were there.
    """
    found = read.stages(CHINA)
    made = {name: _makeable(stage) for name, stage in found.items()}
    beijing = replace(found["beijing"], size="prod", domain=_domain(found["beijing"]))
    on_fargate = Compute(on="fargate", memory_mb=2048)
    steppe = replace(beijing, name="steppe", compute=on_fargate)
    signed = replace(beijing, name="signed", auth=("iam",), usd_per_month=5000)
    return {**made, "steppe": steppe, "signed": signed}


def _makeable(stage):
    return replace(stage, lanes=tuple(lane for lane in stage.lanes if lane.on in MAKERS))


def _domain(stage):
    where = f"arn:aws-cn:acm:{stage.region}:{stage.account}:certificate"
    return Domain("llm.example.cn", f"{where}/01234567-89ab-cdef-0123-456789abcdef", "Z0123456789")


def with_batches():
    """Return a small stage and a prod one that take batches, by name."""
    found = read.stages(CONFIG)
    night = Deferrable(Window("22:00", "06:00", "Asia/Shanghai"), at_once=100)
    return {
        "nightly": replace(found["dev"], name="nightly", deferrable=Deferrable()),
        "deferred": replace(found["prod"], name="deferred", deferrable=night),
    }

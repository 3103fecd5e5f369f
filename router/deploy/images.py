"""Which container a fleet that the stage makes is started from.

Machines pull from ECR in their own region alone: the VPC has no way out. `image` is what they pull
without more ado. Where it is None, the stage fills a repository of its own by CodeBuild: with a
copy of `copied`, or else with a build of backends/engines/container.
"""

import re
from functools import cache
from typing import Final

from backends import files, images, regions
from router.deploy.lane import Lane, Unmade

OURS: Final = "sluice-llama-cpp:0.1"
_ECR: Final = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.[a-z.]+)/.+")


def image(lane: Lane, partition: str, region: str) -> str | None:
    """Return the image to pull; None: the stage builds or copies it. Raises Unmade."""
    assert lane.fleet.runs is not None
    own = lane.fleet.runs.image
    if own is not None:
        said = objection(own, region)
        if said is not None:
            raise Unmade(("runs", "image"), said)
        return own
    row = _row(lane)
    if row is None or row.image is None:
        if partition == "aws-cn":  # CodeBuild's regions with ARM have none of China's
            said = f"CodeBuild builds nothing for Arm in {region}: build the container yourself "
            fix = f"(docs/container.md), push it to ECR and name it (`image: {_as(region, OURS)}`)"
            raise Unmade(("runs",), said + fix)
        return None
    account = _table().accounts.get(region)
    if account is None:
        said = f"no registry of AWS Deep Learning Containers is known in {region} ({partition}): "
        fix = f"copy an image of {lane.fleet.engine} into ECR there and name it (`image: "
        raise Unmade(("runs",), f"{said}{fix}{_as(region)}`)")
    return f"{account}.dkr.ecr.{region}.{regions.suffix(region)}/{row.image}"


def copied(lane: Lane) -> str | None:
    """Return the public image that the stage copies into a repository of its own; None: none."""
    assert lane.fleet.runs is not None
    row = _row(lane)
    return None if lane.fleet.runs.image is not None or row is None else row.copied


def before(lane: Lane) -> tuple[str, ...]:
    """Return what the container is started with before `lane.arguments()`: nothing where its entry
    point is the engine. An image of your own is taken to start like the one it stands for.
    """
    row = _row(lane)
    return () if row is None else row.before


def objection(own: str, region: str) -> str | None:
    """Return why machines in this region can't pull the image, or None."""
    found = _ECR.fullmatch(own)
    if found is None:
        said = f"`{own}` is in no registry of ECR, and the VPC has no way out to another: copy it "
        return f"{said}into one (as {_as(region)})"
    place, suffix = found.groups()
    if place != region or suffix != regions.suffix(region):
        said = f"`{own}` is in {place}, and the VPC's endpoints reach ECR in {region} alone: copy "
        return f"{said}it there (as {_as(region)})"
    return None


def _as(region: str, what: str = "vllm:0.30.0") -> str:
    return f"123456789012.dkr.ecr.{region}.{regions.suffix(region)}/{what}"


def _row(lane: Lane) -> images.Row | None:
    return _table().row(lane.fleet.engine, lane.instance)


@cache
def _table() -> images.Images:
    source = files.packaged("backends", "data", "images.yaml")
    return images.read(source.text, source.name)

"""The disks that machines of ECS and EKS boot from. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backends.aws_prices import AwsPrice
from router.deploy.lane import Lane, hosts
from router.deploy.shape import MONTH_HOURS

# Machines with disks of their own, which the weights go onto: EC2 User Guide, Instance store
# volumes (8 x 3.8 TB, 8 x 1 TB, 4 x 1.9 TB, 4 x 1.9 TB). Elsewhere a volume of EBS takes them.
OWN: Final = frozenset({"p5.48xlarge", "p4d.24xlarge", "g6e.48xlarge", "trn2.48xlarge"})
SYSTEM_GB: Final = 100  # the system, and images of up to 30 GB, packed and unpacked
WEIGHTS_SLACK: Final = 1.2  # of a model's files against its weights alone: tokenisers, indexes
COMPILED_GB: Final = 50
FREE_IOPS, FREE_MBPS = 3000, 125  # of every gp3 volume


@dataclass(frozen=True, slots=True)
class Volume:
    gb: int
    iops: int
    mbps: int


def ecs(sharing: Sequence[Lane]) -> Volume:
    """Return the volume of a machine: with the weights where it has no disks of its own."""
    if sharing[0].instance in OWN:
        return Volume(SYSTEM_GB, 6000, 1000)
    files = sum(map(weights_bytes, sharing)) / 10**9 * WEIGHTS_SLACK
    compiled = COMPILED_GB if sharing[0].family != "cpu" else 0
    return Volume(SYSTEM_GB + compiled + math.ceil(files / 10) * 10, 6000, 1000)


def eks(sharing: Sequence[Lane]) -> Volume:
    gib = sum(map(weights_bytes, sharing)) / 2**30
    return Volume(math.ceil(gib * 1.1) + SYSTEM_GB, 16000, 1000)


def volumes(lanes: Sequence[Lane]) -> Iterator[tuple[Sequence[Lane], Volume]]:
    """Yield the fleets of each kind of machines on ECS and EKS, and a machine's volume."""
    for on, of_machine in (("ecs", ecs), ("eks", eks)):
        for _, sharing in hosts(lane for lane in lanes if lane.on == on):
            yield sharing, of_machine(sharing)


def usd_per_hour(volume: Volume, prices: Mapping[str, AwsPrice]) -> float | None:
    """Return what a volume costs while its machine runs; None: a price of it is unknown."""
    found = [prices[key].usd for key in ("ebs-gb", "ebs-iops", "ebs-mbps")]
    if None in found:
        return None
    units = (volume.gb, volume.iops - FREE_IOPS, volume.mbps - FREE_MBPS)
    month = sum(unit * (usd or 0.0) for unit, usd in zip(units, found, strict=True))
    return month / MONTH_HOURS


def weights_bytes(lane: Lane) -> int:
    return sum(part.total_bytes for part in lane.fit.parts if part.what == "weights")

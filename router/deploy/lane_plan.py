"""What the machines of each fleet cost that the stage makes. Pure.

As `sluice fleet show` counts: a fleet's hour by its tranches, its tokens by its profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backends.aws_prices import AwsPrice
from backends.fleet_model import prepare
from backends.profiles import Profile
from backends.scaling import QUARTER_S
from backends.tariff import BOUGHT_AHEAD, Tariff, Tranche
from router.deploy import disks
from router.deploy.kubernetes import common
from router.deploy.lane import Lane
from router.deploy.shape import MONTH_HOURS
from router.deploy.stage import Stage

BLOCK: Final = "capacity_block"
PerMtok = tuple[float, float]
"""USD per 1M tokens in, and out."""


@dataclass(frozen=True, slots=True)
class LaneCost:
    """USD; None: unknown. At `min` and at `max` replicas; what was bought ahead is in both.

    `idle_month`: at `min` replicas; a Capacity Block is in it once, with all its hours.
    `disk_hour`: of one machine's volume, the fleet's share of it; SageMaker doesn't say.
    `wake_s`: how long a wake-up is paid for at the least; None: the fleet never sleeps.

    Tokens: with every place taken, and with `streams` of a replica, at which the fleet grows.
    """

    lane: Lane
    idle_month: float | None
    hour_at_min: float | None
    hour_at_max: float | None
    at_capacity: PerMtok | None
    at_scale_out: PerMtok | None
    capacity: float
    streams: float
    marks: tuple[str, ...]
    disk_hour: float | None = None
    wake_s: int | None = None

    @property
    def disks_at_min(self) -> float | None:
        return _shared(self.disk_hour, self.lane.fleet.replicas.min)

    @property
    def disks_at_max(self) -> float | None:
        return _shared(self.disk_hour, self.lane.fleet.replicas.max)

    @property
    def wake_usd(self) -> float | None:
        """Return what one wake-up costs at the least, beside what was bought ahead."""
        if self.wake_s is None:
            return None
        fleet = self.lane.fleet
        asleep, awake = (usd_per_hour(fleet.tariff, count, fleet.replicas.max) for count in (0, 1))
        disk = self.disk_hour if self.lane.on != "sagemaker" else 0.0
        if asleep is None or awake is None or disk is None:
            return None
        return ((awake - asleep) * fleet.host_share + disk) * self.wake_s / 3600

    @property
    def tranches(self) -> tuple[Tranche, ...]:
        return self.lane.fleet.tariff.tranches

    def ahead(self, index: int) -> int:
        """Return how many replicas a tranche was bought for ahead."""
        fleet = self.lane.fleet
        return bought(fleet.tariff, index, fleet.replicas.max)

    @property
    def profile(self) -> Profile | None:
        return self.lane.fleet.profile


def costs(stage: Stage, prices: Mapping[str, AwsPrice]) -> tuple[LaneCost, ...]:
    hours = {
        lane.fleet.id: disks.usd_per_hour(volume, prices)
        for sharing, volume in disks.volumes(stage.lanes)
        for lane in sharing
    }
    return tuple(cost_of(lane, hours.get(lane.fleet.id)) for lane in stage.lanes)


def cost_of(lane: Lane, disk_hour: float | None = None) -> LaneCost:
    """Return what the fleet costs; `disk_hour`: USD of a whole machine's volume."""
    fleet, on = lane.fleet, prepare(lane.fleet)
    streams = on.capacity * fleet.replicas.scale_out_at
    tariff, share, least, most = (
        *(fleet.tariff, fleet.host_share),
        *(fleet.replicas.min, fleet.replicas.max),
    )
    return LaneCost(
        lane,
        _shared(idle_month(tariff, least, most), share),
        _shared(usd_per_hour(tariff, least, most), share),
        _shared(usd_per_hour(tariff, most, most), share),
        on.usd_per_mtok(on.capacity),
        on.usd_per_mtok(streams),
        on.capacity,
        streams,
        on.marks,
        _shared(disk_hour, share),
        _wake_s(lane),
    )


def _wake_s(lane: Lane) -> int | None:
    """Return how long a machine is paid for that one request woke: until it answers, as long as it
    is kept, and until it is let go.
    """
    fleet = lane.fleet
    if fleet.replicas.min > 0 or fleet.wake_seconds is None:
        return None
    if lane.on == "eks":  # KEDA keeps the pod so long, and Karpenter then the empty machine
        return fleet.wake_seconds + 2 * common.min_run_seconds(lane)
    kept = max(fleet.min_run_seconds or 0, QUARTER_S)
    return fleet.wake_seconds + kept + (QUARTER_S if lane.on == "ecs" else 0)


def idle_month(tariff: Tariff, least: int, most: int) -> float | None:
    """Return what a month at `least` replicas costs; None: unknown.

    A Capacity Block is paid for once, whole, when it is bought; while it runs its machines stand in
    for others. One block at a time.
    """
    others = Tariff(tuple(each for each in tariff.tranches if each.option != BLOCK))
    left, total = float(MONTH_HOURS), 0.0
    for i, tranche in enumerate(tariff.tranches):
        if tranche.option != BLOCK:
            continue
        machines, hours = bought(tariff, i, most), hours_of(tranche)
        if hours is None or tranche.price is None:
            return None
        total += machines * hours * tranche.price.usd_per_hour
        beside = usd_per_hour(others, max(0, least - machines), most)
        if beside is None:
            return None
        total += min(hours, left) * beside
        left = max(0.0, left - hours)
    alone = usd_per_hour(others, least, most) if left else 0.0
    return None if alone is None else total + left * alone


def bought(tariff: Tariff, index: int, most: int) -> int:
    """Return how many replicas the tranche was bought for ahead; without a count, all the rest."""
    tranche = tariff.tranches[index]
    if tranche.option not in BOUGHT_AHEAD:
        return 0
    if tranche.replicas is not None:
        return tranche.replicas
    return max(0, most - sum(each.replicas or 0 for each in tariff.tranches[:index]))


def hours_of(tranche: Tranche) -> float | None:
    """Return how long a Capacity Block runs; None: it is none, or doesn't say."""
    if tranche.from_ is None or tranche.until is None:
        return None
    begins, ends = map(datetime.fromisoformat, (tranche.from_, tranche.until))
    return (ends - begins).total_seconds() / 3600


def usd_per_hour(tariff: Tariff, replicas: int, most: int = 0) -> float | None:
    """Return what so many replicas cost an hour, and what was bought ahead beside them.

    `most`: replicas of the fleet, for what was bought ahead without a count.
    """
    filled, total = tariff.filled(replicas), 0.0
    for i, tranche in enumerate(tariff.tranches):
        used = filled.pop(0)[1] if filled and filled[0][0] is tranche else 0
        paid = max(used, bought(tariff, i, most))
        if paid and tranche.price is None:
            return None
        total += 0.0 if tranche.price is None else paid * tranche.price.usd_per_hour
    return total


def _shared(usd: float | None, share: float) -> float | None:
    return None if usd is None else usd * share

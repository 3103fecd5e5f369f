"""The lines of a plan for what the fleets that a stage makes need beside their machines. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backends.aws_prices import AwsPrice
from backends.points import Mark
from router.deploy import disks, images
from router.deploy.lane import Lane
from router.deploy.shape import GB, MILLION, MONTH_HOURS, Line, Per, Shape
from router.deploy.stage import Stage

GROUP: Final = "lanes"
LCU_GB: Final = 1.0  # an LCU-hour takes 1 GB
BUILT_GB, COPIED_GB = 0.5, 18.0  # an image; of Neuron's: vllm-project/vllm, issue 4838
ARM_MINUTES: Final = 15  # llama.cpp, all its variants: on four cores
BUILD_MINUTES: Final = 20  # of one deployment a month
LOG_GB: Final = 500 / GB  # a line of the engine's log


@dataclass(frozen=True, slots=True)
class LaneLines:
    stage: Stage
    shape: Shape
    prices: Mapping[str, AwsPrice]

    def all(self) -> Iterator[Line]:
        on = {lane.on for lane in self.stage.lanes}
        if on & {"ecs", "eks"}:
            yield from self._door()
        if "eks" in on:
            yield from self._cluster()
        yield from self._disks()
        yield from self._images()
        if on:
            yield self._each("logs-gb", "logs of the engines", LOG_GB)

    def _line(
        self, key: str, what: str, quantity: float | None, per: Per = "month", mark: Mark = "stated"
    ) -> Line:
        return Line(key, GROUP, what, per, quantity, self.prices[key], mark)

    def _each(self, key: str, what: str, quantity: float) -> Line:
        return self._line(key, what, quantity * MILLION, "million", "assumed")

    def _door(self) -> Iterator[Line]:
        yield self._line("alb-hour", "internal load balancer of the fleets", MONTH_HOURS)
        lcus = (self.shape.bytes_in + self.shape.bytes_out) / GB / LCU_GB
        yield self._each("alb-lcu", "internal load balancer, by bytes", lcus)
        yield self._line("route53-zone", "private zone of the fleets' names", 1)

    def _cluster(self) -> Iterator[Line]:
        yield self._line("eks-hour", "cluster", MONTH_HOURS)
        yield self._line("kms-key", "key of the cluster's secrets", 1)
        on_eks = [lane for lane in self.stage.lanes if lane.on == "eks"]
        plain = [lane for lane in on_eks if lane.family == "cpu"]
        listed = [self._on_demand_month(lane) for lane in plain]
        known = None if None in listed else sum(each or 0.0 for each in listed)
        yield self._line("eks-auto", "Auto Mode on Graviton, at `min`", known, mark="assumed")
        stands = any(lane.fleet.replicas.min for lane in on_eks if lane.family != "cpu")
        share = None if stands else 0.0  # of no machine it is nothing, whatever the share is
        yield self._line("eks-auto", "Auto Mode on accelerators, at `min`", share, mark="assumed")
        yield self._line("eks-auto", "machines of the cluster's own pods", None, mark="assumed")

    def _on_demand_month(self, lane: Lane) -> float | None:
        """Return a month of the fleet's least machines on demand, whatever is paid for them."""
        fleet = lane.fleet
        if fleet.replicas.min == 0:
            return 0.0
        listed = fleet.tariff.on_demand()
        return (
            None if listed is None else listed * fleet.replicas.min * fleet.host_share * MONTH_HOURS
        )

    def _disks(self) -> Iterator[Line]:
        gb = iops = mbps = 0
        for sharing, volume in disks.volumes(self.stage.lanes):
            machines = sharing[0].fleet.replicas.min
            gb += machines * volume.gb
            iops += machines * (volume.iops - disks.FREE_IOPS)
            mbps += machines * (volume.mbps - disks.FREE_MBPS)
        yield self._line("ebs-gb", "disks of the machines, at `min`", gb, mark="estimated")
        yield self._line("ebs-iops", "their IOPS", iops, mark="estimated")
        yield self._line("ebs-mbps", "their throughput", mbps, mark="estimated")

    def _images(self) -> Iterator[Line]:
        built, copied = _images(self.stage, self.stage.lanes)
        gb = built * BUILT_GB + copied * COPIED_GB
        yield self._line("ecr-gb", "images of the fleets", gb, mark="assumed")
        minutes = copied * BUILD_MINUTES
        said = f"images copied: {BUILD_MINUTES} minutes, in one deployment of the month"
        yield self._line("codebuild-minute", said, minutes, mark="assumed")
        said = f"image built on Arm: {ARM_MINUTES} minutes, in one deployment of the month"
        yield self._line("codebuild-arm-minute", said, built * ARM_MINUTES, mark="assumed")


def _images(stage: Stage, lanes: Sequence[Lane]) -> tuple[int, int]:
    """Return how many images the stage builds (llama.cpp's: one for SageMaker, one for ECS or
    EKS), and copies.
    """
    own = [lane for lane in lanes if images.image(lane, stage.partition, stage.region) is None]
    public = {found for lane in own if (found := images.copied(lane)) is not None}
    built = {lane.on == "sagemaker" for lane in own if images.copied(lane) is None}
    return len(built), len(public)

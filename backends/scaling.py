"""How a fleet grows and shrinks on AWS: the numbers of the lanes' templates, and of a replay. Pure.

Sources, read on 2026-11-21: Application Auto Scaling User Guide, "How target tracking works" (a
metric above its target for three periods of a minute, below nine tenths of it for fifteen);
autoscaling/v2 of Kubernetes (a tolerance of a tenth).
"""

import math
from dataclasses import dataclass
from typing import Final

from backends.catalogue import Fleet, Replicas

LOOK_S: Final = 60  # a period of the metrics that ECS and SageMaker are scaled by
OUT_AFTER_S: Final = 180
# Scaling in waits for 15 minutes below the target: ECS Developer Guide, cluster auto scaling;
# Application Auto Scaling User Guide, How target tracking works.
QUARTER_S: Final = 900
SLACK: Final = 0.1  # so far below its target the metric has to be for a replica to go
COOLDOWN_S: Final = 300  # Application Auto Scaling's own, where the catalogue says none
POLL_S: Final = 15  # of KEDA
WAKE_S: Final = 900  # a fleet that never sleeps may leave it out; its first start takes as long
MIN_RUN_S: Final = 600  # on Kubernetes, where the catalogue says none


def target_streams(replicas: Replicas) -> float:
    """Return the requests of a replica above which one more is wanted."""
    return replicas.concurrency_each * replicas.scale_out_at


def target_percent(replicas: Replicas) -> float:
    """Return the same in percent of the places that are ready."""
    return 100 * replicas.scale_out_at


def out_cooldown_s(fleet: Fleet) -> int:
    return math.ceil(fleet.wake_seconds or COOLDOWN_S)


def in_cooldown_s(fleet: Fleet) -> int:
    return math.ceil(fleet.min_run_seconds or COOLDOWN_S)


@dataclass(frozen=True, slots=True)
class Scaling:
    """When a fleet's count follows its load. Seconds: `out_after_s` above the target, `in_after_s`
    clearly below it, `wake_s` until a new replica is ready; a replica runs `min_run_s` at the
    least. `most_in`: so many go at a time; None: as many as are too many.
    """

    least: int
    most: int
    streams: float  # of a replica: the target
    out_after_s: float
    in_after_s: float
    out_cooldown_s: float
    in_cooldown_s: float
    wake_s: float
    min_run_s: float
    most_in: int | None = None


def scaling_of(fleet: Fleet, least: int) -> Scaling:
    """Return how this fleet is scaled: as a service on ECS where it doesn't say what it runs on.

    `least`: of its replicas; one that can't be woken has none fewer than are always there.
    """
    on = None if fleet.runs is None else fleet.runs.on
    wake_s, streams = float(fleet.wake_seconds or WAKE_S), target_streams(fleet.replicas)
    bounds = least, max(least, fleet.replicas.max), streams
    if on == "eks":
        calm = float(fleet.min_run_seconds or MIN_RUN_S)
        return Scaling(*bounds, POLL_S, calm, 0.0, LOOK_S, wake_s, calm, 1)
    out_s, in_s = float(out_cooldown_s(fleet)), float(in_cooldown_s(fleet))
    # SageMaker's metrics are of high resolution: three periods of ten seconds.
    after_s = OUT_AFTER_S / 6 if on == "sagemaker" or fleet.sagemaker is not None else OUT_AFTER_S
    run_s = float(fleet.min_run_seconds or 0)
    return Scaling(*bounds, after_s, QUARTER_S, out_s, in_s, wake_s, run_s)

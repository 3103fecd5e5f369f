"""Fleets that are scaled to zero are woken for the requests that come, and never waited for.

A request that a sleeping fleet might have served goes to another lane. That it was missed is
counted, and whoever can wake it is asked: at most once in the time that waking takes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from backends.fleet_model import FleetModel
from router.decide import Decision
from router.metrics import Metrics
from router.runtime import LOG


@dataclass(frozen=True, slots=True)
class WakeUp:
    """`requests` might have been served there since it was last asked for. `usd`: what waking it
    costs at the least, its time to wake and its shortest run; None: its price is unknown.
    """

    fleet: str
    requests: int
    usd: float | None


Wake = Callable[[WakeUp], None]
"""Whoever wakes a fleet. Returns at once; whether it is worth it is decided there."""


def tell(asked: WakeUp) -> None:
    """Write it to the log, for whoever wakes fleets by hand."""
    cost = "an unknown price" if asked.usd is None else f"${asked.usd:.2f} at the least"
    LOG.warning(
        "fleet %s is asleep: a wake-up is asked for (requests it missed: %d, costs %s)",
        asked.fleet,
        asked.requests,
        cost,
    )


@dataclass(slots=True)
class _Missed:
    requests: int = 0
    asked_s: float | None = None


class Wakes:
    def __init__(self, metrics: Metrics, wake: Wake = tell) -> None:
        self._metrics = metrics
        self._wake = wake
        self._missed: dict[str, _Missed] = {}

    def decided(self, decision: Decision, now_s: float) -> None:
        """Take note of a decision: of its fleets that were refused for being asleep alone."""
        for refused in decision.verdict.refused:
            if refused.code == "cold":
                self._miss(refused.candidate.on, refused.candidate.state, now_s)

    def _miss(self, on: FleetModel, state: str, now_s: float) -> None:
        fleet = on.fleet
        self._metrics.missed_asleep.labels(fleet.id).inc()
        missed = self._missed.setdefault(fleet.id, _Missed())
        missed.requests += 1
        wake_s = fleet.wake_seconds or 0
        soon = missed.asked_s is not None and now_s - missed.asked_s < wake_s
        if soon or state != "cold":  # it wakes already
            return
        asked = WakeUp(fleet.id, missed.requests, _usd(on))
        missed.requests, missed.asked_s = 0, now_s
        self._metrics.wake_ups.labels(fleet.id).inc()
        self._wake(asked)


def _usd(on: FleetModel) -> float | None:
    if on.usd_per_hour is None:
        return None
    seconds = (on.fleet.wake_seconds or 0) + (on.fleet.min_run_seconds or 0)
    return on.usd_per_hour / 3600 * seconds

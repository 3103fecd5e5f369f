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
from router.siblings import Missed, Sleepers


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


class Wakes:
    """`sleepers`: one wake-up is asked for among all that share them."""

    def __init__(
        self, metrics: Metrics, wake: Wake = tell, sleepers: Sleepers | None = None
    ) -> None:
        self._metrics = metrics
        self._wake = wake
        self._sleepers = Missed() if sleepers is None else sleepers

    def decided(self, decision: Decision, now_s: float) -> None:
        """Take note of a decision: of its fleets that were refused for being asleep alone."""
        for refused in decision.verdict.refused:
            if refused.code == "cold":
                self._miss(refused.candidate.on, refused.candidate.state, now_s)

    def _miss(self, on: FleetModel, state: str, now_s: float) -> None:
        fleet = on.fleet
        self._metrics.missed_asleep.labels(fleet.id).inc()
        wake_s, asleep = fleet.wake_seconds or 0, state == "cold"  # else it wakes already
        missed = self._sleepers.missed(fleet.id, now_s, wake_s, asleep=asleep)
        if missed:
            self._metrics.wake_ups.labels(fleet.id).inc()
            self._wake(WakeUp(fleet.id, missed, _usd(on)))


def _usd(on: FleetModel) -> float | None:
    if on.usd_per_hour is None:
        return None
    seconds = (on.fleet.wake_seconds or 0) + (on.fleet.min_run_seconds or 0)
    return on.usd_per_hour / 3600 * seconds

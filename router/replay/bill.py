"""What a fleet's machines cost while a replay goes on: by its tranches, used or not. Pure."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from collections.abc import Callable
from datetime import datetime
from typing import Final

from backends.cost import NANO
from backends.fleet_model import FleetModel
from backends.tariff import BOUGHT_AHEAD, Tranche

HOUR_S: Final = 3600.0
Price = Callable[[int, float], float | None]
"""(replicas that are paid for, seconds since 1970) -> USD an hour; None: unknown."""


def runs_at(tranche: Tranche, now_s: float) -> bool:
    """Return whether a tranche is there: a capacity block from its beginning to its end."""
    begins, ends = tranche.from_, tranche.until
    if begins is None or ends is None:
        return True
    return seconds_of(begins) <= now_s < seconds_of(ends)


def seconds_of(said: str) -> float:
    """Return what `from` and `until` of a tranche say, in seconds since 1970."""
    return datetime.fromisoformat(said).timestamp()


def usd_per_hour(on: FleetModel, replicas: int, now_s: float) -> float | None:
    """Return what so many replicas cost an hour, and what was bought ahead or committed beside.

    A savings plan's commitment is paid for whether its replicas run or not; a capacity block from
    its beginning to its end; all of it in the fleet's share of its machines.
    """
    fleet = on.fleet
    there = [each for each in fleet.tariff.tranches if runs_at(each, now_s)]
    left, total, on_demand = replicas, 0.0, 0
    counted = sum(each.replicas or 0 for each in there)
    for i, tranche in enumerate(there):
        last = i == len(there) - 1
        used = left if last or tranche.replicas is None else min(left, tranche.replicas)
        left -= used
        count = used
        if tranche.option in BOUGHT_AHEAD:
            most = tranche.replicas
            count = max(used, fleet.replicas.max - counted if most is None else most)
        if count and tranche.price is None:
            return None
        total += 0.0 if tranche.price is None else count * tranche.price.usd_per_hour
        on_demand += used if tranche.option == "on_demand" else 0
    if on.plan_usd is not None and on.covered:
        listed = fleet.tariff.on_demand() or 0.0
        total += on.covered * on.plan_usd - min(on.covered, on_demand) * listed
    return total * fleet.host_share


class Meter:
    """Adds a fleet's bill up, in whole nano-USD. `nano` None: a price is unknown."""

    __slots__ = ("_at_s", "_on", "_paid", "_start_s", "_usd", "nano")

    def __init__(self, on: FleetModel, start_s: float) -> None:
        self._on, self._start_s = on, start_s
        self._at_s, self._paid = 0.0, 0
        self.nano: int | None = 0
        self._usd: float | None = 0.0

    def pay(self, replicas: int, now_s: float) -> None:
        """Charge the time until now; from now on so many replicas are paid for."""
        if self.nano is not None and now_s > self._at_s:
            if self._usd is None:
                self.nano = None
            else:
                self.nano += round(self._usd / HOUR_S * (now_s - self._at_s) * NANO)
        self._at_s, self._paid = now_s, replicas
        self._usd = usd_per_hour(self._on, replicas, self._start_s + now_s)

    def until(self, now_s: float) -> int | None:
        """Charge the time until now; return the bill so far."""
        self.pay(self._paid, now_s)
        return self.nano

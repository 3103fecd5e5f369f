"""From which traffic on an always-on machine is cheaper than paying for busy time. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations

from backends import cost
from backends.fleet_model import FleetModel


@dataclass(frozen=True, slots=True)
class Economy:
    """One fleet for requests of one size. `usd_busy`: USD a request where every replica is kept
    exactly busy; `rph_full`: requests/hour that one replica carries at capacity.
    """

    fleet: str
    usd_per_hour: float
    usd_busy: float
    rph_full: float
    most: int

    def usd_always_on(self, replicas: int, requests_per_hour: float) -> float | None:
        """Return USD a request with so many replicas always on; None: they can't carry it."""
        if requests_per_hour > replicas * self.rph_full:
            return None
        return replicas * self.usd_per_hour / requests_per_hour


@dataclass(frozen=True, slots=True)
class Crossing:
    """At `requests_per_hour`, `replicas` of `always_on` cost what `busy` machines cost."""

    busy: str
    always_on: str
    replicas: int
    requests_per_hour: float


def economy(on: FleetModel, tokens_in: int, tokens_out: int) -> Economy | None:
    """Work out one fleet; None: its price or its throughput is unknown."""
    profile = on.fleet.profile
    if profile is None or on.usd_per_hour is None:
        return None
    speed = profile.speed(on.capacity)
    seconds = cost.box_seconds(tokens_in, tokens_out, speed.input_weight, speed.tok_s)
    if speed.work_ratios:
        blend = profile.surface.blend(tokens_in, tokens_out)
        seconds *= sum(w * ratio for w, ratio in zip(blend, speed.work_ratios, strict=True))
    usd = cost.usd(on.usd_per_hour, seconds)
    return Economy(on.fleet.id, on.usd_per_hour, usd, 3600 / seconds, on.fleet.replicas.max)


def crossings(economies: Iterable[Economy]) -> Iterator[Crossing]:
    """Return where each size of a fleet becomes cheaper than another fleet's busy machines.

    A fleet that is full before that never does.
    """
    for busy, always_on in permutations(economies, 2):
        for replicas in range(1, always_on.most + 1):
            hourly = replicas * always_on.usd_per_hour
            rph = cost.requests_per_hour_at_break_even(hourly, busy.usd_busy)
            if rph <= replicas * always_on.rph_full:
                yield Crossing(busy.fleet, always_on.fleet, replicas, rph)

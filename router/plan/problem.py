"""Everything that a plan is made from, as one value: traffic, machines, how full each may be.

Pure. Relaxing a limit is a problem of its own, made from the first by ``dataclasses.replace``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from backends.fleet_model import FleetModel
from router.plan.capacity import Mode, idle_ms, modes
from router.plan.demand import Demand, Hour, RequestClass, merged
from router.plan.offers import Market, Unit
from router.plan.slo import Slo

LATE_SHARE = 0.025  # half of the requests that may be late at all


@dataclass(frozen=True, slots=True)
class Problem:
    """`levels` are hours that are alike; `level_of`: the level of each hour in its order. `modes`:
    of each fleet, its ways to run. `fill`: the share of what fleets carry that is planned with.
    """

    classes: tuple[RequestClass, ...]
    levels: tuple[Hour, ...]
    level_of: tuple[int, ...]
    per_week: float
    market: Market
    modes: Mapping[str, tuple[Mode, ...]]
    fill: float = 1.0
    spot_interruptions_per_hour: float = 0.05

    @property
    def units(self) -> tuple[Unit, ...]:
        return self.market.units


def problem(
    demand: Demand,
    market: Market,
    models: Mapping[str, FleetModel],
    slo: Slo,
    *,
    fill: float = 1.0,
    interruptions: float = 0.05,
    late: frozenset[str] = frozenset(),
) -> Problem:
    """Work out what every fleet of the market carries of this traffic at this SLO. `late`: classes
    that have no limit whatever it is, by id.
    """
    demand = _with_late(demand, market, models, slo, late)
    levels, level_of = merged(demand)
    ways: dict[str, tuple[Mode, ...]] = {}
    for unit in market.units:
        for fleet in unit.fleets:
            ways[fleet] = modes(models[fleet], _served(demand, fleet), slo, unit.most)
    return Problem(
        demand.classes,
        levels,
        level_of,
        demand.per_week,
        market,
        {fleet: _renumbered(demand, fleet, found) for fleet, found in ways.items()},
        fill,
        interruptions,
    )


def _with_late(
    demand: Demand,
    market: Market,
    models: Mapping[str, FleetModel],
    slo: Slo,
    known: frozenset[str],
) -> Demand:
    """Mark those that are known to be late, and the classes that no fleet is fast enough for, where
    all of them together are few.
    """
    fleets = {fleet for unit in market.units for fleet in unit.fleets}
    late = {
        place
        for place, requests in enumerate(demand.classes)
        if requests.id in known
        or (fleets & requests.fleets and not _in_time(requests, models, slo, fleets))
    }
    few = LATE_SHARE * sum(requests.requests for requests in demand.classes)
    if sum(demand.classes[place].requests for place in late) > few:
        return demand
    classes = tuple(replace(c, late=i in late) for i, c in enumerate(demand.classes))
    return replace(demand, classes=classes)


def _in_time(
    requests: RequestClass, models: Mapping[str, FleetModel], slo: Slo, fleets: set[str]
) -> bool:
    slo = requests.slo or slo
    return any(slo.met(*idle_ms(models[fleet], requests)) for fleet in fleets & requests.fleets)


def _served(demand: Demand, fleet: str) -> list[RequestClass]:
    return [c for c in demand.classes if fleet in c.fleets]


def _renumbered(demand: Demand, fleet: str, found: tuple[Mode, ...]) -> tuple[Mode, ...]:
    """Return the modes with places among all classes in place of those among the fleet's own."""
    places = [i for i, c in enumerate(demand.classes) if fleet in c.fleets]
    return tuple(replace(mode, classes=tuple(places[i] for i in mode.classes)) for mode in found)

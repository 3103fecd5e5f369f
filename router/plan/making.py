"""Traffic, market and limits -> a problem: the traffic is counted once for each floor. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from backends.fleet_model import FleetModel
from router.plan.demand import Demand, demand
from router.plan.offers import Market
from router.plan.problem import Problem, problem
from router.plan.serving import sorter
from router.plan.values import Terms
from router.traces.trace import Trace
from router.world import World


@dataclass(slots=True)
class Maker:
    """Makes problems of one trace. `why`: where no fleet may serve, each fleet's reason."""

    over: World
    trace: Trace
    market: Market
    interruptions: float = 0.05
    why: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _counted: dict[tuple[float | None, float | None], Demand] = field(default_factory=dict)

    def __call__(self, terms: Terms) -> Problem:
        units = tuple(
            replace(
                unit,
                most=unit.most + (unit.id in terms.more),
                least=0 if unit.id in terms.spare else unit.least,
            )
            for unit in self.market.units
        )
        return problem(
            self.demand(terms.floor, terms.busy),
            replace(self.market, units=units),
            self.models,
            terms.slo,
            interruptions=self.interruptions,
            late=terms.late,
        )

    @property
    def models(self) -> Mapping[str, FleetModel]:
        return {on.fleet.id: on for on in self.over.fleets}

    def demand(self, floor: float | None, busy: float | None) -> Demand:
        """Return what the trace asks for; `busy` None: as if every minute were like the mean."""
        key = (floor, busy)
        if key not in self._counted:
            known = next((d for (other, _), d in self._counted.items() if other == floor), None)
            if busy is None and known is not None:
                self._counted[key] = steady(known)
            else:
                self._counted[key] = self._count(floor, busy)
        return self._counted[key]

    def _count(self, floor: float | None, busy: float | None) -> Demand:
        fleets = frozenset(fleet for unit in self.market.units for fleet in unit.fleets)
        sort = sorter(self.over, self.trace, floor, fleets)
        found = demand(self.trace, sort, 0.5 if busy is None else busy)
        self.why.update(sort.why)
        return found if busy is not None else steady(found)

    def floors(self, floor: float | None) -> tuple[float, ...]:
        """Return the quality floors in force, each once."""
        if floor is not None:
            return (floor,)
        rules = {c.rule for c in self.demand(None, None).classes if c.rule >= 0}
        own = {self.over.policy.rules[rule].settings.quality_floor for rule in rules}
        return tuple(sorted(own))


def steady(demand: Demand) -> Demand:
    """Return the traffic as if every minute of an hour were like its mean."""
    hours = tuple(
        replace(hour, rates=tuple(rate / hour.peak for rate in hour.rates), peak=1.0)
        for hour in demand.hours
    )
    return replace(demand, hours=hours)

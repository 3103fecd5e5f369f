"""What a busy second of a fleet's replica costs in each hour: decisions' marginal cost instead of
the curve over utilisation (design 6). Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from backends.fleet_model import at_shadow_price
from router.world import World

HOUR_S: Final = 3600.0
WEEK_HOURS: Final = 168
MONDAY_S: Final = 4 * 24 * HOUR_S  # the first since 1970


@dataclass(frozen=True, slots=True)
class ShadowPrices:
    """`usd` per busy replica-second, by fleet, for each hour: of the week by the clock (UTC, from
    Monday on) where `weekly`, else since the trace's start; the last one holds on.
    """

    usd: Mapping[str, tuple[float, ...]]
    weekly: bool = False

    def hour(self, start_s: float, at_s: float) -> int:
        """Return which of the prices holds at this second of a trace."""
        if self.weekly:
            return int((start_s + at_s - MONDAY_S) // HOUR_S) % WEEK_HOURS
        return int(at_s // HOUR_S)

    def next_s(self, start_s: float, at_s: float) -> float:
        """Return the second of the trace from which on the next hour's prices hold."""
        begun_s = start_s - MONDAY_S if self.weekly else 0.0
        return ((begun_s + at_s) // HOUR_S + 1) * HOUR_S - begun_s

    def applied(self, world: World, hour: int) -> World:
        """Return the world with this hour's prices; a fleet without any keeps its curve."""
        fleets = tuple(
            at_shadow_price(on, prices[min(hour, len(prices) - 1)])
            if (prices := self.usd.get(on.fleet.id))
            else on
            for on in world.fleets
        )
        rows = tuple(
            (on, known, grade) for on, (_, known, grade) in zip(fleets, world.rows, strict=True)
        )
        return replace(world, fleets=fleets, rows=rows)

"""What every fleet's time costs, minute by minute: the rows of the bill. Pure.

Rows are `observed` where a probe saw every replica of a fleet, `assumed` where the catalogue says
so. A machine that was there in a minute is paid for that minute, and what is always paid for costs
the same whether it answers or not.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from backends.catalogue import Fleet, ready
from backends.cost import NANO
from backends.fleet_model import FleetModel
from backends.load import Load
from router.ledger.fleet_time import MINUTE_S, FleetTime


def fleet_time(
    fleets: Sequence[FleetModel],
    loads: Sequence[Load],
    since_s: float,
    now_s: float,
    seen: Mapping[str, int] = MappingProxyType({}),
) -> list[FleetTime]:
    """Return the rows of every priced fleet for the time from `since_s` to `now_s`, by minute.

    `seen`: the replicas of the fleets that were observed.
    """
    found = []
    begins_s = since_s
    while begins_s < now_s:
        minute_s = begins_s - begins_s % MINUTE_S
        ends_s = min(minute_s + MINUTE_S, now_s)
        minute = datetime.fromtimestamp(minute_s, UTC).isoformat(timespec="seconds")[:-6] + "Z"
        found += [
            FleetTime(
                fleet=on.fleet.id,
                minute=minute,
                seconds=round(ends_s - begins_s, 3),
                replicas=max(paid, seen.get(on.fleet.id, load.replicas)),
                nano_hour=round(on.usd_per_hour * NANO),
                source="observed" if seen.get(on.fleet.id, -1) >= paid else "assumed",
                emulated=on.fleet.emulated,
            )
            for on, load in zip(fleets, loads, strict=True)
            if on.usd_per_hour is not None
            for paid in (always_paid(on.fleet),)
        ]
        begins_s = ends_s
    return found


def always_paid(fleet: Fleet) -> int:
    """Return the replicas that cost the same whether they are there or not."""
    return math.ceil(fleet.tariff.committed(ready(fleet), fleet.replicas.min))

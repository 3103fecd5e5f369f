"""A fleet's bill, closed: what requests were charged, what stood idle, and what the two don't say.

Whole nano-USD, so that allocated + idle + variance = bill to the last digit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from backends.cost import NANO


@dataclass(frozen=True, slots=True)
class FleetTime:
    """So many replicas were ready for so many seconds at this price each."""

    seconds: float
    replicas: float
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Served:
    """One attempt: how long it held a place of the replica's `capacity`, and its charge."""

    service_seconds: float
    charge_nano: int


@dataclass(frozen=True, slots=True)
class Closed:
    """Nano-USD. `variance` is what serving cost beyond what was charged; it may be negative."""

    bill: int
    allocated: int
    idle: int
    variance: int


def close(
    times: Iterable[FleetTime], served: Iterable[Served], usd_per_hour: float, capacity: float
) -> Closed:
    """Close one fleet's bill over a period; `usd_per_hour` values the time that requests held."""
    bill = sum(round(t.usd_per_hour / 3600 * t.seconds * t.replicas * NANO) for t in times)
    attempts = list(served)
    held = sum(attempt.service_seconds for attempt in attempts)
    busy = round(usd_per_hour / 3600 * held / capacity * NANO)
    allocated = sum(attempt.charge_nano for attempt in attempts)
    return Closed(bill, allocated, bill - busy, busy - allocated)

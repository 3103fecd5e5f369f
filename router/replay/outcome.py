"""What a replay gives: a row for each request, a line for each fleet, all in columns."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.replay.shadow_prices import ShadowPrices

SERVED, REFUSED, TIMED_OUT = 0, 1, 2  # of `Replayed.outcome`


@dataclass(frozen=True, slots=True)
class Settings:
    """What a replay assumes beside the catalogue; every one of these stands in its report.

    `queue`, `queue_s`: how many may wait in the router's line, and how long each.
    `spot_interruptions_per_hour`: of one Spot replica. `budgets`: whether the policy's bind.
    """

    seed: int = 0
    queue: int = 1000
    spot_interruptions_per_hour: float = 0.05
    look_s: float = 60.0  # how often scaling looks, and fleets are written down
    budgets: bool = True
    queue_s: float = 5.0  # as `sluice serve --queue-s`
    shadow_prices: ShadowPrices | None = None  # instead of the curve over utilisation


@dataclass(slots=True)
class FleetRun:
    """One fleet over the time of the replay. USD; None: its price is unknown.

    `replicas` (ready), `paid` (ready, starting or bought ahead), `in_flight` and `usd` (the bill
    from the start on): one value for each `Settings.look_s`. bill = busy + idle; variance = busy -
    allocated.
    """

    fleet: str
    replicas: array[float]
    paid: array[float]
    in_flight: array[float]
    usd: array[float]
    requests: int = 0
    usd_bill: float | None = 0.0
    usd_busy: float | None = 0.0
    usd_allocated: float = 0.0
    starts: int = 0
    interruptions: int = 0


@dataclass(slots=True)
class Replayed:
    """One policy over one trace. Columns have one value for each request, in the trace's order.

    `fleet`: a place in `fleets`, -1: nobody served. `rule`: a place in the policy's rules, -1: none
    matched. `ttft_ms`, `e2e_ms` include the wait for a place; nan where nobody served. `usd_nano`:
    the charge by the rate card, -1 where it is unknown.
    `refusals`: how many for which code. `budgets`: of each scope (budget id, value, period) what
    it spent, in nano-USD, and when it was first refused or downgraded, in seconds since the start.
    """

    policy: str
    hash: str
    trace: str
    fleets: tuple[FleetRun, ...]
    fleet: array[int]  # "h"
    rule: array[int]  # "h"
    outcome: array[int]  # "b"
    ttft_ms: array[float]  # "f"
    e2e_ms: array[float]  # "f"
    usd_nano: array[int]  # "q"
    usd_router: float = 0.0
    relaxed: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)
    budgets: Mapping[tuple[str, str, str], tuple[int, float | None]] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
    seconds: float = 0.0

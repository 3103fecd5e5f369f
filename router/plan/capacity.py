"""How much a fleet carries while its p95 holds, by the model that decisions are made with. Pure.

* A request takes ``busy_s`` of a replica: the time that it holds one of `streams` places, over
  them, or its box seconds (docs/cost-model.md) where those are more.
* So many in flight that the predicted p95 still keeps to the SLO is `in_flight`; arrivals are
  random, so the mean in flight must stay below it by ``z sqrt(mean)`` (square-root staffing):
  larger fleets may be fuller. Beyond their places requests wait, which counts by Erlang's C.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from backends import cost
from backends.fleet_model import FleetModel
from backends.load import Load
from backends.queueing import Z95
from router.plan.demand import RequestClass, mean_below
from router.plan.slo import Slo

MODES = 3  # ways to run a fleet that a program chooses among
ALIKE = 0.9  # streams within this of each other are one way to run
LATE = 0.05  # the share of requests that may find too many before them
WAITING = 8  # places' worth of requests in the line, at most


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to run a fleet: full to where the p95 of its longest requests holds.

    `classes`: places of those that it may serve so, `busy_s` of each what one takes of a replica.
    `replicas_busy`: replica-seconds a second that 1, 2, ... replicas carry.
    """

    streams: float
    classes: tuple[int, ...]
    busy_s: tuple[float, ...]
    replicas_busy: tuple[float, ...]


def modes(on: FleetModel, classes: Sequence[RequestClass], slo: Slo, most: int) -> tuple[Mode, ...]:
    """Return the ways to run this fleet, the fullest first; none: it can't hold the SLO at all."""
    able = {i: n for i, c in enumerate(classes) if (n := in_flight(on, c, slo, 1))}
    found: list[Mode] = []
    for least in _steps(sorted(able.values(), reverse=True)):
        own = [i for i, n in able.items() if n >= least]
        bound = [classes[i] for i in own if able[i] == min(able[j] for j in own)]
        found.append(_mode(on, classes, own, bound, slo, most))
    return tuple(found)


def idle_ms(on: FleetModel, requests: RequestClass) -> tuple[float | None, float | None]:
    """Return the p95 of TTFT and end-to-end that this fleet has when nobody else is there."""
    seen = on.predict(requests.long_in, requests.long_out, 1, Load())
    return seen.ttft_p95_ms, seen.e2e_p95_ms


def in_flight(on: FleetModel, requests: RequestClass, slo: Slo, replicas: int) -> int:
    """Return how many may be in flight, one more included, until the p95 is beyond the SLO."""
    most = math.ceil(on.capacity * replicas * WAITING)
    slo = requests.slo or slo

    def holds(count: int) -> bool:
        load = Load(in_flight=count - 1, replicas=replicas)
        seen = on.predict(requests.long_in, requests.long_out, 1, load)
        return slo.met(seen.ttft_p95_ms, seen.e2e_p95_ms)

    if requests.late:
        return most
    if not holds(1):
        return 0
    return _last(holds, 1, most)


@lru_cache(maxsize=4096)
def mean_in_flight(most: int, places: float) -> float:
    """Return the mean in flight of random arrivals of which 5 % find more than `most` there."""
    if most <= places:
        return mean_below(most, Z95)
    servers = max(1, math.floor(places))

    def holds(load: float) -> bool:
        return waits(load, servers) * (load / servers) ** (most - servers) <= LATE

    low, high = 0.0, float(servers)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def waits(load: float, servers: int) -> float:
    """Return Erlang's C: the share of random arrivals that have to wait."""
    if load <= 0:
        return 0.0
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def busy_s(on: FleetModel, requests: RequestClass, streams: float) -> float:
    """Return the seconds of a replica that one request takes with so many streams on it."""
    ins, outs = max(1, round(requests.tokens_in)), max(1, round(requests.tokens_out))
    whole = max(1, math.floor(streams))
    seen = on.predict(ins, outs, 1, Load(in_flight=whole - 1))
    assert seen.e2e_p50_ms is not None  # a fleet whose times are unknown has no mode
    assert on.fleet.profile is not None
    speed = on.fleet.profile.speed(whole)
    box_s = cost.box_seconds(ins, outs, speed.input_weight, speed.tok_s)
    return max(seen.e2e_p50_ms / 1000 / whole, box_s)


def _mode(
    on: FleetModel,
    classes: Sequence[RequestClass],
    own: Sequence[int],
    bound: Sequence[RequestClass],
    slo: Slo,
    most: int,
) -> Mode:
    streams = max(1.0, min(on.capacity, *(in_flight(on, c, slo, 1) for c in bound)))
    carried = []
    for n in range(1, most + 1):
        full = min(in_flight(on, c, slo, n) for c in bound)
        mean = mean_in_flight(full, on.capacity * n)
        carried.append(min(float(n), mean / streams))
    taken = tuple(busy_s(on, classes[i], streams) for i in own)
    return Mode(streams, tuple(own), taken, tuple(carried))


def _steps(falling: Sequence[int]) -> list[int]:
    """Return the least count of each group of counts that are alike, at most `MODES` groups."""
    alike = ALIKE
    while True:
        steps: list[int] = []
        top = 0.0
        for count in falling:
            if steps and count >= alike * top:
                steps[-1] = count
            else:
                steps.append(count)
                top = count
        if len(steps) <= MODES:
            return steps
        alike *= ALIKE


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the last count from `low` to `high` that holds; what holds, holds below too."""
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low

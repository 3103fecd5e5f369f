"""A run's bill look by look, until an end that several share (`router.replay.ending`). Pure."""

from math import ceil

from router.replay.ending import MOMENT_S, usd_per_s
from router.replay.outcome import FleetRun, Replayed
from router.traces.trace import Trace


def series(run: Replayed, trace: Trace, end_s: float, look_s: float) -> list[float] | None:
    """Return what was spent in each look until `end_s`, the router's cost where requests arrive;
    None if a price is unknown. A fleet's `usd` is its bill so far.
    """
    if any(fleet.usd_bill is None for fleet in run.fleets):
        return None
    looks = max(1, ceil(end_s / look_s - MOMENT_S))
    spent = _router(run, trace, looks, look_s)
    for fleet in run.fleets:
        rate, before = usd_per_s(fleet, run.seconds, look_s), 0.0
        for look in range(looks):
            at_s = min((look + 1) * look_s, end_s)
            so_far = _bill_at(fleet, run.seconds, at_s, look, rate)
            spent[look] += so_far - before
            before = so_far
    return spent


def _router(run: Replayed, trace: Trace, looks: int, look_s: float) -> list[float]:
    """Return the router's cost, the same for each request."""
    spent = [0.0] * looks
    if run.usd_router:
        each = run.usd_router / len(trace)
        for at_s in trace.at_s:
            spent[min(looks - 1, int(at_s / look_s))] += each
    return spent


def _bill_at(fleet: FleetRun, ended_s: float, at_s: float, look: int, rate: float) -> float:
    if at_s < ended_s - MOMENT_S:
        return fleet.usd[look]
    return (fleet.usd_bill or 0.0) + rate * max(0.0, at_s - ended_s)

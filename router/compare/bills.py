"""Two runs' bills, look by look, until the same moment.

A run ends with its last answer, and its machines are paid until then. Where one policy's last
answer comes some seconds later, its bill would be larger by those seconds of every machine, which
is no difference of the policies. So the machines of the run that ended first are paid until the
other's end, at what they cost in its last look.
"""

from math import ceil

from router.replay.outcome import FleetRun, Replayed
from router.traces.trace import Trace

_MOMENT_S = 1e-6


def until_s(*runs: Replayed) -> float:
    """Return when the last of them ends."""
    return max(run.seconds for run in runs)


def added_usd(run: Replayed, end_s: float, look_s: float) -> float:
    """Return what the run's machines cost from its end until `end_s`; 0 of unknown prices."""
    rates = [_usd_per_s(fleet, run.seconds, look_s) for fleet in run.fleets]
    return sum(rates) * (end_s - run.seconds)


def series(run: Replayed, trace: Trace, end_s: float, look_s: float) -> list[float] | None:
    """Return what was spent in each look until `end_s`, the router's cost where requests arrive;
    None if a price is unknown. A fleet's `usd` is its bill so far.
    """
    if any(fleet.usd_bill is None for fleet in run.fleets):
        return None
    looks = max(1, ceil(end_s / look_s - _MOMENT_S))
    spent = _router(run, trace, looks, look_s)
    for fleet in run.fleets:
        rate, before = _usd_per_s(fleet, run.seconds, look_s), 0.0
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
    if at_s < ended_s - _MOMENT_S:
        return fleet.usd[look]
    return (fleet.usd_bill or 0.0) + rate * max(0.0, at_s - ended_s)


def _usd_per_s(fleet: FleetRun, ended_s: float, look_s: float) -> float:
    """Return what the fleet cost in its last look, by the second; that look may be a part of one.

    `usd` has a value for every whole look, and one for the end.
    """
    whole = len(fleet.usd) - 1
    since_s = ended_s - whole * look_s
    if whole > 0 and since_s <= _MOMENT_S:
        whole, since_s = whole - 1, look_s
    if fleet.usd_bill is None or since_s <= 0:
        return 0.0
    before = fleet.usd[whole - 1] if whole > 0 else 0.0
    return max(0.0, (fleet.usd_bill - before) / since_s)

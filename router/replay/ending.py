"""Bills of several runs until the same moment. Pure.

A run ends with its last answer, and its machines are paid until then. Where one policy's last
answer comes some seconds later, its bill would be larger by those seconds of every machine, which
is no difference of the policies. So wherever two bills are compared, the machines of the run that
ended first are paid until the other's end, at what they cost in its last look.
"""

from dataclasses import replace

from router.replay.outcome import FleetRun, Replayed
from router.replay.summary import Money, money

MOMENT_S = 1e-6


def until_s(*runs: Replayed) -> float:
    """Return when the last of them ends."""
    return max(run.seconds for run in runs)


def added_usd(run: Replayed, end_s: float, look_s: float) -> float:
    """Return what the run's machines cost from its end until `end_s`; 0 of unknown prices."""
    rates = [usd_per_s(fleet, run.seconds, look_s) for fleet in run.fleets]
    return sum(rates) * (end_s - run.seconds)


def money_until(run: Replayed, end_s: float, look_s: float) -> Money:
    """Return what the run costs if its machines are paid until `end_s`, which is idle time."""
    found = money(run.fleets, run.usd_router)
    usd = added_usd(run, end_s, look_s)
    return replace(
        found,
        total=_plus(found.total, usd),
        bill=_plus(found.bill, usd),
        idle=_plus(found.idle, usd),
    )


def usd_per_s(fleet: FleetRun, ended_s: float, look_s: float) -> float:
    """Return what the fleet cost in its last look, by the second; that look may be a part of one.

    `usd` has a value for every whole look, and one for the end.
    """
    whole = len(fleet.usd) - 1
    since_s = ended_s - whole * look_s
    if whole > 0 and since_s <= MOMENT_S:
        whole, since_s = whole - 1, look_s
    if fleet.usd_bill is None or since_s <= 0:
        return 0.0
    before = fleet.usd[whole - 1] if whole > 0 else 0.0
    return max(0.0, (fleet.usd_bill - before) / since_s)


def _plus(value: float | None, more: float) -> float | None:
    return None if value is None else value + more

"""Which requests go elsewhere under the new policy: by team, task, and from where to where."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.compare.figures import team_of
from router.replay.outcome import Replayed
from router.replay.summary import NANO
from router.replay.whom import REFUSED_NAME, whom
from router.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Moved:
    """So many requests of a team and task. USD: what they were and are charged, None: unknown."""

    team: str
    task: str
    was: str
    now: str
    requests: int
    usd_was: float | None
    usd_now: float | None


Way = tuple[str, str, str, str]  # team, task, was, now


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    was: int | None = 0
    now: int | None = 0


def moves(trace: Trace, old: Replayed, new: Replayed) -> tuple[Moved, ...]:
    """Return a row for each way that requests took to another fleet, the most taken first."""
    of_kind = [(team_of(kind), kind.task) for kind in trace.kinds]
    found: dict[Way, _Sum] = {}
    columns = zip(trace.kind, whom(old), whom(new), old.usd_nano, new.usd_nano, strict=True)
    for kind, was, now, nano_was, nano_now in columns:
        if was != now:
            row = found.setdefault((*of_kind[kind], was, now), _Sum())
            row.requests += 1
            row.was = _plus(row.was, was, nano_was)
            row.now = _plus(row.now, now, nano_now)
    rows = (Moved(*way, s.requests, _usd(s.was), _usd(s.now)) for way, s in found.items())
    return tuple(
        sorted(rows, key=lambda row: (-row.requests, row.team, row.task, row.was, row.now))
    )


def top(rows: Sequence[Moved], most: int) -> tuple[Sequence[Moved], int, int]:
    """Return the first rows, how many are left, and of how many requests those are."""
    rest = rows[most:]
    return rows[:most], len(rest), sum(row.requests for row in rest)


def _plus(total: int | None, place: str, nano: int) -> int | None:
    """Add a charge; who was refused has none, whatever its column says."""
    if place == REFUSED_NAME:
        return total if total is None else total + max(0, nano)
    return None if total is None or nano < 0 else total + nano


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO

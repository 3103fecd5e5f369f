"""What both stores decide alike: who is refused, which alerts are due. Pure."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from router.ledger.port import MOST_NANO, NEVER, Downgrade, Limit, Refused, Scope


def checked(nano: int, scopes: Sequence[Scope]) -> None:
    """ValueError: what no store reserves."""
    if not 0 <= nano <= MOST_NANO:
        raise ValueError(f"a reservation is 0 to {MOST_NANO} nano-USD, not {nano}")
    named = {(scope.budget, scope.value, scope.period) for scope in scopes}
    if len(named) < len(scopes):
        raise ValueError(f"a scope is named twice: {[(s.budget, s.value) for s in scopes]}")


def judged(
    scopes: Sequence[Scope],
    standing: Sequence[tuple[int, int]],
    nano: int,
    downgraded: frozenset[str],
) -> Refused | Downgrade | None:
    """Return why `nano` isn't reserved; `standing`: (avail, floor) of each scope. None: it is.

    Downgrade comes first: a cheaper plan may fit the scopes that would refuse this one.
    """
    refusing: list[tuple[int, Scope]] = []
    softly: list[tuple[int, Scope]] = []
    for scope, (avail, floor) in zip(scopes, standing, strict=True):
        lowered = scope.budget in downgraded
        least = min(floor, 0) if lowered else floor
        if avail - nano >= least:
            continue
        if scope.on_spent == "downgrade" and not lowered:
            softly.append((max(avail, 0), scope))
        else:
            refusing.append((max(avail - least, 0), scope))
    if softly:
        left, scope = min(softly, key=lambda found: found[0])
        return Downgrade(scope, left, frozenset(scope.budget for _, scope in softly))
    if refusing:
        left, scope = min(refusing, key=lambda found: found[0])
        return Refused(scope, left)
    return None


def next_alert(limit: Limit, fired: Iterable[float]) -> int:
    """Return from what is spent the next alert is due."""
    due = [_at(limit, share) for share in limit.alert_at if share not in fired]
    return min(due, default=NEVER)


def alerts_due(limit: Limit, fired: Iterable[float], spent: int) -> list[float]:
    """Return the shares that are reached and were not told, in order."""
    told = frozenset(fired)
    return sorted(s for s in limit.alert_at if s not in told and spent >= _at(limit, s))


def _at(limit: Limit, share: float) -> int:
    return math.ceil(Fraction(str(share)) * limit.soft_nano)

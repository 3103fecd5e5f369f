"""What a request speaks for its arm while a canary runs, or against it."""

from collections.abc import Awaitable

from backends.cost import NANO
from router.asked import Asked
from router.canaries import Arm, Canaries
from router.decide import decide
from router.errors import Refusal
from router.exchange import Exchange
from router.http import Http, HungUp

FIRST_OF_OURS = 500  # statuses below are the caller's doing


async def counted(
    canaries: Canaries, asked: Asked, http: Http, answering: Awaitable[Exchange]
) -> None:
    """Answer, and count what came of it. A caller's own mistakes and departures speak for and
    against no policy. `asked` has an arm.
    """
    arm = asked.arm
    assert arm is not None
    try:
        exchange = await answering
    except Refusal as refusal:
        failed = refusal.status >= FIRST_OF_OURS or _refused_by_canary_alone(arm, asked)
        canaries.ended(arm, error=failed)
        raise
    except HungUp:
        raise
    except Exception:
        canaries.ended(arm, error=True)
        raise
    nano = exchange.meter.nano_so_far() if exchange.outcome == "ok" else None
    failed = exchange.outcome == "broken" or (http.status or 0) >= FIRST_OF_OURS
    canaries.ended(arm, error=failed, usd=None if nano is None else nano / NANO)


def _refused_by_canary_alone(arm: Arm, asked: Asked) -> bool:
    """Tell whether the policy in force would have served what its canary has no fleet for."""
    if not arm.canary or asked.decision.plan.attempts:
        return False
    facts, loads = asked.decision.facts, asked.decision.loads
    return bool(decide(arm.stable, facts, loads, stream=asked.request.stream).plan.attempts)

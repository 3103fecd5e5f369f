"""Whether a late first token is worth a second attempt, and from when on. Pure.

A hedge costs money for certain and saves a miss perhaps: it is sent if the probability that the
objective is missed, given that nothing has come by then, times what the policy would spend, is at
least its worst cost.
"""

import math
from typing import Final

from policies.model import Hedge
from router.estimate import Estimate

Z_95: Final = 1.6448536269514722  # how many standard deviations the 95th percentile lies above


def hedge_after_ms(
    hedge: Hedge, first: Estimate, second_nano: int | None, slo_ms: float
) -> float | None:
    """Return when the second attempt is to start, counted from the first; None: not at all.

    `second_nano` is the most that it may be charged. What isn't known is not paid for.
    """
    p50_ms, p95_ms = first.ttft_p50_ms, first.ttft_p95_ms
    if second_nano is None or p50_ms is None or p95_ms is None:
        return None
    after_ms = p95_ms if hedge.after_ms is None else float(hedge.after_ms)
    usd = second_nano / 1e9
    if after_ms >= slo_ms or usd > hedge.spend_up_to_usd:
        return None  # too late to keep the objective, or too dear
    worth_usd = miss_given_late(p50_ms, p95_ms, after_ms, slo_ms) * hedge.spend_up_to_usd
    return after_ms if worth_usd >= usd else None


def miss_given_late(p50_ms: float, p95_ms: float, after_ms: float, slo_ms: float) -> float:
    """Return the probability that the first token comes after `slo_ms`, given that it has not come
    by `after_ms`, of a log-normal time with these percentiles. What it holds for impossible has
    happened: 1.
    """
    late = _later(p50_ms, p95_ms, after_ms)
    return min(1.0, _later(p50_ms, p95_ms, slo_ms) / late) if late > 0 else 1.0


def _later(p50_ms: float, p95_ms: float, than_ms: float) -> float:
    sigma = math.log(p95_ms / p50_ms) / Z_95 if p95_ms > p50_ms > 0 else 0.0
    if sigma <= 0:
        return float(than_ms < p50_ms)
    return 0.5 * math.erfc(math.log(than_ms / p50_ms) / (sigma * math.sqrt(2)))

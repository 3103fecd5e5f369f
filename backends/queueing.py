"""How long a request waits for a place, as p50 and p95."""

Z95 = 1.6449  # the 95th percentile of the normal distribution


def wait_over_service(ahead: int, places: float) -> tuple[float, float]:
    """Return p50 and p95 of the wait for `ahead` places to come free, in service times.

    `places` requests run, each for one service time on average with a memoryless rest, so the
    wait is Erlang-distributed with mean ahead / places. Quantiles by Wilson and Hilferty (1931):
    within 2 % of the exact ones from two ahead on (docs/cost-model.md).
    """
    if ahead <= 0:
        return 0.0, 0.0
    mean = ahead / places
    shrink, spread = 1 / (9 * ahead), 1 / (3 * ahead**0.5)
    return mean * (1 - shrink) ** 3, mean * (1 - shrink + Z95 * spread) ** 3

"""Whether a canary does worse than its policy lets it, as far as its requests tell that surely.

Requests are drawn by their ids, so both arms are like each other and their means may be compared.
Chance makes arms differ too, and is looked at again with every request: so a figure counts as above
its limit only where it lies Z standard deviations above. What is recent is some hundred times as
many looks, each at few requests, where that measure is too rough for rare errors: there chance has
to be as rare as exp(-SURPRISE), by the bound of Chernoff, and means lie Z_RECENT above.

Chance alone then stops, within 10,000 requests of its own, fewer than 1 in 10 canaries that stand
exactly at their limit, from 2 % of errors on, and fewer than 1 in 100 that stand at half of it
(simulated; tests/unit/router/test_canaries.py does so, smaller).
"""

import math
from dataclasses import dataclass
from typing import Final

from policies.model import StopIf
from policies.proof import wilson_low

Z: Final = 3.0
Z_RECENT: Final = 5.0
SURPRISE: Final = 12.0
LEAST_REQUESTS: Final = 20  # of errors: a canary that fails altogether is stopped after as many
LEAST_CHARGED: Final = 100  # of each arm: then means of uneven charges are nearly normal


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one arm. `charged`: answers whose charge is known; `usd_squared`: sum of their squares."""

    requests: float = 0
    errors: float = 0
    charged: float = 0
    usd: float = 0.0
    usd_squared: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(*(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(*(a - b for a, b in zip(self.values, other.values, strict=True)))

    @property
    def values(self) -> tuple[float, ...]:
        return self.requests, self.errors, self.charged, self.usd, self.usd_squared

    @property
    def mean_usd(self) -> float:
        return self.usd / self.charged if self.charged else 0.0

    @property
    def variance(self) -> float:
        """Return that of one charge; rounding may make it negative, which it isn't."""
        if self.charged <= 1:
            return 0.0
        squares = self.usd_squared - self.charged * self.mean_usd**2
        return max(0.0, squares / (self.charged - 1))


def one(*, error: bool, usd: float | None) -> Sums:
    """Return the sums of one request; `usd` None: it has no charge that is compared."""
    if usd is None:
        return Sums(1, int(error))
    return Sums(1, int(error), 1, usd, usd * usd)


def too_bad(canary: Sums, stable: Sums, stop_if: StopIf, *, recent: bool = False) -> str | None:
    """Return why the canary is to be stopped; None: nothing speaks surely enough against it.

    `recent`: the sums are of one stretch of many that are looked at.
    """
    return _errors(canary, stop_if.error_rate_above, recent=recent) or _cost(
        canary, stable, stop_if.cost_ratio_above, Z_RECENT if recent else Z
    )


def _errors(canary: Sums, above: float | None, *, recent: bool) -> str | None:
    if above is None or canary.requests < LEAST_REQUESTS:
        return None
    rate = canary.errors / canary.requests
    if rate <= above:
        return None
    if recent and canary.requests * _divergence(rate, above) <= SURPRISE:
        return None
    if not recent and wilson_low(rate, canary.requests, Z) <= above:
        return None
    of = f"{canary.errors:.0f} of {canary.requests:.0f} requests failed"
    return f"{of} ({rate:.1%}), more than {above:.1%}"


def _divergence(rate: float, above: float) -> float:
    """Return that of Kullback and Leibler, in nats: so many requests at `above` come to such a rate
    or a worse one with a chance of exp(-requests x this) at most.
    """
    if above <= 0:
        return math.inf
    well = (1 - rate) * math.log((1 - rate) / (1 - above)) if rate < 1 else 0.0
    return rate * math.log(rate / above) + well


def _cost(canary: Sums, stable: Sums, above: float | None, z: float) -> str | None:
    if above is None or min(canary.charged, stable.charged) < LEAST_CHARGED:
        return None
    more = canary.mean_usd - above * stable.mean_usd
    squares = canary.variance / canary.charged + above**2 * stable.variance / stable.charged
    # Sums of equal charges differ in their last digits only.
    if more <= z * math.sqrt(squares) or more <= 1e-9 * canary.mean_usd:
        return None
    means = f"${canary.mean_usd:.6f} a request against ${stable.mean_usd:.6f}"
    of = f"over {canary.charged:.0f} and {stable.charged:.0f} of them"
    return f"it costs {means} ({of}), more than {above:g} times as much"

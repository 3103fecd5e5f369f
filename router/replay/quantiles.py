"""Exact percentiles of a column: by nearest rank, so each is a value that was there. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, isnan


@dataclass(frozen=True, slots=True)
class Quantiles:
    """None: there were no values."""

    p50: float | None
    p95: float | None
    p99: float | None


def known(values: Iterable[float]) -> list[float]:
    """Return the values that are known, least first."""
    return sorted(value for value in values if not isnan(value))


def quantile(ordered: list[float], share: float) -> float | None:
    """Return the least value that this share of all is not above; None of no values."""
    if not ordered:
        return None
    rank = ceil(round(share * len(ordered), 9))  # 0.95 * 20 is 19, not a little more
    return ordered[max(0, rank - 1)]


def quantiles(values: Iterable[float]) -> Quantiles:
    ordered = known(values)
    return Quantiles(*(quantile(ordered, share) for share in (0.5, 0.95, 0.99)))

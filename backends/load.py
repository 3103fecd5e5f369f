"""What a fleet is doing now, as one value. A missing signal is None, never zero."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ready", "cold", "waking", "draining", "open-circuit"]


@dataclass(frozen=True, slots=True)
class Load:
    """In-flight counts every request sent, or about to be, and not finished, waiting ones included.

    `committed` replicas are paid whether used or not; a savings plan may cover one in part. The
    ewma factors are observed / predicted. At `limit` in flight no more is sent; None: no limit.
    """

    state: State = "ready"
    in_flight: int = 0
    queued: int | None = None
    replicas: int = 1
    committed: float = 0
    ewma_ttft: float = 1.0
    ewma_itl: float = 1.0
    expected_rph: float | None = None
    stale: bool = False
    limit: int | None = None


def is_full(load: Load) -> bool:
    """Return whether as many are in flight as may be."""
    return load.limit is not None and load.in_flight >= load.limit

"""What a fleet's replicas cost, minute by minute: the sum of these rows is the fleet's bill."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FleetTime:
    """So many replicas were ready for so many seconds of this minute, at this price each."""

    fleet: str
    minute: str  # RFC 3339 UTC, a whole minute
    seconds: float  # covered, 0..60
    replicas: int  # ready
    nano_hour: int
    source: str  # observed | assumed
    emulated: bool

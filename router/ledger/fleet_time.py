"""What fleets cost by the minute: the bill that charges are reconciled with. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

HOUR_S = 3600
MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class FleetTime:
    """`replicas` of a fleet were ready for `seconds` of a minute, at `nano_hour` each."""

    fleet: str
    minute: str  # RFC 3339, UTC, a whole minute: 2026-11-21T09:30:00Z
    seconds: float  # covered, 0..60
    replicas: int
    nano_hour: int
    source: Literal["observed", "assumed"]
    emulated: bool

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= MINUTE_S:
            raise ValueError(f"seconds of a minute: 0 to 60, not {self.seconds}")
        if self.replicas < 0 or self.nano_hour < 0:
            raise ValueError("replicas and their price are at least 0")
        if len(self.minute) != len("2026-11-21T09:30:00Z") or not self.minute.endswith(":00Z"):
            raise ValueError(f"a whole minute as 2026-11-21T09:30:00Z, not {self.minute!r}")


def bill_nano(rows: Iterable[FleetTime]) -> int:
    """Return what the rows cost together, in nano-USD, rounded once."""
    cost = sum(Fraction(row.seconds) * row.replicas * row.nano_hour for row in rows)
    return round(Fraction(cost) / HOUR_S)

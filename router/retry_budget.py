"""How much load retries may add: one retry of a fleet for ten first tries of it. Pure, timeless.

What a fleet's first tries earn is kept up to a small burst, which it begins with; so retries add
at most 10 % and that burst, however long the fleet fails. In whole tenths, so that ten are one.
"""

from dataclasses import dataclass, field
from typing import Final

EARNED: Final = 1  # tenths of a retry, by a first try
RETRY: Final = 10
BURST: Final = 10 * RETRY


@dataclass(slots=True)
class RetryBudget:
    """The fleets' tenths, of one process."""

    _tenths: dict[str, int] = field(default_factory=dict)

    def tried(self, fleet: str) -> None:
        """Count a first try of the fleet."""
        self._tenths[fleet] = min(BURST, self._tenths.get(fleet, BURST) + EARNED)

    def take(self, fleet: str) -> bool:
        """Take one retry of the fleet, if there is one."""
        tenths = self._tenths.get(fleet, BURST)
        if tenths < RETRY:
            return False
        self._tenths[fleet] = tenths - RETRY
        return True

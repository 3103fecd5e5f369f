"""A place on a fleet, from the decision that takes it until its request is sent."""

from dataclasses import dataclass

from router.decide import Decision
from router.tracker import Tracker


@dataclass(slots=True)
class Place:
    """A place that is held on a fleet for a request. Let go where it is sent or given up."""

    tracker: Tracker
    fleet: str | None = None

    def take(self, decision: Decision, now_s: float) -> bool:
        """Hold the place of the plan's first attempt, in exchange for what was held.

        False: another worker was quicker, and nothing is held.
        """
        fleet = decision.plan.attempts[0].candidate.fleet
        if fleet == self.fleet:
            return True
        self.let_go()
        return self.hold(fleet, now_s)

    def hold(self, fleet: str, now_s: float) -> bool:
        if not self.tracker.hold(fleet, now_s):
            return False
        self.fleet = fleet
        return True

    def sent(self) -> None:
        """Its request counts as sent from now on: there is nothing to let go."""
        self.fleet = None

    def let_go(self) -> str | None:
        """Return the fleet on which a place was held."""
        fleet, self.fleet = self.fleet, None
        if fleet is not None:
            self.tracker.let_go(fleet)
        return fleet

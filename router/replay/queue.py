"""Who waits in the router for a place on a fleet, as router.admission has it, without a clock."""

from typing import Final, NamedTuple

from router.line import CLASSES, Line

URGENCY: Final = {name: urgency for urgency, name in enumerate(CLASSES)}


class Waiter(NamedTuple):
    """A request in line; `came_s`: when it joined first, which its wait is counted from."""

    urgency: int
    number: int
    fleets: frozenset[str]
    i: int
    came_s: float


Queue = Line[Waiter]

"""Who waits in the router for a place on a fleet, as router.admission has it, without a clock."""

from typing import Final, NamedTuple

from router.line import CLASSES, Line

URGENCY: Final = {name: urgency for urgency, name in enumerate(CLASSES)}


class Waiter(NamedTuple):
    """Request `i` of the trace in line; `number`: its place among all who ever joined."""

    urgency: int
    number: int
    fleets: frozenset[str]
    i: int


Queue = Line[Waiter]

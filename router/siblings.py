"""What the workers of one router share of its fleets, as ports; alone, there is nothing to share.

In-flight requests and the circuit are one for all workers: what one finds out holds for all.
"""

import math
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol

from backends.load import Load

TOLD_FOR_S: Final = 1.0  # a worker that hangs must not keep places from the others


class Known(Protocol):
    """What one worker knows of a fleet. `in_flight` and `held` places are its own, `siblings` those
    of all others; `load` None: something changed since it was made.
    """

    in_flight: int
    held: int
    siblings: int
    failures: int
    closed_until_s: float
    openings: int
    trial: bool
    load: Load | None


class Circuit(Protocol):
    """One fleet's. While it is held, `Known` is as all know it; what is changed is told to all."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def look(self) -> None:
        """Bring `Known` up to date without holding it."""

    def waits(self, rank: float, now_s: float) -> None:
        """Say the rank of the first who waits here for a place: the least goes first, 0 is nobody.
        It is to be said again within `TOLD_FOR_S`, and else forgotten.
        """

    def first(self, now_s: float) -> float:
        """Return the rank of the first who waits in another worker; infinite: nobody does."""


class Circuits(Protocol):
    def of(self, fleet_id: str, known: Known) -> Circuit:
        """Return the circuit through which `known` is shared."""


class Sleepers(Protocol):
    """Who missed a fleet that sleeps, and when somebody was asked to wake it."""

    def missed(
        self,
        fleet_id: str,
        now_s: float,
        wake_s: float,
        *,
        asleep: bool,
        beyond: float = 0.0,
        window_s: float = math.inf,
    ) -> int:
        """Count a request; return all since the last time, if somebody is to be asked now, else 0.

        Not `asleep`: it wakes already. Somebody is asked once more than `beyond` were counted;
        the count begins anew after `window_s`.
        """

    def unasked(self, fleet_id: str, requests: int) -> None:
        """Nobody could be asked: count them again, and let the next request have it tried."""


class Turn(Protocol):
    """Whose turn it is to do what one of all workers does."""

    def mine(self) -> bool: ...

    def pass_on(self) -> None:
        """Leave it to the others from now on."""


class _AloneCircuit:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def look(self) -> None:
        pass

    def waits(self, rank: float, now_s: float) -> None:
        pass

    def first(self, now_s: float) -> float:  # noqa: ARG002  (of the port)
        return math.inf


ALONE: Final[Circuit] = _AloneCircuit()


@dataclass(slots=True)
class Missed:
    """The port `Sleepers` of one process."""

    _requests: dict[str, int] = field(default_factory=dict)
    _since_s: dict[str, float] = field(default_factory=dict)
    _asked_s: dict[str, float] = field(default_factory=dict)

    def missed(
        self,
        fleet_id: str,
        now_s: float,
        wake_s: float,
        *,
        asleep: bool,
        beyond: float = 0.0,
        window_s: float = math.inf,
    ) -> int:
        before = self._requests.get(fleet_id, 0)
        if not before or now_s - self._since_s.get(fleet_id, now_s) >= window_s:
            before, self._since_s[fleet_id] = 0, now_s
        missed = self._requests[fleet_id] = before + 1
        asked_s = self._asked_s.get(fleet_id)
        if not asleep or missed <= beyond or (asked_s is not None and now_s - asked_s < wake_s):
            return 0
        self._requests[fleet_id], self._asked_s[fleet_id] = 0, now_s
        return missed

    def unasked(self, fleet_id: str, requests: int) -> None:
        self._requests[fleet_id] = self._requests.get(fleet_id, 0) + requests
        self._asked_s.pop(fleet_id, None)


class _AlonesTurn:
    def mine(self) -> bool:
        return True

    def pass_on(self) -> None:
        pass


MINE: Final[Turn] = _AlonesTurn()

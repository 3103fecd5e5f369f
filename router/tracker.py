"""What this process knows of each fleet's load: in-flight requests, breaker, learned corrections.

Time is an argument (seconds of any monotonic clock). Three things can come of an attempt:
answered (teaches latency, closes the breaker), failed (counts against the fleet), or neither
(the caller hung up, the request was at fault: it teaches nothing).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backends.catalogue import ready
from backends.fleet_model import FleetModel
from backends.load import Load
from backends.profiles import Profile
from policies.model import Breaker

EWMA_ALPHA = 0.1  # weight of the newest observation
EWMA_BOUNDS = (0.1, 10.0)  # a profile that is wrong by more is a wrong profile, not a correction
DRIFT = 2.0  # a profile that is off by this factor, either way, is wrong
DRIFT_AFTER = 20  # answers: fewer are luck


@dataclass(slots=True)
class _Fleet:
    """`load` None: something changed since it was made last."""

    committed: float
    replicas: int
    profile: Profile | None
    in_flight: int = 0
    ewma_ttft: float = 1.0
    ewma_itl: float = 1.0
    learned: int = 0  # answers
    failures: int = 0
    closed_until_s: float = 0.0  # by the breaker or by Retry-After
    openings: int = 0  # how often the circuit has opened
    trial: bool = False  # half open: one request at a time may find out
    load: Load | None = None


class Tracker:
    """Loads of the fleets of one catalogue, in its order."""

    def __init__(self, fleets: Sequence[FleetModel]) -> None:
        self._fleets = {on.fleet.id: _of(on) for on in fleets}

    def loads(self, now_s: float) -> tuple[Load, ...]:
        """Return every fleet's load at this moment."""
        return tuple([self._at(fleet, now_s) for fleet in self._fleets.values()])

    def is_open(self, fleet_id: str, now_s: float) -> bool:
        """Return whether the fleet is to be left alone at this moment."""
        return _is_open(self._fleets[fleet_id], now_s)

    def started(self, fleet_id: str) -> int:
        """Count a request in; return the circuit's opening that it began after."""
        fleet = self._fleets[fleet_id]
        if fleet.closed_until_s:
            fleet.trial = True
        fleet.in_flight += 1
        fleet.load = None
        return fleet.openings

    def ended(self, fleet_id: str, began_after: int) -> None:
        fleet = self._fleets[fleet_id]
        if began_after == fleet.openings:
            fleet.trial = False
        fleet.in_flight -= 1
        fleet.load = None

    def answered(self, fleet_id: str, began_after: int) -> None:
        """Close the circuit, unless it opened since the request began."""
        fleet = self._fleets[fleet_id]
        if began_after == fleet.openings:
            fleet.failures = 0
            fleet.closed_until_s = 0.0

    def failed(
        self, fleet_id: str, now_s: float, breaker: Breaker, retry_after_s: float | None
    ) -> None:
        """Count a failure; close the fleet for as long as the breaker or the fleet itself says."""
        fleet = self._fleets[fleet_id]
        fleet.failures += 1
        until_s = 0.0
        if fleet.failures >= breaker.failures:
            until_s = now_s + breaker.open_ms / 1000
        if retry_after_s is not None:
            until_s = max(until_s, now_s + retry_after_s)
        if until_s > fleet.closed_until_s:
            fleet.closed_until_s = until_s
            fleet.openings += 1
            fleet.trial = False

    def learn(self, fleet_id: str, ttft_ratio: float | None, itl_ratio: float | None) -> None:
        """Move the corrections towards observed / predicted (predicted without correction)."""
        fleet = self._fleets[fleet_id]
        fleet.ewma_ttft = _moved(fleet.ewma_ttft, ttft_ratio)
        fleet.ewma_itl = _moved(fleet.ewma_itl, itl_ratio)
        fleet.learned += 1
        fleet.load = None

    def profile_is_wrong(self, fleet_id: str) -> bool:
        """Return whether what is seen of the fleet has drifted too far from its profile."""
        fleet = self._fleets[fleet_id]
        factors = (fleet.ewma_ttft, fleet.ewma_itl)
        far = any(not 1 / DRIFT <= factor <= DRIFT for factor in factors)
        return far and fleet.learned >= DRIFT_AFTER

    def reopens_in_s(self, now_s: float) -> float | None:
        """Return the time until the first closed fleet may be tried again; None if all are open."""
        waits = [f.closed_until_s - now_s for f in self._fleets.values() if f.closed_until_s]
        return max(0.0, min(waits)) if waits else None

    def keep(self, older: "Tracker") -> None:
        """Take over what an older catalogue's tracker knows of the fleets that both have."""
        for fleet_id, fleet in older._fleets.items():  # noqa: SLF001  (the same class)
            if fleet_id in self._fleets:
                new = self._fleets[fleet_id]
                fleet.committed, fleet.replicas = new.committed, new.replicas
                if fleet.profile != new.profile:  # the corrections were of the old one
                    fleet.profile = new.profile
                    fleet.ewma_ttft, fleet.ewma_itl, fleet.learned = 1.0, 1.0, 0
                fleet.load = None
                self._fleets[fleet_id] = fleet

    @staticmethod
    def _at(fleet: _Fleet, now_s: float) -> Load:
        load = fleet.load
        if load is None:
            load = fleet.load = Load(
                in_flight=fleet.in_flight,
                replicas=fleet.replicas,
                committed=fleet.committed,
                ewma_ttft=fleet.ewma_ttft,
                ewma_itl=fleet.ewma_itl,
            )
        return replace(load, state="open-circuit") if _is_open(fleet, now_s) else load


def _is_open(fleet: _Fleet, now_s: float) -> bool:
    return bool(fleet.closed_until_s) and (now_s < fleet.closed_until_s or fleet.trial)


def _of(on: FleetModel) -> _Fleet:
    """What is always there is paid for always, and so is what was bought ahead or is covered."""
    fleet = on.fleet
    replicas = ready(fleet)
    committed = fleet.tariff.committed(replicas, fleet.replicas.min)
    return _Fleet(min(replicas, committed + on.covered), replicas, fleet.profile)


def _moved(ewma: float, ratio: float | None) -> float:
    if ratio is None:
        return ewma
    low, high = EWMA_BOUNDS
    return ewma + EWMA_ALPHA * (min(max(ratio, low), high) - ewma)

"""What this process knows of each fleet's load: in-flight requests and their limit, breaker,
learned corrections, and what probes saw. In-flight requests and the breaker are shared with the
router's other workers, and so are places that are held; what is learnt is a worker's own.

Time is an argument (seconds of any monotonic clock). Three things can come of an attempt:
answered (teaches latency and limit, closes the breaker), failed (counts against the fleet), or
neither (the caller hung up, the request was at fault: it teaches nothing).

A place on a fleet is held from the decision that takes it until the request is sent, so that two
decisions don't take the same one, and a fleet that is half open gets one request.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from backends.base import SEEN_FOR_S, CircuitOpen, Seen
from backends.catalogue import ready
from backends.fleet_model import FleetModel
from backends.load import Load, State, is_full
from backends.profiles import Profile
from policies.model import Breaker
from router.limiter import Limiter, Room, room
from router.siblings import ALONE, Circuit, Circuits

EWMA_ALPHA = 0.1  # weight of the newest observation
EWMA_BOUNDS = (0.1, 10.0)  # a profile that is wrong by more is a wrong profile, not a correction
DRIFT = 2.0  # a profile that is off by this factor, either way, is wrong
DRIFT_AFTER = 20  # answers: fewer are luck


@dataclass(frozen=True, slots=True)
class _View:
    """What probes make of a fleet, until they are out of date."""

    state: State
    replicas: int
    committed: float
    others: int
    queued: int | None
    stale: bool
    until_s: float
    room: Room


class Told(NamedTuple):
    """What somebody counted of a fleet at that time: `others` at it beside ours; None: unknown."""

    at_s: float
    others: int | None
    replicas: int | None


class Sent(NamedTuple):
    """A request that was sent: its `number` among this worker's of the fleet, and the circuit's
    opening that it began after.
    """

    number: int
    opening: int


@dataclass(slots=True)
class _Fleet:
    """`load`, `view` None: something changed since they were made last. `siblings`: requests and
    held places of the other workers; `siblings_seen` those at the last probe.

    `committed`, `replicas`, `each`, `most` are the catalogue's. `seen`: of each url what a probe
    saw, and when. `sent` counts this worker's requests.
    """

    committed: float
    replicas: int
    each: int  # streams of one replica
    most: int  # replicas that there may be
    profile: Profile | None
    names: tuple[str, ...] = ()
    wake_s: int | None = None
    seen: dict[int, tuple[float, Seen]] = field(default_factory=dict)
    told: Told | None = None
    view: _View | None = None
    in_flight: int = 0
    held: int = 0  # places that were decided on for requests not sent yet
    siblings: int = 0
    siblings_seen: int = 0
    circuit: Circuit = ALONE
    sent: int = 0
    limiter: Limiter = field(default_factory=Limiter)
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

    def __init__(self, fleets: Sequence[FleetModel], circuits: Circuits | None = None) -> None:
        self._fleets = {on.fleet.id: _of(on) for on in fleets}
        if circuits is not None:
            for fleet_id, fleet in self._fleets.items():
                fleet.circuit = circuits.of(fleet_id, fleet)
        self.freed: Callable[[str], None] = _nobody_waits  # is told of a fleet that lost a request

    def loads(self, now_s: float, rank: float = 0.0) -> tuple[Load, ...]:
        """Return every fleet's load at this moment, as it is for who has this rank: where somebody
        before it waits in another worker, the free places are that one's.
        """
        return tuple([self._left(fleet, now_s, rank) for fleet in self._fleets.values()])

    def waits(self, fleet_id: str, rank: float, now_s: float) -> None:
        """Tell the other workers the rank of the first who waits for the fleet; 0: nobody does."""
        self._fleets[fleet_id].circuit.waits(rank, now_s)

    def is_open(self, fleet_id: str, now_s: float, *, held: bool = False) -> bool:
        """Return whether the fleet is to be left alone; `held`: by who has no place there."""
        fleet = self._fleets[fleet_id]
        fleet.circuit.look()
        return _is_open(fleet, now_s, fleet.held - held)

    def is_full(self, fleet_id: str, now_s: float) -> bool:
        """Return whether the fleet has no place for one more request."""
        fleet = self._fleets[fleet_id]
        fleet.circuit.look()
        view = self._view(fleet, now_s)
        return _requests(fleet, view) >= _limit(fleet, view)

    def has_place(self, fleet_id: str, now_s: float, rank: float = 0.0) -> bool:
        """Return whether a request of this rank may be sent there at this moment."""
        load = self._left(self._fleets[fleet_id], now_s, rank)
        return load.state == "ready" and not is_full(load)

    def hold(self, fleet_id: str, now_s: float) -> bool:
        """Take a place for a request that is sent later: it counts as in flight, for all workers.

        False: there is none, because another worker took it since this one looked.
        """
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
            view = self._view(fleet, now_s)
            if _requests(fleet, view) >= _limit(fleet, view) or _is_open(fleet, now_s, fleet.held):
                return False
            fleet.held += 1
            fleet.load = None
            return True

    def let_go(self, fleet_id: str) -> None:
        """Give a place back that was held."""
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
            fleet.held -= 1
            fleet.load = None

    def in_flight(self, fleet_id: str) -> int:
        """Return the requests of this router that were sent and aren't finished."""
        fleet = self._fleets[fleet_id]
        fleet.circuit.look()
        return fleet.in_flight + fleet.siblings

    def saw(self, fleet_id: str, seen: Sequence[Seen], now_s: float) -> None:
        """Take what a probe saw of the fleet's urls, in their order."""
        fleet = self._fleets[fleet_id]
        fleet.circuit.look()
        fleet.siblings_seen = fleet.siblings
        for i, each in enumerate(seen[: len(fleet.names)]):
            if each.state != "unknown":
                fleet.seen[i] = now_s, each
        fleet.view = None

    def told(self, fleet_id: str, now_s: float, requests: int | None, replicas: int | None) -> None:
        """Take what was counted outside of the engine: open requests, ours among them, which count
        where the engine doesn't tell; replicas that are there.
        """
        fleet = self._fleets[fleet_id]
        fleet.circuit.look()
        others = requests
        if requests is not None:
            others = max(0, requests - fleet.in_flight - fleet.siblings)
        fleet.told = Told(now_s, others, replicas)
        fleet.view = None

    def seen(self, fleet_id: str, now_s: float) -> tuple[Seen, ...]:
        """Return what probes saw of the fleet's urls and what is not out of date."""
        return tuple(_fresh(self._fleets[fleet_id], now_s))

    def is_observed(self, fleet_id: str, now_s: float) -> bool:
        """Return whether every replica was seen. Of several behind one url only one was."""
        fleet = self._fleets[fleet_id]
        told = _told(fleet, now_s)
        if told is not None and told.replicas is not None:
            return True
        return len(fleet.names) >= fleet.replicas and len(_fresh(fleet, now_s)) == len(fleet.names)

    def started(self, fleet_id: str, *, held: bool = False) -> Sent:
        """Count a request in, in exchange for the place that was `held` for it, if one was; return
        what it is to be ended by.

        Raises CircuitOpen: another worker's request tries the fleet since this one looked.
        """
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
            if fleet.closed_until_s:
                if fleet.trial and fleet.circuit is not ALONE:
                    raise CircuitOpen("another request tries it")
                fleet.trial = True
            fleet.held -= held
            fleet.in_flight += 1
            fleet.sent += 1
            fleet.load = None
            return Sent(fleet.sent, fleet.openings)

    def ended(self, fleet_id: str, sent: Sent) -> None:
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
            if sent.opening == fleet.openings:
                fleet.trial = False
            fleet.in_flight -= 1
            fleet.load = None
        self.freed(fleet_id)

    def answered(self, fleet_id: str, sent: Sent) -> None:
        """Close the circuit, unless it opened since the request began; the limit may grow."""
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
            if sent.opening == fleet.openings:
                fleet.failures = 0
                fleet.closed_until_s = 0.0
        view = fleet.view
        if view is not None:
            fleet.limiter.answered(_requests(fleet, view), view.room)
            fleet.load = None

    def dropped(self, fleet_id: str, sent: Sent, now_s: float) -> None:
        """Shrink the limit: the fleet said that it has too much, or gave nothing in time."""
        fleet = self._fleets[fleet_id]
        fleet.limiter.dropped(sent.number, fleet.sent, now_s, self._view(fleet, now_s).room)
        fleet.load = None

    def failed(
        self, fleet_id: str, now_s: float, breaker: Breaker, retry_after_s: float | None
    ) -> None:
        """Count a failure; close the fleet for as long as the breaker or the fleet itself says."""
        fleet = self._fleets[fleet_id]
        with fleet.circuit:
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
        """Return the time until the first fleet that is closed or asleep may be tried again.

        None if there is none. One that is asleep takes its time to wake.
        """
        waits: list[float] = []
        for fleet in self._fleets.values():
            if self._at(fleet, now_s).state in ("cold", "waking"):
                waits.append(float(fleet.wake_s or 0))
            elif _is_open(fleet, now_s, fleet.held):
                waits.append(max(0.0, fleet.closed_until_s - now_s))
        return min(waits) if waits else None

    def keep(self, older: "Tracker") -> None:
        """Take over what an older catalogue's tracker knows of the fleets that both have."""
        self.freed = older.freed
        for fleet_id, fleet in older._fleets.items():  # noqa: SLF001  (the same class)
            if fleet_id in self._fleets:
                new = self._fleets[fleet_id]
                fleet.committed, fleet.replicas = new.committed, new.replicas
                fleet.each, fleet.most = new.each, new.most
                fleet.wake_s = new.wake_s
                if new.names != fleet.names:  # what was seen was of others
                    fleet.names, fleet.seen, fleet.told = new.names, {}, None
                if fleet.profile != new.profile:  # the corrections were of the old one
                    fleet.profile = new.profile
                    fleet.ewma_ttft, fleet.ewma_itl, fleet.learned = 1.0, 1.0, 0
                fleet.view = None
                self._fleets[fleet_id] = fleet

    @staticmethod
    def _view(fleet: _Fleet, now_s: float) -> _View:
        view = fleet.view
        if view is None or now_s >= view.until_s:
            view = fleet.view = _view(fleet, now_s)
            fleet.load = None
        return view

    def _left(self, fleet: _Fleet, now_s: float, rank: float) -> Load:
        load = self._at(fleet, now_s)
        if load.limit is None or fleet.circuit.first(now_s) >= rank:
            return load
        return replace(load, in_flight=max(load.in_flight, load.limit))

    def _at(self, fleet: _Fleet, now_s: float) -> Load:
        fleet.circuit.look()
        view = fleet.view
        if view is None or now_s >= view.until_s:
            view = self._view(fleet, now_s)
        load = fleet.load
        if load is None:
            load = fleet.load = Load(
                state=view.state,
                in_flight=_requests(fleet, view),
                queued=view.queued,
                replicas=view.replicas,
                committed=view.committed,
                ewma_ttft=fleet.ewma_ttft,
                ewma_itl=fleet.ewma_itl,
                stale=view.stale,
                limit=_limit(fleet, view),
            )
        if fleet.closed_until_s and load.state == "ready" and _is_open(fleet, now_s, fleet.held):
            return replace(load, state="open-circuit")
        return load


def _view(fleet: _Fleet, now_s: float) -> _View:
    """Put together what probes know. What nobody saw is as the catalogue says."""
    fresh = _fresh(fleet, now_s)
    gone = [seen for seen in fresh if seen.state in ("down", "loading")]
    there = len(fleet.names) - len(gone)
    state: State = "ready"
    replicas = fleet.replicas
    if gone:
        replicas = max(1, replicas * there // len(fleet.names)) if there else 0
        state = state if there else _asleep(fleet, gone)
    told = _told(fleet, now_s)
    if told is not None and told.replicas is not None:
        replicas = told.replicas
        state = state if replicas else _asleep(fleet, gone)
    others, queued = (told.others if told is not None else None) or 0, None
    # Else one of several behind a url has spoken.
    if len(fleet.names) >= max(fleet.replicas, replicas if told is not None else 0):
        up = [seen for seen in fresh if seen.state == "up"]
        known = [seen.others for seen in up if seen.others is not None]
        others = max(0, sum(known) - fleet.siblings_seen) if known else others
        waiting = [seen.waiting for seen in up if seen.waiting is not None]
        queued = sum(waiting) if waiting and len(waiting) == there else None
    times = [at_s for at_s, _ in fleet.seen.values() if now_s - at_s < SEEN_FOR_S]
    if told is not None:
        times.append(told.at_s)
    return _View(
        state=state,
        replicas=replicas,
        committed=min(fleet.committed, replicas),
        others=others,
        queued=queued,
        stale=len(fresh) < len(fleet.seen) or (told is None and fleet.told is not None),
        until_s=min(times) + SEEN_FOR_S if times else math.inf,
        room=room(replicas, fleet.each, fleet.most),
    )


def _requests(fleet: _Fleet, view: _View) -> int:
    """Return those that are there or about to be: ours, all workers', and others'."""
    return fleet.in_flight + fleet.held + fleet.siblings + view.others


def _limit(fleet: _Fleet, view: _View) -> int:
    """Others fill the fleet as well as we, but leave us what every limit leaves."""
    return max(fleet.limiter.limit(view.room), view.others + view.room.floor)


def _asleep(fleet: _Fleet, gone: Sequence[Seen]) -> State:
    """Return the state of a fleet none of whose replicas is there."""
    if fleet.wake_s is None:
        return "open-circuit"
    return "waking" if any(seen.state == "loading" for seen in gone) else "cold"


def _fresh(fleet: _Fleet, now_s: float) -> list[Seen]:
    return [seen for at_s, seen in fleet.seen.values() if now_s - at_s < SEEN_FOR_S]


def _told(fleet: _Fleet, now_s: float) -> Told | None:
    """Return what was counted and is not out of date."""
    told = fleet.told
    return told if told is not None and now_s - told.at_s < SEEN_FOR_S else None


def _is_open(fleet: _Fleet, now_s: float, held: int) -> bool:
    """Half open, it is so for all but one: the request that holds its place, or was sent.

    `held`: places that are held by others than who asks.
    """
    if not fleet.closed_until_s:
        return False
    return now_s < fleet.closed_until_s or fleet.trial or held > 0


def _nobody_waits(_fleet_id: str) -> None:
    return


def _of(on: FleetModel) -> _Fleet:
    """What is always there is paid for always, and so is what was bought ahead or is covered."""
    fleet = on.fleet
    replicas = ready(fleet)
    committed = fleet.tariff.committed(replicas, fleet.replicas.min)
    return _Fleet(
        min(replicas, committed + on.covered),
        replicas,
        fleet.replicas.concurrency_each,
        fleet.replicas.max,
        fleet.profile,
        names=fleet.urls,
        wake_s=fleet.wake_seconds,
    )


def _moved(ewma: float, ratio: float | None) -> float:
    if ratio is None:
        return ewma
    low, high = EWMA_BOUNDS
    return ewma + EWMA_ALPHA * (min(max(ratio, low), high) - ewma)

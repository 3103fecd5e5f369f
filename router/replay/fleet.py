"""One fleet of a replay: what decisions see of it, and what its service does."""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from typing import NamedTuple

from backends.catalogue import ready
from backends.fleet_model import FleetModel, Row
from backends.load import Load, State
from router.limiter import Limiter, room
from router.replay.outcome import FleetRun
from router.replay.service import Service


class Costs(NamedTuple):
    """A `backends.fleet_model.Row` of which all is known, without ratios of lengths."""

    floor_ms: float
    fixed_ms: float
    ms_per_token: float
    itl_ms: float
    marginal_in: float | None
    marginal_out: float
    average_in: float | None
    average_out: float
    wait_p50: float
    wait_p95: float
    ttft_p95: float
    e2e_p95_prefill: float
    e2e_p95_decode: float


def _costs(row: Row) -> Costs | None:
    floor_ms = row.floor_ms
    if floor_ms is None or row.lengths is not None:
        return None
    return Costs(
        floor_ms,
        row.fixed_ms,
        row.ms_per_token,
        row.itl_ms,
        row.marginal_in,
        row.marginal_out,
        row.average_in,
        row.average_out,
        row.wait_p50,
        row.wait_p95,
        row.ttft_p95,
        row.e2e_p95_prefill,
        row.e2e_p95_decode,
    )


def _awake(on: FleetModel) -> Costs | None:
    row = on.row(0, 1, 0)
    return None if row is None else _costs(row)


def first_replicas(on: FleetModel) -> int:
    """Return how many replicas a replay begins with: one that can't be woken is always there."""
    fleet = on.fleet
    return fleet.replicas.min if fleet.wake_seconds is not None else ready(fleet)


class Fleet:
    """`replicas` are ready; `closed`: no request may be sent there now; `place`: the catalogue's.

    `cold`: nothing runs, and a request may wake it. `sent`: so many requests, ever.

    `rows`: of the present replicas what each number of requests in flight makes of it, as far as
    it was looked up.
    """

    __slots__ = (
        "_committed",
        "_load",
        "_of",
        "awake",
        "closed",
        "cold",
        "committed",
        "in_flight",
        "limit",
        "limiter",
        "on",
        "place",
        "replicas",
        "room",
        "rows",
        "run",
        "sent",
        "service",
        "state",
    )

    def __init__(self, place: int, on: FleetModel) -> None:
        self.place, self.on = place, on
        fleet = on.fleet
        usual = ready(fleet)
        # As router.tracker has it: what is always there, was bought ahead or is covered.
        self._committed = min(
            float(usual), fleet.tariff.committed(usual, fleet.replicas.min) + on.covered
        )
        # What it would be asleep, as one idle replica (router.wake_worth).
        self.awake = _awake(on)
        self.in_flight = self.sent = 0
        self.limiter = Limiter()
        self._of: dict[int, list[Costs | None]] = {}
        self.run = FleetRun(fleet.id, array("d"), array("d"), array("d"), array("d"))
        self.service = Service(on, 1)
        self.state: State = "ready"
        self.resize(first_replicas(on), 0.0, "ready")

    def resize(self, replicas: int, now_s: float, none: State) -> None:
        """Go on with so many replicas; with none the fleet is in the state `none`."""
        fleet = self.on.fleet
        self.replicas = replicas
        self.state = "ready" if replicas else ("cold" if none == "ready" else none)
        self.committed = min(self._committed, replicas)
        self.room = room(replicas, fleet.replicas.concurrency_each, fleet.replicas.max)
        self.limit = self.limiter.limit(self.room)
        self.rows = self._of.setdefault(replicas, [])
        self.service.resize(replicas, now_s)
        self.changed()

    def repriced(self, on: FleetModel) -> None:
        """Go on with the same fleet at another marginal cost."""
        self.on = on
        self.awake = _awake(on)
        self._of.clear()
        self.rows = self._of.setdefault(self.replicas, [])
        self.changed()

    def changed(self) -> None:
        """Take note that requests, limit or replicas are others."""
        self._load: Load | None = None
        self.cold = self.state == "cold"
        self.closed = self.state != "ready" or self.in_flight >= self.limit

    def load(self) -> Load:
        """Return the load as the router would know it."""
        load = self._load
        if load is None:
            load = self._load = Load(
                self.state,
                self.in_flight,
                None,
                self.replicas,
                self.committed,
                limit=self.limit,
            )
        return load

    def costs(self) -> Costs | None:
        """Return what the present load makes of the fleet; None: `FleetModel.predict` knows."""
        rows, in_flight = self.rows, self.in_flight
        while len(rows) <= in_flight:
            row = self.on.row(len(rows), self.replicas, self.committed)
            rows.append(None if row is None else _costs(row))
        return rows[in_flight]

    def answered(self) -> None:
        """Count a request out that was answered: where all places were used the limit grows."""
        if self.in_flight >= self.limit:
            self.limiter.answered(self.in_flight, self.room)
            self.limit = self.limiter.limit(self.room)
        self.in_flight -= 1
        self._load = None
        self.closed = self.state != "ready" or self.in_flight >= self.limit

    def left(self, number: int, now_s: float) -> None:
        """Count the request of this number out, given up: the fleet was silent for too long."""
        self.limiter.dropped(number, self.sent, now_s, self.room)
        self.limit = self.limiter.limit(self.room)
        self.lost()

    def lost(self) -> None:
        """Count a request out whose machine is gone: that says nothing of the fleet's room."""
        self.in_flight -= 1
        self._load = None
        self.closed = self.state != "ready" or self.in_flight >= self.limit

    def taken(self) -> int:
        """Count a request in; return its number among all that were sent there."""
        self.sent = number = self.sent + 1
        self.in_flight += 1
        self._load = None
        self.closed = self.state != "ready" or self.in_flight >= self.limit
        return number

    def capacity(self) -> float:
        """Return the streams of a replica, of which a stream holds a share of its price."""
        return max(1.0, math.floor(self.on.capacity))

"""How many replicas a fleet has while a replay goes on: target tracking, wakes, Spot, blocks.

Time is an argument, in seconds since the trace's start. Pure but for its own state.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from dataclasses import dataclass
from typing import Final

from backends.load import State
from backends.scaling import SLACK, Scaling
from backends.tariff import Tariff, Tranche
from router.replay.bill import seconds_of

NOTICE_S: Final = 120.0  # between the notice and the end of a Spot instance
# AWS ends a block's machines 30 minutes before its end; ten more for streams (router.deploy).
STREAMS_S: Final = 600.0
LET_GO_S: Final = 1800.0 + STREAMS_S


@dataclass(frozen=True, slots=True)
class Block:
    """A capacity block: seconds since the trace's start, of its machines' first and last answer."""

    machines: int
    from_s: float
    until_s: float
    ready_s: float
    let_go_s: float


def block_of(tariff: Tariff, scaling: Scaling, start_s: float) -> Block | None:
    """Return the fleet's capacity block, if it has one with a beginning and an end."""
    for each in tariff.tranches:
        if each.option == "capacity_block" and each.from_ is not None and each.until is not None:
            begins, ends = seconds_of(each.from_) - start_s, seconds_of(each.until) - start_s
            machines = scaling.most if each.replicas is None else min(each.replicas, scaling.most)
            return Block(machines, begins, ends, begins + scaling.wake_s, ends - LET_GO_S)
    return None


def on_spot(tariff: Tariff, standing: int) -> int:
    """Return how many run on Spot of so many replicas beside a capacity block's."""
    beside = [each for each in tariff.tranches if each.from_ is None or each.until is None]
    return sum(n for each, n in Tariff(tuple(beside)).filled(standing) if _is_spot(each))


def _is_spot(tranche: Tranche) -> bool:
    return tranche.option == "spot"


class Size:
    """`standing` replicas are ready, `starting` are not yet, `draining` take nothing new; `block`:
    of a capacity block, ready too; `bought`: its machines that are paid for, ready or not.
    """

    __slots__ = (
        "_above_s",
        "_below_s",
        "_grown_s",
        "_run_until_s",
        "_shrunk_s",
        "block",
        "bought",
        "draining",
        "scaling",
        "standing",
        "starting",
    )

    def __init__(self, scaling: Scaling, standing: int) -> None:
        self.scaling = scaling
        self.standing, self.starting, self.draining = standing, 0, 0
        self.block = self.bought = 0
        self._above_s = self._below_s = 0.0
        self._grown_s = self._shrunk_s = -math.inf
        self._run_until_s = -math.inf

    @property
    def ready(self) -> int:
        return self.standing + self.block

    @property
    def paid(self) -> int:
        return self.standing + self.bought + self.starting + self.draining

    @property
    def none(self) -> State:
        """Return the state of the fleet while no replica is ready."""
        return "waking" if self.starting else "cold"

    def look(self, used: float, over_s: float, now_s: float) -> int:
        """Return how many replicas to start, or below zero to let go.

        `used`: streams that ran or waited at ready replicas, on average over the last `over_s`.
        """
        given, there = self.scaling, self.ready + self.starting
        least, most = max(0, given.least - self.block), max(0, given.most - self.block)
        standing = self.standing + self.starting
        if standing < least:  # a block's end, or an interruption
            return least - standing
        if not self.ready:
            return 0  # no replica, no metric
        above = used > given.streams * self.ready
        below = used < given.streams * self.ready * (1 - SLACK)
        self._above_s = self._above_s + over_s if above else 0.0
        self._below_s = self._below_s + over_s if below else 0.0
        wanted = math.ceil(used / given.streams - 1e-9)
        if self._above_s >= given.out_after_s and now_s >= self._grown_s + given.out_cooldown_s:
            grows = min(most - standing, wanted - there)
            if grows > 0:
                self._grown_s = now_s
                return grows
        runs = now_s < self._run_until_s or self.starting
        if self._below_s >= given.in_after_s and not runs:
            if now_s < self._shrunk_s + given.in_cooldown_s:
                return 0
            goes = min(self.standing - least, there - wanted)
            goes = goes if given.most_in is None else min(goes, given.most_in)
            if goes > 0:
                self._shrunk_s = now_s
                return -goes
        return 0

    def began(self, replicas: int) -> None:
        """So many machines are started."""
        self.starting += replicas

    def is_ready(self, now_s: float) -> None:
        """One that was started answers, and runs for its least time; where a block's machines came
        meanwhile and are as many as there may be, it goes at once.
        """
        self.starting -= 1
        if self.ready >= self.scaling.most:
            return
        self.standing += 1
        self._below_s = 0.0
        self._run_until_s = max(self._run_until_s, now_s + self.scaling.min_run_s)

    def went(self, replicas: int) -> None:
        """So many are let go."""
        self.standing -= replicas

"""Requests whose fleets are all at their limits wait here for a place, in bounded number and time.

A place that comes free is held for the one whose turn it is, who then decides anew: so each place
wakes one request, and nobody who comes later takes it first.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from backends.load import Load
from router.decide import Decision
from router.line import CLASSES, Line
from router.metrics import Metrics
from router.place import Place
from router.refusals import no_candidate, overloaded, shutting_down
from router.tracker import Tracker

LOOK_S: Final = 0.02  # places also come free where no request of ours ends: in another worker
TRIES: Final = 8  # to take a place before another worker does; then it is sent, if it still can be
URGENCY: Final = {name: urgency for urgency, name in enumerate(CLASSES)}
Decided = Callable[[Sequence[Load]], Decision]
"""What decides one request at these loads."""
A_CLASS_S: Final = 1e10  # more than any clock shows


def rank_of(urgency: int, came_s: float) -> float:
    """Return who goes first among all workers' requests: the least. Above 0."""
    return (1 + urgency) * A_CLASS_S + came_s


@dataclass(slots=True, eq=False)
class _Waiter:
    urgency: int
    number: int
    rank: float
    fleets: frozenset[str]
    place: Place
    called: asyncio.Future[bool]  # True: a place is held for it; False: it has to go


@dataclass(slots=True)
class Admission:
    """`most` wait at once, each `wait_s` at most. `clock` is monotonic, in seconds."""

    clock: Callable[[], float]
    metrics: Metrics
    most: int
    wait_s: float
    _came: int = 0
    _line: Line[_Waiter] = field(init=False)
    _looking: asyncio.TimerHandle | None = None
    _closed: bool = False
    _told: dict[str, Tracker] = field(default_factory=dict)  # fleets that others know we wait for

    def __post_init__(self) -> None:
        self._line = Line(self.most)
        self._show()

    def waiting(self, urgency: int) -> int:
        return self._line.waiting(urgency)

    def freed(self, fleet: str) -> None:
        """Call those whose turn it is, as many as there are places."""
        while (one := self._line.first(fleet)) is not None:
            now_s = self.clock()
            tracker = one.place.tracker
            if not tracker.has_place(fleet, now_s, one.rank) or not one.place.hold(fleet, now_s):
                return
            self._line.leave(one)
            one.called.set_result(True)

    def move(self, place: Place, decision: Decision) -> None:
        """Hold the place that another decision takes."""
        fleet = place.fleet
        place.take(decision, self.clock())
        self._unless_taken(fleet, place)

    def give_up(self, place: Place) -> None:
        """Let the place go, if it is held, to whoever waits for it."""
        self._unless_taken(place.let_go(), place)

    def look(self) -> None:
        """Give out every free place, so that nobody who comes now takes it from who waits."""
        for fleet in self._line.wanted():
            self.freed(fleet)
        self._tell()

    def _tell(self) -> None:
        """Let the other workers know who is first here, of each fleet."""
        now_s, told = self.clock(), self._told
        self._told = {}
        for fleet in self._line.wanted():
            if (one := self._line.first(fleet)) is not None:
                self._told[fleet] = one.place.tracker
                one.place.tracker.waits(fleet, one.rank, now_s)
        for fleet in told.keys() - self._told.keys():
            told[fleet].waits(fleet, 0.0, now_s)

    def close(self) -> None:
        """Send away all who wait, and who comes to wait from now on."""
        self._closed = True
        for fleet in self._line.wanted():
            while (one := self._line.first(fleet)) is not None:
                self._line.leave(one)
                one.called.set_result(False)

    def placed(self, place: Place, rank: float, decided: Decided) -> Decision:
        """Decide anew, and hold the place that is decided on. Without one it has no attempts,
        unless other workers were quicker again and again.
        """
        for _ in range(TRIES):
            decision = decided(place.tracker.loads(self.clock(), rank))
            if not decision.plan.attempts or place.take(decision, self.clock()):
                break
        return decision

    async def wait(
        self, place: Place, rank: float, decision: Decision, hoped: Decision, decided: Decided
    ) -> Decision:
        """Return what is decided once a place is free; it is held then. Raises Refusal.

        `hoped` is what `hope` made of `decision`: it says for which fleets to wait.
        """
        self._came += 1
        number = self._came
        seconds = min(self.wait_s, hoped.plan.limits.deadline_ms / 1000)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._turn(number, place, rank, decision, hoped)
                    fleet = place.let_go()
                    decision = self.placed(place, rank, decided)
                    self._unless_taken(fleet, place)
                    if decision.plan.attempts:
                        return decision
                    hoped = hope(decision, decided)
                    if not hoped.plan.attempts:
                        wait_s = place.tracker.reopens_in_s(self.clock())
                        raise no_candidate(hoped, wait_s)
        except TimeoutError:
            self._turned_away("waited")
            raise overloaded(decision, f"none came free in {seconds:g} s", self.wait_s) from None
        except asyncio.CancelledError:
            self._turned_away("left")
            raise

    async def _turn(
        self, number: int, place: Place, rank: float, decision: Decision, hoped: Decision
    ) -> None:
        """Wait until a place is held. Raises Refusal where others go first, or nobody any more."""
        full = at_limit(decision)
        fleets = frozenset(c.fleet for c in hoped.verdict.ranked if c.fleet in full)
        urgency = URGENCY[decision.facts.service_class]
        called = asyncio.get_running_loop().create_future()
        one = _Waiter(urgency, number, rank, fleets, place, called)
        last = one if self._closed else self._line.join(one)
        if last is not None:
            last.called.set_result(False)
        self._show()
        self._look_later()
        try:
            came = await called
        except BaseException:
            self._line.leave(one)
            self.give_up(place)
            raise
        finally:
            self._show()
        if self._closed and not came:
            self._turned_away("shutdown")
            raise shutting_down()
        if not came:
            self._turned_away("full" if last is one else "pushed_out")
            said = f"{self.most} requests wait already" if last is one else "a more urgent one came"
            raise overloaded(decision, said, self.wait_s)

    def _unless_taken(self, fleet: str | None, place: Place) -> None:
        """Give the place that was held on this fleet to the next, unless it is held again."""
        if fleet is not None and fleet != place.fleet:
            self.freed(fleet)

    def _look_later(self) -> None:
        if self._looking is None and len(self._line):
            self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._looking = None
        self.look()
        self._look_later()

    def _show(self) -> None:
        self._tell()
        for name, urgency in URGENCY.items():
            self.metrics.waiting.labels(name).set(self.waiting(urgency))

    def _turned_away(self, why: str) -> None:
        self.metrics.turned_away.labels(why).inc()


def at_limit(decision: Decision) -> frozenset[str]:
    """Return the fleets that were refused for being full."""
    refused = decision.verdict.refused
    return frozenset(r.candidate.fleet for r in refused if r.code == "at_limit")


def hope(decision: Decision, decided: Decided) -> Decision:
    """Return what would be decided if each full fleet had one place: nothing else mends by waiting
    for a request's end. Without a feasible fleet it says what is in the way beside.
    """
    if not at_limit(decision):
        return decision
    return decided([_with_a_place(load) for load in decision.loads])


def _with_a_place(load: Load) -> Load:
    return (
        load if load.limit is None else replace(load, in_flight=min(load.in_flight, load.limit - 1))
    )

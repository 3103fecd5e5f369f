"""What holds for every crowd before full fleets: places are neither lost nor given twice.

A real tracker and a real line, with decisions that only ask which fleets are full, on a clock that
stands still. After each step everybody who was called has run.
"""

import asyncio
from types import SimpleNamespace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backends.base import Seen
from backends.load import is_full
from backends.tariff import single
from router.admission import URGENCY, Admission, hope, rank_of
from router.errors import Refusal
from router.line import CLASSES
from router.metrics import Metrics
from router.place import Place
from router.tracker import Tracker

FLEETS = ("a", "b")
STEPS = 20


def tracker(places):
    return Tracker(
        [
            SimpleNamespace(
                covered=0.0,
                fleet=SimpleNamespace(
                    id=name,
                    replicas=SimpleNamespace(min=1, max=1, concurrency_each=places),
                    urls=("u",),
                    tariff=single("on_demand", None),
                    profile=None,
                    wake_seconds=None,
                    sagemaker=None,
                ),
            )
            for name in FLEETS
        ]
    )


def decides(service_class, may):
    """Return what sends a request to the first fleet of `may` that isn't full."""

    def decided(loads):
        free = [f for f, load in zip(FLEETS, loads, strict=True) if f in may and not is_full(load)]
        refused = [f for f in may if f not in free]
        candidates = [SimpleNamespace(fleet=f) for f in free]
        return SimpleNamespace(
            facts=SimpleNamespace(service_class=service_class),
            loads=loads,
            plan=SimpleNamespace(
                attempts=[SimpleNamespace(candidate=c) for c in candidates],
                limits=SimpleNamespace(deadline_ms=60_000),
            ),
            verdict=SimpleNamespace(
                rule=SimpleNamespace(id="r"),
                ranked=candidates,
                refused=[
                    SimpleNamespace(candidate=SimpleNamespace(fleet=f), code="at_limit", detail="")
                    for f in refused
                ],
            ),
        )

    return decided


class Crowd:
    def __init__(self, places, most):
        self.tracker = tracker(places)
        self.admission = Admission(lambda: 0.0, Metrics(), most, 60.0)
        self.tracker.freed = self.admission.freed
        self.running, self.waits, self.served, self.refused = [], [], [], []
        self.lined = {}  # number -> what it waits for, and its place

    async def come(self, number, service_class, may):
        place, decided = Place(self.tracker), decides(service_class, may)
        self.admission.look()
        decision = decided(self.tracker.loads(0.0))
        if decision.plan.attempts:
            assert place.take(decision, 0.0)
            passed = [n for n, (wants, held) in self.lined.items() if held.fleet is None]
            assert not any(place.fleet in self.lined[n][0] for n in passed)
        else:
            rank, hoped = rank_of(URGENCY[service_class], 0.0), hope(decision, decided)
            waiting = self.admission.wait(place, rank, decision, hoped, decided)
            self.lined[number] = may, place
            try:
                await waiting
            except Refusal:
                self.refused.append(number)
                return
            finally:
                del self.lined[number]
        self.served.append(number)
        fleet = place.let_go()
        self.running.append((fleet, self.tracker.started(fleet)))

    def end(self, which=0):
        fleet, number = self.running.pop(which)
        self.tracker.answered(fleet, number)
        self.tracker.ended(fleet, number)

    def check(self):
        for name, load in zip(FLEETS, self.tracker.loads(0.0), strict=True):
            mine = sum(fleet == name for fleet, _ in self.running)
            assert load.in_flight == mine <= load.limit  # nothing is held, nothing too much
            wanting = [may for _, _, may, task in self.waits if not task.done() and name in may]
            assert not wanting or mine == load.limit  # nobody waits for a place that is free
        left = [each for each in self.waits if not each[3].done()]
        assert len(left) == sum(map(self.admission.waiting, range(3))) <= self.admission.most


crowds = st.lists(
    st.one_of(
        st.tuples(
            st.just("come"),
            st.sampled_from(CLASSES),
            st.sampled_from([frozenset("a"), frozenset("b"), frozenset("ab")]),
        ),
        st.tuples(st.just("end"), st.sampled_from([1, 2]), st.sampled_from([0, -1])),
        st.tuples(st.just("come as one ends"), st.sampled_from(CLASSES), st.just(frozenset("a"))),
        st.tuples(
            st.just("leave"), st.sampled_from([0, 1]), st.booleans()
        ),  # just as it is called?
        st.tuples(st.just("drop"), st.sampled_from(FLEETS), st.none()),
    ),
    max_size=STEPS,
)
AB = frozenset("ab")


async def _play(places, most, history):
    crowd = Crowd(places, most)
    for number, (what, which, more) in enumerate(history):
        if what in ("come", "come as one ends"):
            task = asyncio.create_task(crowd.come(number, which, more))
            crowd.waits.append((number, CLASSES.index(which), more, task))
            if what != "come" and crowd.running:
                crowd.end()  # who is called by that runs after the one that comes
        elif what == "end":
            before = list(crowd.served)
            for _ in range(min(which, len(crowd.running))):
                crowd.end(more)
            await _settled()
            _in_turn(crowd, crowd.served[len(before) :])
        elif what == "drop":
            _drop(crowd, which)
        elif what == "leave":
            left = [task for *_, task in crowd.waits if not task.done()]
            if more and crowd.running:
                crowd.end()  # somebody is called, and leaves before it runs
            if which < len(left):
                left[which].cancel()
        await _settled()
        crowd.check()
    while crowd.running or any(not task.done() for *_, task in crowd.waits):
        crowd.end()
        await _settled()
        crowd.check()
    ended = await asyncio.gather(*(task for *_, task in crowd.waits), return_exceptions=True)
    assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended), ended
    return crowd


def _drop(crowd, fleet):
    numbers = [n for name, n in crowd.running if name == fleet]
    if not numbers:
        return
    crowd.tracker.dropped(fleet, numbers[-1], 0.0)
    limit = crowd.tracker.loads(0.0)[FLEETS.index(fleet)].limit
    for number in numbers[limit:]:  # those above the limit end
        crowd.running.remove((fleet, number))
        crowd.tracker.ended(fleet, number)


async def _settled():
    for _ in range(6):
        await asyncio.sleep(0)


def _in_turn(crowd, called):
    """Nobody was called before one who waits for all that it took, and was before it in line."""
    order = {number: (urgency, number) for number, urgency, _, _ in crowd.waits}
    for number in called:
        may = next(may for n, _, may, _ in crowd.waits if n == number)
        for other, _, wants, task in crowd.waits:
            if not task.done() and wants >= may:
                assert order[number] < order[other]


@settings(max_examples=250)
@given(st.sampled_from([1, 2]), st.sampled_from([0, 1, 3]), crowds)
@example(1, 3, [("come", "standard", AB)] * 3 + [("leave", 0, False)])
@example(2, 3, [("come", "standard", frozenset("a"))] * 4 + [("leave", 0, True)])
@example(
    1,
    3,
    [
        ("come", "standard", frozenset("a")),
        ("come", "standard", frozenset("a")),
        ("come", "interactive", frozenset("a")),
        ("end", 1, 0),
    ],
)
@example(
    1,
    3,
    [("come", "standard", frozenset("a"))] * 4 + [("leave", 0, True)],
)
@example(1, 3, [("come", "standard", frozenset("a"))] * 4 + [("come as one ends", "standard", AB)])
@example(
    1,
    3,
    [
        ("come", "standard", frozenset("a")),
        ("come", "standard", frozenset("b")),
        ("come", "interactive", AB),
        ("come", "standard", frozenset("b")),
        ("come", "standard", frozenset("b")),
        ("end", 2, -1),
    ],
)
def test_every_place_is_given_once_in_turn_and_never_lost(places, most, history):
    crowd = asyncio.run(_play(places, most, history))
    assert crowd.running == []
    assert [load.in_flight for load in crowd.tracker.loads(0.0)] == [0, 0]


def test_at_the_end_everybody_who_waits_is_sent_away_and_nobody_waits_again():
    async def play():
        crowd = Crowd(1, 5)
        for number in range(4):
            task = asyncio.create_task(crowd.come(number, "standard", AB))
            crowd.waits.append((number, 1, AB, task))
        await _settled()
        assert len(crowd.served) == 2
        crowd.admission.close()
        await _settled()
        late = asyncio.create_task(crowd.come(9, "interactive", AB))
        await _settled()
        assert late.done()
        assert crowd.refused == [2, 3, 9]

    asyncio.run(play())


def test_a_place_that_comes_free_without_a_request_s_end_is_given_out_soon():
    async def play():
        crowd = Crowd(1, 5)
        crowd.tracker.saw("a", [Seen("up", others=1)], 0.0)
        await crowd.come(0, "standard", frozenset("a"))  # ours is left one place
        task = asyncio.create_task(crowd.come(1, "standard", frozenset("a")))
        await _settled()
        assert not task.done()
        ((_, sent),) = crowd.running
        crowd.running.clear()
        crowd.tracker.freed = lambda _fleet: None
        crowd.tracker.ended("a", sent)
        await asyncio.wait_for(task, 20)
        assert crowd.served == [0, 1]

    asyncio.run(play())

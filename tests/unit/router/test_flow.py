"""The attempts generator, played with canned results; and its driver."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from backends.base import (
    Broken,
    CircuitOpen,
    ContextExceeded,
    Garbled,
    Misconfigured,
    Overloaded,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreachable,
    Unreadable,
)
from policies.model import Acceptance, Limits
from router.decide import Attempt, Plan
from router.drive import Hands, drive
from router.flow import (
    Came,
    Failed,
    Failure,
    Hedge,
    NotAccepted,
    Pause,
    Paused,
    Served,
    Try,
    attempts,
)

A, B, C = (Attempt(SimpleNamespace(fleet=name), 1000.0, 10) for name in "abc")
PLAN = Plan((A, B, C), Limits(deadline_ms=3000))
DOWN = Unreachable("refused")
WRONG = Rejected("400", status=400, body=b"{}")


def play(plan, *results):
    """Return what the generator asked for, and its outcome."""
    steps, asked = attempts(plan), []
    try:
        asked.append(next(steps))
        for came in results:
            asked.append(steps.send(came))  # noqa: PERF401  (extend would swallow StopIteration)
    except StopIteration as stop:
        return asked, stop.value
    raise AssertionError("the flow wanted another result")


def test_the_first_answer_is_returned():
    asked, outcome = play(PLAN, Came("hello", 200))
    assert asked == [Try(A, 1000)]
    assert outcome == Served(A, "hello", 200, ())


def test_a_failed_fleet_is_followed_by_the_next_within_the_time_left():
    asked, outcome = play(PLAN, Came(DOWN, 2500), Came("hello", 100))
    assert asked == [Try(A, 1000), Try(B, 500)]
    assert isinstance(outcome, Served)
    assert [f.error for f in outcome.failures] == [DOWN]


def test_a_request_that_is_at_fault_is_not_tried_elsewhere():
    asked, outcome = play(PLAN, Came(WRONG, 10))
    assert len(asked) == 1
    assert isinstance(outcome, Failed)
    assert not outcome.out_of_time


def test_nothing_is_tried_after_the_deadline():
    asked, outcome = play(PLAN, Came(TimedOut("slow"), 3000))
    assert len(asked) == 1
    assert outcome.out_of_time


def test_when_every_fleet_failed_every_reason_is_kept():
    _, outcome = play(PLAN, Came(DOWN, 1), Came(Overloaded("429"), 1), Came(DOWN, 1))
    assert [f.error.code for f in outcome.failures] == ["unreachable", "overloaded", "unreachable"]
    assert not outcome.out_of_time


def test_an_empty_plan_fails_without_a_try():
    assert play(Plan((), Limits())) == ([], Failed(()))


# -- an answer that is tested ----------------------------------------------------------------------

TESTED = replace(A, accept_if=(Acceptance("json_valid", wanted=True),))
CASCADE = Plan((TESTED, B, C), Limits(deadline_ms=3000))
NOT_KEPT = NotAccepted("json_valid")


def test_an_answer_that_is_not_accepted_goes_on_to_the_next_attempt_within_the_time_left():
    asked, outcome = play(CASCADE, Came(NOT_KEPT, 2500), Came("hello", 100))
    assert asked == [Try(TESTED, 1000), Try(B, 500)]
    assert (outcome.attempt, outcome.answer) == (B, "hello")
    assert [failure.error for failure in outcome.failures] == [NOT_KEPT]


def test_an_answer_that_is_accepted_ends_it():
    asked, outcome = play(CASCADE, Came("hello", 200))
    assert (asked, outcome) == ([Try(TESTED, 1000)], Served(TESTED, "hello", 200, ()))


def test_a_rejection_by_the_fleet_that_is_tried_may_be_of_what_we_added_and_ends_nothing():
    asked, outcome = play(CASCADE, Came(WRONG, 10), Came(WRONG, 10))
    assert [step.attempt for step in asked] == [TESTED, B]
    assert isinstance(outcome, Failed)


def test_when_those_who_follow_fail_the_answer_that_was_not_kept_is_not_taken_after_all():
    _, outcome = play(CASCADE, Came(NOT_KEPT, 1), Came(DOWN, 1), Came(Overloaded("429"), 1))
    codes = [failure.error.code for failure in outcome.failures]
    assert codes == ["not_accepted", "unreachable", "overloaded"]


def test_a_deadline_that_the_first_answer_used_up_leaves_nothing():
    _, outcome = play(CASCADE, Came(NOT_KEPT, 3000))
    assert isinstance(outcome, Failed)
    assert outcome.out_of_time


# -- the same fleet again --------------------------------------------------------------------------

ONE = Plan((A,), Limits(deadline_ms=3000), retries=2)
TWO = Plan((A, B), Limits(deadline_ms=3000), retries=2)
RESTED = Paused(go=True, took_ms=10)


def test_a_fleet_that_is_alone_is_tried_again_after_a_pause_whose_bound_doubles():
    asked, outcome = play(ONE, Came(DOWN, 1), RESTED, Came(DOWN, 1), RESTED, Came("hello", 1))
    assert asked == [
        Try(A, 1000),
        Pause(A, 0, 50),
        Try(A, 1000, again=True),
        Pause(A, 0, 100),
        Try(A, 1000, again=True),
    ]
    assert (outcome.attempt, outcome.answer, len(outcome.failures)) == (A, "hello", 2)


def test_the_pause_has_a_bound():
    many = replace(ONE, limits=Limits(), retries=9)
    asked, _ = play(many, *[Came(DOWN, 1), RESTED] * 9, Came(DOWN, 1))
    bounds = [step.jitter_ms for step in asked if isinstance(step, Pause)]
    assert bounds == [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000]


def test_fleets_are_tried_again_in_their_order_after_each_was_tried_once():
    script = [Came(DOWN, 1), Came(DOWN, 1), RESTED, Came(DOWN, 1), RESTED, Came(DOWN, 1)]
    asked, outcome = play(TWO, *script)
    assert [step.attempt for step in asked if isinstance(step, Try)] == [A, B, A, B]
    assert len(outcome.failures) == 4
    assert not outcome.out_of_time


def test_no_more_is_tried_than_the_plan_has_tries_for():
    asked, _ = play(replace(ONE, retries=0), Came(DOWN, 1))
    assert len(asked) == 1


@pytest.mark.parametrize(
    "error",
    [DOWN, Overloaded("429"), ServerFailed("500"), TimedOut("slow"), Garbled("html")]
    + [Broken("closed", received=received) for received in (True, False)],
    ids=lambda error: error.code,
)
def test_what_may_pass_is_tried_again(error):
    asked, _ = play(ONE, Came(error, 1), RESTED, Came("hello", 1))
    assert asked[-1] == Try(A, 1000, again=True)


@pytest.mark.parametrize(
    "error",
    [Misconfigured("401"), CircuitOpen("open"), ContextExceeded("long"), Unreadable("400"), WRONG],
    ids=lambda error: error.code,
)
def test_what_will_not_pass_is_not_tried_again(error):
    asked, outcome = play(ONE, Came(error, 1))
    assert len(asked) == 1
    assert isinstance(outcome, Failed)


def test_a_tested_answer_is_asked_for_once_whatever_came_of_it():
    cascade = replace(CASCADE, attempts=(TESTED, B), retries=1)
    asked, _ = play(cascade, Came(DOWN, 1), Came(DOWN, 1), RESTED, Came("hello", 1))
    assert [step.attempt for step in asked if isinstance(step, Try)] == [TESTED, B, B]


def test_a_retry_after_is_waited_for_from_when_it_was_said():
    busy = Overloaded("429", retry_after_s=1)
    asked, _ = play(TWO, Came(busy, 10), Came(DOWN, 400), RESTED, Came("hello", 1))
    assert asked[2] == Pause(A, 600, 50)


def test_a_fleet_that_asks_for_more_time_than_is_left_is_not_tried_again():
    busy = Overloaded("429", retry_after_s=2)
    asked, outcome = play(TWO, Came(busy, 10), Came(busy, 1000), Paused(go=False, took_ms=0))
    assert asked[2:] == [Pause(A, 1000, 50)]
    assert not outcome.out_of_time


def test_a_pause_never_goes_past_the_deadline():
    asked, outcome = play(ONE, Came(DOWN, 2980), Paused(go=True, took_ms=20))
    assert asked == [Try(A, 1000), Pause(A, 0, 20)]
    assert outcome.out_of_time


def test_a_fleet_that_may_not_be_tried_again_leaves_its_tries_to_the_others():
    script = [Came(DOWN, 1), Came(DOWN, 1), Paused(go=False, took_ms=0), RESTED, Came(DOWN, 1)]
    asked, outcome = play(TWO, *script, RESTED, Came("hello", 1))
    assert [step.attempt for step in asked if isinstance(step, Try)] == [A, B, B, B]
    assert outcome.answer == "hello"


# -- a hedge ---------------------------------------------------------------------------------------

HEDGED = replace(PLAN, hedge_after_ms=400.0)
PAIR = Try(A, 1000, hedge=Hedge(B, 400, 1000))


def test_the_first_try_may_have_another_one_beside_it():
    asked, outcome = play(HEDGED, Came("hello", 500, of=B))
    assert asked == [PAIR]
    assert outcome == Served(B, "hello", 500, ())


def test_a_hedge_is_given_the_time_that_is_left_when_it_starts():
    asked, _ = play(replace(HEDGED, limits=Limits(deadline_ms=1100)), Came("hello", 1))
    assert asked == [Try(A, 1000, hedge=Hedge(B, 400, 700))]


def test_one_that_would_start_after_its_try_has_ended_is_left_out():
    asked, _ = play(replace(HEDGED, hedge_after_ms=1000.0), Came("hello", 1))
    assert asked == [Try(A, 1000)]


def test_a_first_try_that_fails_before_is_followed_by_the_second_alone():
    asked, _ = play(HEDGED, Came(DOWN, 10, of=A), Came("hello", 1))
    assert asked == [PAIR, Try(B, 1000)]


def test_a_pair_that_fails_counts_as_two_tries_and_the_third_follows():
    both = Came(DOWN, 700, of=B, before=(Failure(A, TimedOut("slow"), 600),))
    asked, outcome = play(HEDGED, both, Came(DOWN, 1))
    assert asked == [PAIR, Try(C, 1000)]
    assert [failure.attempt for failure in outcome.failures] == [A, B, C]


def test_a_hedge_that_failed_is_told_beside_the_answer_of_the_first():
    _, outcome = play(HEDGED, Came("hello", 700, of=A, before=(Failure(B, DOWN, 500),)))
    assert outcome == Served(A, "hello", 700, (Failure(B, DOWN, 500),))


def test_only_the_first_two_are_ever_a_pair():
    asked, _ = play(replace(HEDGED, attempts=(A,)), Came("hello", 1))
    assert asked == [Try(A, 1000)]
    one = replace(ONE, attempts=(A, B), hedge_after_ms=400.0)
    both = Came(DOWN, 700, of=B, before=(Failure(A, DOWN, 600),))
    asked, _ = play(one, both, RESTED, Came(DOWN, 1), RESTED, Came("hello", 1))
    tries = [step for step in asked if isinstance(step, Try)]
    assert [step.hedge is None for step in tries] == [False, True, True]


# -- the driver ------------------------------------------------------------------------------------


def driven(send, step_s=0.1):
    now = iter(range(1000))
    return asyncio.run(drive(PLAN, Hands(send, None, None, None), lambda: next(now) * step_s))


def test_the_driver_sends_until_somebody_answers():
    tried = []

    async def send(step):
        tried.append(step.attempt.candidate.fleet)
        if step.attempt is not C:
            raise DOWN
        return "hello"

    outcome = driven(send)
    assert tried == ["a", "b", "c"]
    assert outcome.answer == "hello"
    assert outcome.took_ms == pytest.approx(100)


@pytest.mark.parametrize("bug", [KeyError("x"), ValueError("y")])
def test_a_bug_is_not_taken_for_an_outage(bug):
    async def send(_step):
        raise bug

    with pytest.raises(type(bug)):
        driven(send)


def test_the_driver_pauses_and_tells_how_long_that_took():
    done, now = [], [0.0]

    async def send(step):
        done.append(step)
        if not step.again:
            raise DOWN
        return "hello"

    async def rest(pause):
        done.append(pause)
        now[0] += 2.5
        return True

    outcome = asyncio.run(drive(ONE, Hands(send, rest, None, None), lambda: now[0]))
    assert done == [Try(A, 1000), Pause(A, 0, 50), Try(A, 500, again=True)]
    assert outcome.answer == "hello"


SOON = replace(PLAN, hedge_after_ms=10.0)


class Pair:
    """Fleets that answer or fail after so many milliseconds; who was lost, and with what."""

    def __init__(self, **fleets):
        self.fleets, self.lost, self.sent, self.cancelled = fleets, [], [], []
        self.both = asyncio.Event()

    async def send(self, step):
        name = step.attempt.candidate.fleet
        self.sent.append(name)
        if len(self.sent) == 2:
            self.both.set()
        after_ms, result = self.fleets[name]
        try:
            await asyncio.sleep(after_ms / 1000)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if isinstance(result, Exception):
            raise result
        return result

    async def lose(self, attempt, answer, beaten):
        self.lost.append((attempt.candidate.fleet, answer, beaten))

    def drive(self, plan=SOON):
        return drive(plan, Hands(self.send, None, None, self.lose), time.monotonic)

    def run(self, plan=SOON):
        return asyncio.run(self.drive(plan))


LONG = 60_000


def test_the_first_answer_wins_and_the_other_attempt_is_cancelled():
    pair = Pair(a=(LONG, "a"), b=(1, "b"))
    outcome = pair.run()
    assert (outcome.attempt, outcome.answer) == (B, "b")
    assert (pair.cancelled, pair.lost) == (["a"], [("a", None, True)])


def test_the_first_attempt_may_still_win():
    pair = Pair(a=(200, "a"), b=(LONG, "b"))
    assert pair.run().answer == "a"
    assert (pair.sent, pair.lost) == (["a", "b"], [("b", None, True)])


def test_an_attempt_that_answers_in_time_is_never_hedged():
    pair = Pair(a=(0, "a"))
    assert pair.run(replace(PLAN, hedge_after_ms=900.0)).answer == "a"
    assert (pair.sent, pair.lost) == (["a"], [])


def test_an_attempt_that_fails_in_time_is_followed_not_hedged():
    pair = Pair(a=(0, DOWN), b=(0, "b"))
    outcome = pair.run(replace(PLAN, hedge_after_ms=900.0))
    assert (outcome.answer, pair.sent, pair.lost) == ("b", ["a", "b"], [])
    assert [failure.error for failure in outcome.failures] == [DOWN]


@pytest.mark.parametrize("fails", ["a", "b"])
def test_when_one_of_a_pair_fails_the_other_goes_on(fails):
    fleets = {"a": (200, "a"), "b": (200, "b")} | {fails: (100, DOWN)}
    pair = Pair(**fleets)
    outcome = pair.run()
    assert outcome.answer != fails
    assert [(f.attempt.candidate.fleet, f.error) for f in outcome.failures] == [(fails, DOWN)]
    assert pair.lost == []


def test_when_both_fail_the_next_is_tried():
    pair = Pair(a=(100, DOWN), b=(50, DOWN), c=(0, "c"))
    outcome = pair.run()
    assert outcome.answer == "c"
    assert {f.attempt.candidate.fleet for f in outcome.failures} == {"a", "b"}


def test_a_request_at_fault_ends_both():
    pair = Pair(a=(LONG, "a"), b=(1, WRONG))
    outcome = pair.run()
    assert isinstance(outcome, Failed)
    assert (pair.cancelled, pair.sent) == (["a"], ["a", "b"])


def test_a_second_answer_at_the_same_moment_is_handed_back_to_be_closed():
    async def send(step):
        await both.wait()
        return step.attempt.candidate.fleet

    async def run():
        asyncio.get_running_loop().call_later(0.2, both.set)
        return await drive(SOON, Hands(send, None, None, pair.lose), time.monotonic)

    both, pair = asyncio.Event(), Pair()
    assert asyncio.run(run()).answer == "a"
    assert pair.lost == [("b", "b", True)]


def test_a_caller_who_hangs_up_cancels_both():
    async def run():
        driving = asyncio.create_task(pair.drive())
        await pair.both.wait()
        driving.cancel()
        await asyncio.wait([driving])
        assert driving.cancelled()
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    pair = Pair(a=(LONG, "a"), b=(LONG, "b"))
    assert asyncio.run(run()) == []
    assert sorted(pair.cancelled) == ["a", "b"]
    assert sorted(pair.lost) == [("a", None, False), ("b", None, False)]


def test_a_bug_in_one_of_a_pair_flies_and_leaves_nothing_running():
    pair = Pair(a=(LONG, "a"), b=(1, KeyError("x")))
    with pytest.raises(KeyError):
        pair.run()
    assert pair.cancelled == ["a"]

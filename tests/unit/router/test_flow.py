"""The attempts generator, played with canned results; and its driver."""

import asyncio
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

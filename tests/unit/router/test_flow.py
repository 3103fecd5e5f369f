"""The attempts generator, played with canned results; and its driver."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Overloaded, Rejected, TimedOut, Unreachable
from policies.model import Acceptance, Limits
from router.decide import Attempt, Plan
from router.drive import drive
from router.flow import Came, Failed, NotAccepted, Served, Try, attempts

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


results = st.sampled_from(["answer", DOWN, TimedOut("slow"), WRONG, NOT_KEPT])
times = st.sampled_from([0, 1, 999, 1000, 1500, 3000, 5000])


@given(
    st.sampled_from([PLAN, CASCADE]), st.lists(st.tuples(results, times), min_size=3, max_size=3)
)
def test_for_any_script_the_bounds_hold(plan, script):
    steps, asked, spent = attempts(plan), [], 0.0
    try:
        step = next(steps)
        for result, took_ms in script:
            asked.append(step)
            kept_ms = min(took_ms, step.timeout_ms)  # a driver keeps to the time-out
            spent += kept_ms
            step = steps.send(Came(result, kept_ms))
    except StopIteration as stop:
        outcome = stop.value
    assert spent <= plan.limits.deadline_ms
    assert len(asked) <= len(plan.attempts)
    assert [s.attempt for s in asked] == list(plan.attempts[: len(asked)])
    assert len(outcome.failures) + isinstance(outcome, Served) == len(asked)


# -- the driver ------------------------------------------------------------------------------------


def driven(send, step_s=0.1):
    now = iter(range(1000))
    return asyncio.run(drive(PLAN, send, lambda: next(now) * step_s))


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

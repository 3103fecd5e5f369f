"""What is left of a plan once a fleet has found the prompt too long."""

from types import SimpleNamespace

import pytest

from backends.base import ContextExceeded, Unreachable
from policies.model import Limits, Settings
from router.decide import Attempt, Plan
from router.flow import Came, Failed, PassedOver, Served, Try, attempts
from router.overflow import after_overflow

FACTS = SimpleNamespace(max_tokens=None, tokens_out=50)
SETTINGS = Settings(max_output_tokens=500)
FOUND = ContextExceeded("status 400", n_prompt_tokens=1000, n_ctx=900)


def candidate(fleet, context, usd=1, facts=FACTS):
    """Return a fleet whose prompt costs as many nano-USD as `usd` says, and each token that."""
    return SimpleNamespace(
        fleet=fleet,
        context_tokens=context,
        facts=facts,
        itl_p50_ms=None,
        nano_at_most=lambda tokens: None if usd is None else usd * (100 + tokens),
    )


def attempt(fleet, context, max_tokens=500, **more):
    return Attempt(candidate(fleet, context, **more), 1000.0, max_tokens)


def plan(*attempts, rest=(), **more):
    limits = Limits(attempts=len(attempts))
    return Plan(attempts, limits, rest=rest, settings=SETTINGS, **more)


def left(plan, error=FOUND, *, money_binds=True):
    first, *coming = plan.attempts
    kept, passed = after_overflow(plan, first, coming, error, money_binds=money_binds)
    named = [(each.candidate.fleet, each.max_tokens) for each in kept]
    return named, [each.candidate.fleet for each, _ in passed]


SMALL, SAME, LARGE = attempt("small", 900), attempt("same", 900), attempt("large", 4000)


def test_who_has_no_room_for_what_was_counted_is_passed_over():
    assert left(plan(SMALL, SAME, LARGE)) == ([("large", 500)], ["same"])


@pytest.mark.parametrize(
    ("context", "found"),
    [(1500, [("b", 500)]), (1499, [("b", 499)]), (1050, [("b", 50)]), (1049, [])],
)
def test_there_must_be_room_for_the_answer_that_is_expected(context, found):
    assert left(plan(SMALL, attempt("b", context)))[0] == found


def test_the_callers_own_limit_is_not_cut():
    facts = SimpleNamespace(max_tokens=200, tokens_out=50)
    for context, kept in ((1200, [("b", 200)]), (1199, [])):
        assert left(plan(SMALL, attempt("b", context, 200, facts=facts)))[0] == kept


def test_of_a_fleet_that_told_its_context_alone_only_larger_ones_follow():
    error = ContextExceeded("413", n_ctx=900)
    assert left(plan(SMALL, SAME, attempt("b", 901)), error) == ([("b", 500)], ["same"])


def test_where_nothing_was_told_nothing_is_passed_over():
    found = left(plan(SMALL, SAME, rest=(LARGE.candidate,)), ContextExceeded("413"))
    assert found == ([("same", 500)], [])


def test_fleets_that_the_plan_cut_off_take_the_places_of_those_passed_over():
    rest = tuple(candidate(name, size) for name, size in (("c", 950), ("d", 4000), ("e", 8000)))
    assert left(plan(SMALL, SAME, rest=rest)) == ([("d", 500)], ["same"])
    assert left(plan(SMALL, LARGE, rest=rest)) == ([("large", 500)], [])


@pytest.mark.parametrize(
    ("usd", "retries", "taken"), [(2, 0, True), (2, 1, False), (3, 0, False), (1, 3, True)]
)
def test_where_money_binds_they_cost_no_more_than_was_set_aside(usd, retries, taken):
    rest = (candidate("dear", 4000, usd),)  # 600 nano-USD times `usd`; set aside are twice 600
    found = left(plan(SMALL, SAME, rest=rest, retries=retries))
    assert found[0] == ([("dear", 500)] if taken else [])
    assert left(plan(SMALL, SAME, rest=rest), money_binds=False)[0] == [("dear", 500)]


def test_an_unknown_price_takes_no_place_where_money_binds():
    rest = (candidate("unknown", 4000, None),)
    assert left(plan(SMALL, SAME, rest=rest))[0] == []
    assert left(plan(SMALL, SAME, rest=rest), money_binds=False)[0] == [("unknown", 500)]


def test_a_stream_has_the_time_of_a_stream_in_another_ones_place():
    rest = (LARGE.candidate,)
    for stream, timeout_ms in ((True, 20_000), (False, 120_000)):
        planned = plan(SMALL, SAME, rest=rest, stream=stream)
        (found,) = after_overflow(planned, SMALL, [SAME], FOUND, money_binds=True).attempts
        assert found.timeout_ms == timeout_ms


# -- in the flow -----------------------------------------------------------------------------------


def play(plan, *script):
    steps, asked = attempts(plan), []
    try:
        asked.append(next(steps))
        for came in script:
            asked.append(steps.send(came))  # noqa: PERF401  (extend would swallow StopIteration)
    except StopIteration as stop:
        return asked, stop.value
    raise AssertionError("the flow wanted another result")


def test_the_next_try_is_of_a_fleet_with_room():
    asked, outcome = play(plan(SMALL, SAME, LARGE), Came(FOUND, 1), None, Came("hello", 1))
    assert [type(step) for step in asked] == [Try, PassedOver, Try]
    assert isinstance(outcome, Served)
    assert outcome.attempt.candidate.fleet == "large"
    assert [f.error.code for f in outcome.failures] == ["context_exceeded"] * 2


def test_when_nobody_has_room_every_fleet_has_its_reason():
    asked, outcome = play(plan(SMALL, SAME), Came(FOUND, 1), None)
    assert [step.attempt for step in asked] == [SMALL, SAME]
    assert isinstance(outcome, Failed)
    assert "900 has no room for the 1000 tokens" in outcome.failures[1].error.detail


def test_whoever_takes_a_place_has_one_of_the_tries():
    many = plan(SMALL, SAME, rest=(LARGE.candidate, LARGE.candidate))
    asked, _ = play(many, Came(FOUND, 1), None, Came(FOUND, 1))
    assert len([step for step in asked if isinstance(step, Try)]) == 2


def test_a_place_that_nobody_takes_is_no_try_for_those_that_failed_before():
    fits, late = attempt("fits", 4000), attempt("late", 900)
    script = Came(Unreachable("refused"), 1), Came(FOUND, 1), None
    asked, outcome = play(plan(fits, SMALL, late), *script)
    assert [type(step) for step in asked] == [Try, Try, PassedOver]
    assert isinstance(outcome, Failed)

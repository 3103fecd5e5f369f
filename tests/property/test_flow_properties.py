"""The attempts generator against any script of outcomes, whatever its plan: a model check.

The script plays the driver: it keeps to the time-outs and bounds that a step gives it, and to
nothing else. What every play must hold is written down here on its own, not read from the code.
"""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from hypothesis import example, given, settings
from hypothesis import strategies as st

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
)
from policies.model import Acceptance, Limits, Settings
from router.decide import Attempt, Plan
from router.flow import (
    Came,
    Failed,
    Failure,
    NotAccepted,
    PassedOver,
    Pause,
    Paused,
    Served,
    attempts,
)
from router.retry_budget import RetryBudget

SLACK_MS = 1e-6  # of floats that were added up
JSON = (Acceptance("json_valid", wanted=True),)

ANSWER = "answer"
OUTCOMES = {
    "answer": ANSWER,
    "unreachable": Unreachable("x"),
    "overloaded": Overloaded("x"),
    "wait 1 s": Overloaded("x", retry_after_s=1.0),
    "wait 1 h": Overloaded("x", retry_after_s=3600.0),
    "server_failed": ServerFailed("x"),
    "broken": Broken("x", received=True),
    "garbled": Garbled("x"),
    "timed_out": TimedOut("x"),
    "misconfigured": Misconfigured("x"),
    "open": CircuitOpen("x"),
    "rejected": Rejected("x", status=400, body=b""),
    "too long": ContextExceeded("x"),
    "too long for 50": ContextExceeded("x", n_prompt_tokens=80, n_ctx=50),
    "not kept": NotAccepted("json_valid"),
}
PASSING = frozenset(
    {"unreachable", "overloaded", "wait 1 s", "wait 1 h", "server_failed", "broken", "garbled"}
) | {"timed_out"}
# Few different ones in a play, so that rare ones meet.
POOLS = st.lists(
    st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=4, unique=True
) | st.sampled_from(
    [
        ["too long for 50"],
        ["too long for 50", "unreachable"],
        ["too long for 50", "timed_out", "answer"],
        ["timed_out", "answer"],
        ["wait 1 s", "rejected"],
    ]
)
TIMES = st.sampled_from([0.0, 1.0, 500.0, 970.0, 1000.0, 2000.0, 2470.0, 5000.0])
SHARES = st.sampled_from([0.0, 0.5, 1.0])


def fleet(name, context, price):
    return SimpleNamespace(
        fleet=name,
        context_tokens=context,
        itl_p50_ms=None,
        facts=SimpleNamespace(max_tokens=None, tokens_out=10),
        nano_at_most=lambda tokens: price * (100 + tokens),
    )


KINDS = [(50, 1), (50, 2), (200, 2), (400, 3), (50, 1)]  # contexts and prices
FLEETS = [fleet(f"f{i}", *kind) for i, kind in enumerate(KINDS)]


SMALL = [each for each in FLEETS if each.context_tokens == 50]
LARGE = [each for each in FLEETS if each not in SMALL]
SMALL_FIRST = st.tuples(st.permutations(SMALL), st.permutations(LARGE)).map(
    lambda both: both[0] + both[1]
)


@st.composite
def plans(draw, order=st.permutations(FLEETS)):  # noqa: B008  (a strategy is a value)
    """Return a plan as the decision may make it, over few fleets, times and tries."""
    ranked = draw(order)
    tries = draw(st.integers(0, 4))
    planned = draw(st.integers(min(tries, 1), min(tries, len(ranked))))
    made = [
        Attempt(each, draw(st.sampled_from([1.0, 500.0, 1000.0, 9000.0])), 20)
        for each in ranked[:planned]
    ]
    if made and draw(st.booleans()):
        made[0] = replace(made[0], accept_if=JSON)
    hedged = len(made) > 1 and not made[0].accept_if and draw(st.booleans())
    return Plan(
        tuple(made),
        Limits(deadline_ms=draw(st.sampled_from([2500, 1000, 5000, 1])), attempts=tries),
        draw(st.integers(0, tries - planned)) if made and not made[-1].accept_if else 0,
        tuple(ranked[planned:]),
        Settings(max_output_tokens=20),
        hedge_after_ms=draw(st.sampled_from([1.0, 400.0])) if hedged else None,
    )


@dataclass
class Played:
    """What happened: every try with what came of it, pauses, and the time that it all took."""

    outcome: object = None
    spent_ms: float = 0.0
    tries: list = field(default_factory=list)  # (attempt, again, key of OUTCOMES), as they ended
    beaten: list = field(default_factory=list)  # attempts that were sent and cancelled
    pauses: list = field(default_factory=list)  # (pause, went on, when it began, tries so far)
    passed: list = field(default_factory=list)


def play(plan, pool, draw, *, money_binds):
    """Drive the generator by what is drawn, as a driver would."""
    steps, played, came = attempts(plan, money_binds=money_binds), Played(), None
    try:
        while True:
            step = steps.send(came)
            left_ms = plan.limits.deadline_ms - played.spent_ms
            if isinstance(step, Pause):
                go = draw(st.sampled_from([True, True, False]))
                took_ms = step.at_least_ms + draw(SHARES) * step.jitter_ms if go else 0.0
                played.pauses.append((step, go, played.spent_ms, times_of(step, played)))
                came = Paused(go, took_ms)
                played.spent_ms += took_ms
            elif isinstance(step, PassedOver):
                played.passed.append(step.attempt)
                came = None
            else:
                assert step.timeout_ms <= left_ms + SLACK_MS
                came = tried(step, played, pool, draw, left_ms)
                played.spent_ms += came.took_ms
    except StopIteration as stop:
        played.outcome = stop.value
    return played


def times_of(pause, played):
    """Return how often this fleet was tried."""
    name = pause.attempt.candidate.fleet
    return sum(attempt.candidate.fleet == name for attempt, _, _ in played.tries)


def tried(step, played, pool, draw, left_ms):
    """Play one try, or a pair of them: either may come to its end first."""
    key, took_ms = draw(st.sampled_from(pool)), min(draw(TIMES), step.timeout_ms)
    if not step.attempt.accept_if and key == "not kept":
        key = ANSWER
    hedge = step.hedge
    if hedge is None or took_ms < hedge.after_ms:
        played.tries.append((step.attempt, step.again, key))
        return Came(OUTCOMES[key], took_ms, None if hedge is None else step.attempt)
    assert hedge.after_ms + hedge.timeout_ms <= left_ms + SLACK_MS
    beside = draw(st.sampled_from(pool))
    beside = ANSWER if beside == "not kept" else beside
    beside_ms = hedge.after_ms + min(draw(TIMES), hedge.timeout_ms)
    ended = sorted(
        [(took_ms, 0, step.attempt, key), (beside_ms, 1, hedge.attempt, beside)],
        key=lambda each: each[:2],
    )
    (first_ms, _, first, how), (last_ms, _, last, last_how) = ended
    played.tries.append((first, step.again, how))
    if how in ("answer", "rejected"):
        played.beaten.append(last)
        return Came(OUTCOMES[how], first_ms, first)
    played.tries.append((last, False, last_how))
    before = (Failure(first, OUTCOMES[how], first_ms),)
    return Came(OUTCOMES[last_how], last_ms, last, before)


@settings(max_examples=600)
@given(plans(), POOLS, st.data(), st.booleans())
def test_for_any_script_the_bounds_hold(plan, pool, data, money_binds):
    played = play(plan, pool, data.draw, money_binds=money_binds)
    in_time(plan, played)
    few_enough(plan, played)
    answered_once(played)
    again_only_what_may_pass(plan, played)
    accounted_for(played)
    in_order(plan, played)
    paid_for(plan, played, money_binds=money_binds)


@settings(max_examples=400)
@given(plans(SMALL_FIRST), st.data())
def test_what_takes_the_places_of_others_is_paid_for_and_no_more_than_they(plan, data):
    pool = ["too long for 50", "timed_out", ANSWER]
    played = play(plan, pool, data.draw, money_binds=True)
    few_enough(plan, played)
    in_order(plan, played)
    paid_for(plan, played, money_binds=True)


def in_time(plan, played):
    assert played.spent_ms <= plan.limits.deadline_ms + SLACK_MS
    if isinstance(played.outcome, Failed):
        out = played.spent_ms >= plan.limits.deadline_ms - SLACK_MS
        assert played.outcome.out_of_time == out


def few_enough(plan, played):
    sent = len(played.tries) + len(played.beaten)
    assert sent <= plan.limits.attempts
    again = sum(again for _, again, _ in played.tries)
    assert again <= plan.retries
    assert again == sum(go for _, go, _, _ in played.pauses) or played.outcome.out_of_time


def answered_once(played):
    answered = [attempt for attempt, _, key in played.tries if key == ANSWER]
    if answered:
        assert isinstance(played.outcome, Served)
        assert [played.outcome.attempt] == answered
        assert played.tries[-1][2] == ANSWER
    else:
        assert isinstance(played.outcome, Failed)


def again_only_what_may_pass(plan, played):
    """A fleet comes again after all that were planned, if its last failure may have passed."""
    last = {}
    for attempt, again, key in played.tries:
        name = attempt.candidate.fleet
        assert again == (name in last)
        if again:
            assert last[name] in PASSING
            assert not attempt.accept_if
        last[name] = key
    for attempt, _, key in played.tries[:-1]:
        assert key != "rejected" or attempt.accept_if
    for pause, _, began_ms, times in played.pauses:
        assert pause.at_least_ms >= 0
        assert 0 < pause.jitter_ms <= min(1000, 50 * 2 ** (times - 1))
        most_ms = began_ms + pause.at_least_ms + pause.jitter_ms
        assert most_ms <= plan.limits.deadline_ms + SLACK_MS


def accounted_for(played):
    """Every try that failed is told once, with its own error, and so is what was passed over."""
    failed = [(attempt, OUTCOMES[key]) for attempt, _, key in played.tries if key != ANSWER]
    told = [(f.attempt, f.error) for f in played.outcome.failures]
    for each in failed:
        assert told.count(each) >= failed.count(each)
    assert len(told) == len(failed) + len(played.passed)


def in_order(plan, played):
    """First tries are those of the plan, in its order, and then those that took places."""
    first = [attempt.candidate.fleet for attempt, again, _ in played.tries if not again]
    first += [attempt.candidate.fleet for attempt in played.beaten]
    assert len(set(first)) == len(first)
    passed = {attempt.candidate.fleet for attempt in played.passed}
    assert not passed & set(first)
    planned = [attempt.candidate.fleet for attempt in plan.attempts]
    others = [name for name in first if name not in planned]
    assert len(others) <= len(passed)
    if plan.hedge_after_ms is None:
        kept = [name for name in planned if name in first]
        assert first == [*kept, *others]


def paid_for(plan, played, *, money_binds):
    """Whatever it was charged, at its worst: no more than was set aside for the plan."""
    prompts = [attempt.candidate.nano_at_most(0) for attempt in plan.attempts]
    reserved = sum(a.candidate.nano_at_most(a.max_tokens) for a in plan.attempts)
    reserved += plan.retries * max(prompts, default=0)
    charged = sum(attempt.candidate.nano_at_most(attempt.max_tokens) for attempt in played.beaten)
    for attempt, _, key in played.tries:
        whole = key in (ANSWER, "not kept")
        full = whole or bool(attempt.accept_if)  # a tested one may break off in its answer
        if whole or OUTCOMES[key].may_have_worked:
            charged += attempt.candidate.nano_at_most(attempt.max_tokens if full else 0)
    if money_binds:
        assert charged <= reserved


@example([True] * 50)
@given(st.lists(st.booleans(), max_size=200))
def test_retries_of_a_fleet_stay_within_its_budget(fails):
    """Of requests that come one after the other, of which some fail; each asks for two retries."""
    budget, retries = RetryBudget(), 0
    for first, failing in enumerate(fails, 1):
        budget.tried("a")
        retries += sum(budget.take("a") for _ in range(2)) if failing else 0
        assert retries <= 10 + first / 10

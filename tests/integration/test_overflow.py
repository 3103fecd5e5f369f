"""A prompt that is too long for a fleet, as its engine finds out, moves on to one with room."""

import pytest
from support import BOTH, fleet, plain, policy

MODELS = "models: [{id: s, context_tokens: 4000}, {id: l, context_tokens: 64000}]\n"
TOO_LONG = plain(
    {
        "error": {
            "type": "exceed_context_size_error",
            "code": 400,
            "message": "too long",
            "n_prompt_tokens": 5000,
            "n_ctx": 4000,
        }
    },
    status=400,
)


@pytest.fixture
def three(start_router, upstream, second_upstream):
    """Two small fleets and a large one, which the plan has no attempt for."""

    def start(attempts=2, more=""):
        fleets = (
            fleet("one", upstream.url, model="s"),
            fleet("two", upstream.url, model="s"),
            fleet("large", second_upstream.url, model="l", lane="accelerator"),
        )
        limits = f", limits: {{attempts: {attempts}}}"
        text = policy(BOTH, baseline="l@large", defaults=limits) + more
        return start_router("version: 1\n" + MODELS + "fleets:\n" + "".join(fleets), text)

    return start


def test_small_fleets_are_passed_over_and_a_larger_one_takes_their_place(three, upstream):
    router = three()
    upstream.answers(TOO_LONG)
    response = router.chat()
    assert response.headers["x-sluice-fleet"] == "large"
    assert len(upstream.bodies) == 1
    receipt = router.receipt(response)
    assert receipt["plan"] == ["one", "two"]
    told = [(attempt["fleet"], attempt["outcome"]) for attempt in receipt["attempts"]]
    assert told == [("one", "context_exceeded"), ("two", "passed_over"), ("large", "ok")]
    assert "5000 tokens" in receipt["attempts"][1]["detail"]
    assert [attempt["usd"] for attempt in receipt["attempts"][:2]] == [0, 0]


BUDGET = "budgets:\n  - {id: all, match: {}, usd: 1, per: month, tz: UTC, when_spent: reject}\n"


def test_under_a_hard_budget_it_costs_no_more_than_was_set_aside(three, upstream):
    router = three(more=BUDGET)
    upstream.answers(TOO_LONG)
    receipt = router.receipt(router.chat(max_tokens=5))
    assert receipt["attempts"][-1]["fleet"] == "large"
    assert receipt["charge"]["usd"] <= receipt["reservation"]["usd"]


def test_where_the_policy_allows_one_try_the_caller_is_told_that_it_is_too_long(three, upstream):
    router = three(attempts=1)
    upstream.answers(TOO_LONG)
    response = router.chat()
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"

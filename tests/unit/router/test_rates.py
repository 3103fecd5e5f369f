"""Rate limits, told by a clock of the test's own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.model import Facts, Match, RateLimit
from router.errors import Refusal
from router.identity import Key
from router.rates import INSTANT_S, Limit, Rates, limits_of

PER_MINUTE = Limit(None, "key=ab12", "requests", 6)
TOKENS = Limit("search-team", "team=search", "tokens", 600)
AT_ONCE = Limit(None, "key=ab12", "concurrent", 2)


def refused(rates, limits, tokens, now_s):
    with pytest.raises(Refusal) as caught:
        rates.admit(limits, tokens, now_s)
    return caught.value


def wait_of(refusal):
    return int(dict(refusal.headers)[b"retry-after"])


def test_a_minutes_worth_may_come_at_once_and_then_as_it_refills():
    rates = Rates()
    for _ in range(6):
        rates.admit([PER_MINUTE], 0, 0.0)
    told = refused(rates, [PER_MINUTE], 0, 0.0)
    assert (told.status, told.code) == (429, "rate_limit_exceeded")
    assert told.message == "rate limit of key=ab12: 6 requests a minute; try again in 10 s"
    assert dict(told.headers)[b"retry-after"] == b"10"
    refused(rates, [PER_MINUTE], 0, 9.9)
    rates.admit([PER_MINUTE], 0, 10.0)
    refused(rates, [PER_MINUTE], 0, 10.0)


def test_the_refusal_names_the_limit_of_the_policy_and_its_value():
    rates = Rates()
    rates.admit([TOKENS], 600, 0.0)
    told = refused(rates, [TOKENS], 60, 0.0)
    assert told.message == (
        "rate limit `search-team` (team=search): 600 tokens a minute (this request: about 60); "
        "try again in 6 s"
    )
    assert json.loads(told.body())["error"]["limit"] == {
        "id": "search-team",
        "value": "team=search",
        "unit": "tokens",
        "most": 600,
    }


def test_tokens_are_put_right_when_the_answer_is_there():
    rates = Rates()
    first = rates.admit([TOKENS], 500, 0.0)
    refused(rates, [TOKENS], 200, 0.0)
    rates.end(first, 100, 0.0)
    rates.end(first, 0, 0.0)  # once
    second = rates.admit([TOKENS], 500, 0.0)
    rates.end(second, 1100, 0.0)  # far more than expected: the next waits for it
    assert wait_of(refused(rates, [TOKENS], 1, 0.0)) == 61
    third = rates.admit([TOKENS], 1, 61.0)
    rates.end(third, None, 61.0)  # nobody knows: what was expected stays taken
    assert wait_of(refused(rates, [TOKENS], 600, 61.0)) == 60


def test_nothing_is_given_back_beyond_a_full_bucket():
    rates = Rates()
    slow = rates.admit([TOKENS], 600, 0.0)
    rates.end(slow, 0, 60.0)  # its tokens have refilled long since
    rates.admit([TOKENS], 600, 60.0)
    refused(rates, [TOKENS], 1, 60.0)


def test_a_request_above_a_whole_minutes_tokens_waits_for_a_full_bucket_and_is_made_good():
    rates = Rates()
    rates.admit([TOKENS], 100, 0.0)
    assert wait_of(refused(rates, [TOKENS], 5000, 0.0)) == 10
    large = rates.admit([TOKENS], 5000, 10.0)
    assert wait_of(refused(rates, [TOKENS], 1, 10.0)) == (5001 - 600) // 10 + 1
    rates.end(large, 700, 10.0)  # it took less: what is left to be made good is 100
    assert wait_of(refused(rates, [TOKENS], 1, 10.0)) == 11


def test_what_takes_no_tokens_does_not_wait_for_any():
    rates = Rates()
    rates.admit([TOKENS], 5000, 0.0)
    rates.admit([TOKENS], 0, 0.0)


def test_requests_at_once_are_given_back():
    rates = Rates()
    running = [rates.admit([AT_ONCE], 0, 0.0) for _ in range(2)]
    assert "2 requests at once" in refused(rates, [AT_ONCE], 0, 0.0).message
    rates.end(running[0], None, 0.0)
    rates.end(running[0], None, 0.0)
    rates.admit([AT_ONCE], 0, 0.0)
    refused(rates, [AT_ONCE], 0, 0.0)


@pytest.mark.parametrize(
    "limits", [[PER_MINUTE, AT_ONCE, TOKENS], [TOKENS, AT_ONCE, PER_MINUTE]], ids=["last", "first"]
)
def test_a_refused_request_takes_nothing_of_any_limit(limits):
    rates = Rates()
    rates.admit([TOKENS], 600, 0.0)
    refused(rates, limits, 100, 0.0)
    admitted = [rates.admit([PER_MINUTE, AT_ONCE], 0, 0.0) for _ in range(2)]
    assert (b"x-ratelimit-remaining-requests", b"4") in admitted[-1].headers


def test_the_limit_that_takes_longest_is_told():
    rates = Rates()
    limits = [Limit("few", "all", "requests", 1), Limit("fewer", "all", "tokens", 60)]
    rates.admit(limits, 180, 0.0)
    told = refused(rates, limits, 1, 0.0)
    assert ("`fewer`" in told.message, wait_of(told)) == (True, 121)


def test_headers_tell_of_the_tightest_limit_of_each_unit():
    admitted = Rates().admit([PER_MINUTE, Limit("x", "all", "requests", 100), TOKENS], 60, 0.0)
    assert dict(admitted.headers) == {
        b"x-ratelimit-limit-requests": b"6",
        b"x-ratelimit-remaining-requests": b"5",
        b"x-ratelimit-reset-requests": b"10.000s",
        b"x-ratelimit-limit-tokens": b"600",
        b"x-ratelimit-remaining-tokens": b"540",
        b"x-ratelimit-reset-tokens": b"6.000s",
    }
    assert Rates().admit([], 60, 0.0).headers == []


def test_the_tightest_is_the_one_with_the_least_left_not_the_smallest():
    rates, wide = Rates(), Limit("x", "all", "requests", 7)
    for _ in range(4):
        rates.admit([wide], 0, 0.0)
    headers = dict(rates.admit([PER_MINUTE, wide], 0, 0.0).headers)
    assert headers[b"x-ratelimit-limit-requests"] == b"7"
    assert headers[b"x-ratelimit-remaining-requests"] == b"2"


def test_two_limits_of_one_value_are_counted_apart():
    rates = Rates()
    rates.admit([Limit("a", "team=search", "requests", 1)], 0, 0.0)
    rates.admit([Limit("b", "team=search", "requests", 1)], 0, 0.0)
    rates.admit([Limit("a", "team=ads", "requests", 1)], 0, 0.0)
    refused(rates, [Limit("a", "team=search", "requests", 1)], 0, 0.0)


# -- another policy --------------------------------------------------------------------------------


def allowing(limit, most):
    return Limit(limit.id, limit.whom, limit.unit, most)


def test_what_was_taken_stays_taken_when_a_limit_changes():
    rates = Rates()
    rates.admit([TOKENS], 500, 0.0)
    rates.admit([allowing(TOKENS, 1000)], 500, 0.0)
    refused(rates, [allowing(TOKENS, 1000)], 1, 0.0)
    less = [allowing(TOKENS, 60)]
    assert wait_of(refused(rates, less, 10, 0.0)) == 950
    assert wait_of(refused(rates, less, 10, 10.0)) == 940  # and it refills as slowly as is said


def test_requests_that_run_count_in_a_limit_that_was_lowered_meanwhile():
    rates = Rates()
    first, second = (rates.admit([AT_ONCE], 0, 0.0) for _ in range(2))
    rates.end(first, None, 0.0)
    refused(rates, [allowing(AT_ONCE, 1)], 0, 0.0)
    rates.end(second, None, 0.0)
    rates.admit([allowing(AT_ONCE, 1)], 0, 0.0)


def test_a_request_of_a_limit_that_is_gone_ends_well():
    rates = Rates()
    old = rates.admit([TOKENS, AT_ONCE], 500, 0.0)
    rates.admit([], 0, 1.0)
    rates.end(old, 10, 2.0)
    headers = dict(rates.admit([TOKENS, AT_ONCE], 100, 2.0).headers)
    assert headers[b"x-ratelimit-remaining-tokens"] == b"500"


# -- whose -----------------------------------------------------------------------------------------

FACTS = Facts(
    at="2026-01-05T12:00:00.000Z",
    tenant="shop",
    team="search",
    key="ab12",
    tags={"app": "web"},
    task="code",
    tier="heavy",
    complexity=0.9,
    p_small=0.1,
    language="en",
    tokens_in=10,
    tokens_out=10,
)


def test_a_request_counts_in_its_keys_limits_and_in_those_of_its_identity():
    key = Key("ab12", "shop", requests_per_min=6, concurrent=2)
    written = (
        RateLimit("search", Match(team="search"), 600, 200_000, 20),
        RateLimit("ads", Match(team="ads"), 1),
        RateLimit("each", Match(tenant="*", tags=(("app", "*"),)), tokens_per_min=5),
    )
    assert limits_of(key, written, FACTS) == (
        PER_MINUTE,
        AT_ONCE,
        Limit("search", "team=search", "requests", 600),
        Limit("search", "team=search", "tokens", 200_000),
        Limit("search", "team=search", "concurrent", 20),
        Limit("each", "tenant=shop,tags.app=web", "tokens", 5),
    )
    assert limits_of(Key("ab12", "shop"), (), FACTS) == ()


# -- for any requests ------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 300)), max_size=80))
def test_no_window_ever_grants_more_than_two_minutes_worth(steps):
    """A full bucket and what it refills: at most twice the limit in any minute."""
    rates, now_s, granted = Rates(), 0.0, []
    for wait_s, tokens in steps:
        now_s += wait_s
        try:
            rates.admit([TOKENS], tokens, now_s)
        except Refusal:
            continue
        granted.append((now_s, tokens))
    for begins_s, _ in granted:
        inside = sum(t for at_s, t in granted if begins_s <= at_s <= begins_s + 60)
        assert inside <= 2 * TOKENS.most + INSTANT_S * TOKENS.most


LIMITS = [PER_MINUTE, TOKENS, AT_ONCE, Limit("all", "all", "requests", 4)]
ask = st.tuples(
    st.lists(st.sampled_from(LIMITS), unique=True),
    st.sampled_from([0, 1, 599, 600, 601, 5000]),
    st.floats(0, 1e6),
)


@given(st.lists(ask, max_size=12), st.sampled_from([0.0, 12345.678]))
def test_who_waits_as_long_as_was_said_is_let_in(requests, now_s):
    """Whatever was taken before: nobody is told a time that is too short, where nobody else asks
    meanwhile.
    """
    rates = Rates()
    for limits, tokens, began_s in requests:
        now_s += began_s % 7
        try:
            rates.end(rates.admit(limits, tokens, now_s), None, now_s)
        except Refusal as refusal:
            now_s += wait_of(refusal)
            rates.end(rates.admit(limits, tokens, now_s), None, now_s)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=40))
def test_never_more_run_at_once_than_the_lowest_limit_and_all_slots_come_back(steps):
    rates, running = Rates(), []
    team = Limit("search-team", "team=search", "concurrent", 3)
    for begins, most in steps:
        own = allowing(AT_ONCE, most)
        if begins:
            held = sum(1 for admitted in running if own.place in {x.place for x in admitted.limits})
            room = held < most and len(running) < team.most
            try:
                running.append(rates.admit([own, team], 0, 0.0))
            except Refusal:
                assert not room
            else:
                assert room
        elif running:
            rates.end(running.pop(0), None, 0.0)
    for admitted in running:
        rates.end(admitted, None, 0.0)
    for _ in range(team.most):
        rates.admit([team], 0, 0.0)

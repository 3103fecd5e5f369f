"""Rate limits, told by a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import Refusal
from router.rates import Limit, Rates

PER_MINUTE = Limit("key=ab12", "requests", 6)
TOKENS = Limit("team=search", "tokens", 600)
AT_ONCE = Limit("key=ab12", "concurrent", 2)


def refused(rates, limits, tokens, now_s):
    with pytest.raises(Refusal) as caught:
        rates.admit(limits, tokens, now_s)
    return caught.value


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


def test_tokens_are_put_right_when_the_answer_is_there():
    rates = Rates()
    first = rates.admit([TOKENS], 500, 0.0)
    refused(rates, [TOKENS], 200, 0.0)
    rates.end(first, 100, 0.0)
    rates.end(first, 0, 0.0)  # once
    second = rates.admit([TOKENS], 500, 0.0)
    rates.end(second, 1100, 0.0)  # far more than expected: the next waits for it
    assert refused(rates, [TOKENS], 1, 0.0).headers[0] == (b"retry-after", b"61")
    third = rates.admit([TOKENS], 1, 61.0)
    rates.end(third, None, 61.0)  # nobody knows: what was expected stays taken


def test_a_request_above_a_whole_minutes_tokens_takes_them_all():
    rates = Rates()
    rates.admit([TOKENS], 5000, 0.0)
    refused(rates, [TOKENS], 1, 0.0)


def test_requests_at_once_are_given_back():
    rates = Rates()
    running = [rates.admit([AT_ONCE], 0, 0.0) for _ in range(2)]
    assert "2 requests at once" in refused(rates, [AT_ONCE], 0, 0.0).message
    rates.end(running[0], None, 0.0)
    rates.end(running[0], None, 0.0)
    rates.admit([AT_ONCE], 0, 0.0)
    refused(rates, [AT_ONCE], 0, 0.0)


def test_a_refused_request_takes_nothing_of_any_limit():
    rates = Rates()
    rates.admit([TOKENS], 600, 0.0)
    refused(rates, [PER_MINUTE, AT_ONCE, TOKENS], 100, 0.0)
    admitted = rates.admit([PER_MINUTE, AT_ONCE], 0, 0.0)
    assert (b"x-ratelimit-remaining-requests", b"5") in admitted.headers


def test_headers_tell_of_the_tightest_limit_of_each_unit():
    admitted = Rates().admit([PER_MINUTE, Limit("all", "requests", 100), TOKENS], 60, 0.0)
    assert dict(admitted.headers) == {
        b"x-ratelimit-limit-requests": b"6",
        b"x-ratelimit-remaining-requests": b"5",
        b"x-ratelimit-reset-requests": b"10.000s",
        b"x-ratelimit-limit-tokens": b"600",
        b"x-ratelimit-remaining-tokens": b"540",
        b"x-ratelimit-reset-tokens": b"6.000s",
    }
    assert Rates().admit([], 60, 0.0).headers == []


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
        assert inside <= 2 * TOKENS.most + 1e-6

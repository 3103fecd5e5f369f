import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import DONE, EVENTS, ROLE, USAGE_EVENT, chunk, event

from router.gate import SLACK_EVENTS, Gate


def gate(usage_asked=False, n=1, max_tokens=100):
    return Gate(usage_asked=usage_asked, n=n, max_tokens=max_tokens)


def test_events_go_on_byte_for_byte_up_to_the_end():
    g = gate()
    assert g.pass_on([*EVENTS, DONE]) == b"".join(EVENTS)
    assert (g.end, g.events, g.finish_seen, g.error) == (DONE, 2, True, None)


def test_a_usage_event_is_read_and_goes_on_only_if_it_was_asked_for():
    g = gate()
    assert g.pass_on([USAGE_EVENT]) == b""
    assert (g.usage.tokens_in, g.usage.tokens_out) == (12, 3)
    assert gate(usage_asked=True).pass_on([USAGE_EVENT]) == USAGE_EVENT


def test_usage_beside_content_goes_on_in_any_case():
    both = event(choices=[{"delta": {"content": "x"}}], usage={"prompt_tokens": 1})
    assert gate().pass_on([both]) == both


def test_an_error_event_stops_the_stream_after_what_went_before_it():
    g = gate()
    assert g.pass_on([ROLE, chunk("he"), event(error={"message": "x"}), chunk("llo")]) == (
        ROLE + chunk("he")
    )
    assert g.error is not None
    assert g.end is None


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_is_cut_at_its_limit_with_a_reason_for_every_choice(n):
    g = gate(n=n, max_tokens=5)
    out = g.pass_on([chunk("x")] * 100)
    assert out.count(b"data: ") == n * (5 + SLACK_EVENTS)
    assert g.end.count(b'"finish_reason":"length"') == n
    assert g.end.endswith(DONE)


def test_pings_and_progress_are_no_tokens():
    g = gate(max_tokens=1)
    quiet = [b": ping\n\n", event(choices=[], prompt_progress={"total": 9}), ROLE]
    assert g.pass_on(quiet * 20) == b"".join(quiet * 20)
    assert (g.events, g.end) == (0, None)


pool = st.lists(st.sampled_from([*EVENTS, USAGE_EVENT, b": ping\n\n", DONE]), max_size=8)


@given(pool, st.integers(1, 4), st.booleans())
def test_it_makes_no_difference_how_the_events_are_parted(events, size, usage_asked):
    whole, parted = gate(usage_asked), gate(usage_asked)
    at_once = whole.pass_on(events)
    in_parts = b""
    for start in range(0, len(events), size):
        if parted.end is None:
            in_parts += parted.pass_on(events[start : start + size])
    assert in_parts == at_once
    assert (parted.end, parted.events, parted.usage) == (whole.end, whole.events, whole.usage)

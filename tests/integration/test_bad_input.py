"""What no server should send, through a whole router: named, moved on from, and small in memory."""

import re
from pathlib import Path

import pytest
from bad_input import (
    CLOSES,
    OK,
    PLAIN,
    SSE,
    STREAMED,
    counted,
    endless,
    line_of_100_mb,
    sent,
)
from support import (
    ANSWER,
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    Upstream,
    catalogue,
    chunk,
    event,
    fleet,
    plain,
    policy,
)

LIMITS = (
    ", limits: {deadline_ms: 90000, ttft_timeout_ms: 40000, inter_chunk_timeout_ms: 40000,"
    " breaker: {failures: 100000, open_ms: 1}}"
)


@pytest.fixture(scope="module")
def served(start_shared_router):
    """A router over a fleet that is bad, `one`, and one that is good, `two`."""
    bad, good = Upstream(), Upstream()
    fleets = catalogue(fleet("one", bad.url), fleet("two", good.url, lane="accelerator"))
    router = start_shared_router(fleets, policy(BOTH, defaults=LIMITS))
    router.bad, router.good = bad, good
    yield router
    bad.stop()
    good.stop()


def plays(upstream, parts):
    def script(body, send, gone):
        for part in parts:
            send(part)
        return "close"

    upstream.script = script


def assert_named(receipt, bad):
    first, second = receipt["attempts"]
    assert (first["fleet"], first["outcome"]) == ("one", bad.code)
    assert re.search(bad.detail, first["detail"])
    assert (second["fleet"], second["outcome"]) == ("two", "ok")
    assert "detail" not in second


@pytest.mark.parametrize("name", PLAIN)
def test_the_next_fleet_answers_after_bad_input_that_is_named(served, name):
    plays(served.bad, PLAIN[name].parts)
    served.good.answers(plain())
    response = served.chat()
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "two")
    assert response.json() == ANSWER
    assert_named(served.receipt(response), PLAIN[name])


@pytest.mark.parametrize("name", STREAMED)
def test_the_next_fleet_streams_after_bad_input_that_is_named(served, name):
    plays(served.bad, STREAMED[name].parts)
    served.good.streams(*EVENTS, DONE)
    response = served.chat(stream=True)
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "two")
    assert response.content.startswith(b"".join(EVENTS))
    assert_named(served.receipt(response), STREAMED[name])


@pytest.mark.parametrize("stream", [True, False])
def test_when_nobody_is_left_the_caller_is_told_fleet_and_fault(served, stream):
    bad = (STREAMED if stream else PLAIN)["HTML"]
    plays(served.bad, bad.parts)
    plays(served.good, bad.parts)
    response = served.chat(stream=stream)
    assert response.status_code == 502
    message = response.json()["error"]["message"]
    assert f"one: garbled ({bad.detail})" in message
    assert f"two: garbled ({bad.detail})" in message
    assert "It works" not in response.text


# -- after the first content token nothing is tried elsewhere -----------------------------------


def after_content(served, *parts, **body):
    plays(served.bad, sent(SSE + CLOSES + ROLE + chunk("he"), *parts))
    response = served.chat(stream=True, **body)
    assert response.headers["x-sluice-fleet"] == "one"
    return response


def test_a_line_of_100_mb_after_content_breaks_the_stream_and_names_why(served):
    response = after_content(served, b"data: ", line_of_100_mb)
    assert b'"code":"stream_broken"' in response.content
    assert b"an event of the stream is longer than" in response.content
    assert len(response.content) < 2**21
    (attempt,) = served.receipt(response)["attempts"]
    assert (attempt["fleet"], attempt["outcome"]) == ("one", "garbled")
    assert "longer than" in attempt["detail"]


def test_an_infinite_answer_is_cut_at_its_limit(served):
    response = after_content(served, endless(chunk("x") * 100), max_tokens=50)
    assert b'"finish_reason":"length"' in response.content
    assert response.content.count(b'"content": "x"') < 60
    assert served.receipt(response)["attempts"][0]["outcome"] == "ok"


# -- usage ------------------------------------------------------------------------------------


def usage(tokens_in, tokens_out):
    return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}


WRONG_USAGE = {
    "negative": usage(-12, -3),
    "a fraction": usage(1.5, 2.5),
    "true": usage(True, True),
    "text": usage("12", "3"),
    "beyond all integers": usage(10**30, 10**30),
    "a list": [1, 2],
    "nothing": None,
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wrong", WRONG_USAGE)
def test_usage_that_cannot_be_is_unknown_and_the_charge_is_estimated(served, wrong, stream):
    if stream:
        wrong_event = event(choices=[], usage=WRONG_USAGE[wrong])
        served.bad.streams(*EVENTS, wrong_event, DONE)
    else:
        served.bad.answers(plain({**ANSWER, "usage": WRONG_USAGE[wrong]}))
    response = served.chat(stream=stream, max_tokens=50)
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "one")
    charge = served.receipt(response)["charge"]
    assert charge["estimated"] is True
    assert 0 < charge["tokens_out"] <= 50
    assert charge["usd"] > 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("tokens", [10**6, 10**12, 10**18, 2**63 - 1, 2**64 - 1])
def test_usage_beyond_what_was_asked_for_never_ends_the_router(served, tokens, stream):
    if stream:
        served.bad.streams(*EVENTS, event(choices=[], usage=usage(tokens, tokens)), DONE)
    else:
        served.bad.answers(plain({**ANSWER, "usage": usage(tokens, tokens)}))
    response = served.chat(stream=stream, max_tokens=50)
    assert (response.status_code, response.headers["x-sluice-fleet"]) == (200, "one")
    receipt = served.receipt(response)
    assert receipt["attempts"][0]["outcome"] == "ok"
    assert receipt["charge"]["usd"] > 0
    served.bad.answers(plain())
    assert served.chat().status_code == 200
    assert "Traceback" not in served.log()


def test_usage_that_is_told_twice_counts_once(served):
    told = event(choices=[], usage=usage(12, 3))
    served.bad.streams(*EVENTS, told, told, DONE)
    response = served.chat(stream=True)
    charge = served.receipt(response)["charge"]
    assert (charge["tokens_in"], charge["tokens_out"], charge["estimated"]) == (12, 3, False)
    assert b'"usage"' not in response.content
    twice = b'{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3},'
    twice += b'"usage":{"prompt_tokens":12,"completion_tokens":3}}'
    plays(served.bad, sent(OK + counted(twice)))
    charge = served.receipt(served.chat())["charge"]
    assert (charge["tokens_in"], charge["tokens_out"], charge["estimated"]) == (12, 3, False)


# -- memory -----------------------------------------------------------------------------------


def memory_mb(router, name):
    text = Path(f"/proc/{router.process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024


BIG_PLAIN = ["a line of 100 MB", "an infinite body", "JSON that is nested without end"]
BIG_STREAMED = [
    "a line of 100 MB",
    "an event of infinite lines",
    "comments without end",
    "an endless header",
    "interim answers without end",
    "a refusal of 100 MB",
]


def a_round_of_bad_input(router):
    router.good.answers(plain())
    for name in BIG_PLAIN:
        plays(router.bad, PLAIN[name].parts)
        assert router.chat().headers["x-sluice-fleet"] == "two"
    router.good.streams(*EVENTS, DONE)
    for name in BIG_STREAMED:
        plays(router.bad, STREAMED[name].parts)
        assert router.chat(stream=True).headers["x-sluice-fleet"] == "two"
    assert b"stream_broken" in after_content(router, b"data: ", line_of_100_mb).content


def memory_kb(router):
    text = Path(f"/proc/{router.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1])


def test_memory_stays_flat_whatever_fleets_send(served):
    """One answer without end, if it were kept, would be 64 MB."""
    for _ in range(2):
        a_round_of_bad_input(served)
    before = memory_kb(served)
    for _ in range(4):
        a_round_of_bad_input(served)
    assert memory_kb(served) < 1.5 * before

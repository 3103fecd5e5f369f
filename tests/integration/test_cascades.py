"""Cascades through a real router: what is kept, what is asked again, and who pays for what."""

import json
import threading

import openai
import pytest
from support import (
    ANSWER,
    DONE,
    EVENTS,
    ROLE,
    START_S,
    USAGE,
    USAGE_EVENT,
    catalogue,
    chunk,
    event,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

LIMITS = ", limits: {TIMES, attempts: 2, breaker: {failures: 2, open_ms: 60000}}"
LONG = LIMITS.replace("TIMES", "ttft_timeout_ms: 30000, inter_chunk_timeout_ms: 30000")
# For what hangs: the fleet that is asked next has as long, and is not late on a busy machine.
SHORT = LIMITS.replace("TIMES", "ttft_timeout_ms: 2500, inter_chunk_timeout_ms: 2500")
JSON_VALID = "json_valid: true"
SURE = "mean_logprob_above: -0.15"


def rules(tests):
    return f"  - {{id: all, cascade: {{try: cpu, accept_if: {{{tests}}}, then: accelerator}}}}\n"


@pytest.fixture
def cascade(start_router, upstream, second_upstream):
    """Start a router that tries `one`, tests its answer so, and asks `two` otherwise."""

    def start(tests=JSON_VALID, limits=LONG, **more):
        fleets = catalogue(
            fleet("one", upstream.url),
            fleet("two", second_upstream.url, lane="accelerator"),
            abilities="json, tools, logprobs",
        )
        return start_router(fleets, policy(rules=rules(tests), defaults=limits), **more)

    return start


def answer(text, finish="stop", logprobs=None):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    choice |= {"finish_reason": finish}
    if logprobs is not None:
        tokens = [{"token": "x", "logprob": value} for value in logprobs]
        choice["logprobs"] = {"content": tokens}
    return plain({**ANSWER, "choices": [choice]})


def tokens(text, *logprobs):
    found = [{"token": text, "logprob": value, "bytes": None} for value in logprobs]
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event(id="1", choices=[{**choice, "logprobs": {"content": found}}])


def outcomes(receipt):
    return [(a["fleet"], a["outcome"], a.get("test")) for a in receipt["attempts"]]


def without_comments(content):
    events = [e + b"\n\n" for e in content.split(b"\n\n") if e]
    return b"".join(e for e in events if not e.startswith(b":"))


NOT_KEPT = [("one", "not_accepted", "json_valid"), ("two", "ok", None)]


# -- plain -----------------------------------------------------------------------------------------


def test_an_answer_that_passes_is_the_callers_byte_for_byte(cascade, upstream, second_upstream):
    router = cascade()
    upstream.answers(answer('{"a": 1}'))
    response = router.chat()
    assert response.content == answer('{"a": 1}').partition(b"\r\n\r\n")[2]
    assert response.headers["x-sluice-fleet"] == "one"
    assert second_upstream.bodies == []
    assert outcomes(router.receipt(response)) == [("one", "ok", None)]


def test_an_answer_that_fails_is_asked_for_again_and_both_are_charged(
    cascade, upstream, second_upstream
):
    router = cascade()
    upstream.answers(answer("not json"))
    response = router.chat()
    assert response.headers["x-sluice-fleet"] == "two"
    assert response.json()["choices"][0]["message"]["content"] == "ok"
    receipt = router.receipt(response)
    assert outcomes(receipt) == NOT_KEPT
    first, second = receipt["attempts"]
    assert first["usd"] > 0
    assert receipt["charge"]["usd"] == pytest.approx(first["usd"] + second["usd"])
    assert response.headers["x-sluice-cost-usd"] == f"{receipt['charge']['usd']:.9f}"
    assert receipt["plan"] == ["one", "two"]
    assert "not json" not in json.dumps(receipt) + router.log()


def test_an_answer_without_usage_that_is_not_kept_is_charged_as_expected(cascade, upstream):
    router = cascade()
    upstream.answers(plain({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}))
    receipt = router.receipt(router.chat())
    assert outcomes(receipt) == NOT_KEPT
    assert receipt["attempts"][0]["usd"] > 0
    assert receipt["charge"]["estimated"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_answer_is_not_accepted(cascade, upstream, second_upstream, stream):
    router = cascade()
    upstream.answers(answer("{}", "length"))
    if stream:
        upstream.streams(ROLE, chunk("{}"), chunk(finish="length"), USAGE_EVENT, DONE)
        second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    receipt = router.receipt(router.chat(stream=stream))
    assert outcomes(receipt) == [("one", "not_accepted", "finish_reason"), ("two", "ok", None)]


def test_fleets_whose_answers_are_not_kept_are_not_blamed(cascade, upstream):
    router = cascade()  # whose breaker opens after two failures
    upstream.answers(answer("not json"))
    for _ in range(4):
        receipt = router.receipt(router.chat())
        assert outcomes(receipt) == NOT_KEPT
    load = receipt["load"]["one"]
    assert (load["state"], load["ewma_ttft"], load["ewma_itl"]) == ("ready", 1.0, 1.0)
    assert load["in_flight"] == 0


def test_a_fleet_that_fails_while_it_is_tried_is_blamed_as_ever(cascade, upstream):
    router = cascade()
    upstream.answers(plain({}, status=500))
    for _ in range(2):
        assert router.chat().headers["x-sluice-fleet"] == "two"
    receipt = router.receipt(router.chat())
    assert outcomes(receipt) == [("two", "ok", None)]
    assert receipt["load"]["one"]["state"] == "open-circuit"


def test_a_rejection_by_the_fleet_that_is_tried_is_not_the_last_word(cascade, upstream):
    router = cascade(SURE)
    upstream.answers(plain({"error": {"message": "logprobs with tools", "code": 400}}, status=400))
    response = router.chat()
    assert response.status_code == 200
    assert [o for _, o, _ in outcomes(router.receipt(response))] == ["rejected", "ok"]


@pytest.mark.parametrize("stream", [False, True])
def test_when_those_who_follow_fail_the_caller_is_told_and_pays_what_was_spent(
    cascade, upstream, second_upstream, stream
):
    router = cascade()
    upstream.answers(answer("not json"))
    if stream:
        upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    second_upstream.answers(plain({}, 503, "retry-after: 7\r\n"))
    response = router.chat(stream=stream)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "overloaded")
    assert [r["code"] for r in error["reasons"]] == ["not_accepted", "overloaded"]
    assert error["reasons"][0]["detail"] == "json_valid"
    receipt = router.receipt(response)
    assert receipt["charge"]["usd"] == receipt["attempts"][0]["usd"] > 0


def test_nobody_left_but_the_fleet_that_is_tried_still_tries(cascade, upstream, second_upstream):
    router = cascade()
    second_upstream.answers(plain({}, 503, "retry-after: 30\r\n"))
    upstream.answers(answer("not json"))
    assert router.chat().status_code == 503  # and from now on `two` is left alone
    upstream.answers(answer("{}"))
    assert router.chat().headers["x-sluice-fleet"] == "one"
    upstream.answers(answer("not json"))
    response = router.chat()
    assert (response.status_code, len(second_upstream.bodies)) == (502, 1)
    assert "one: not_accepted (json_valid)" in response.json()["error"]["message"]


def test_a_pinned_model_is_answered_untested(cascade, upstream):
    router = cascade(may=("pin_fleet",))
    upstream.answers(answer("not json"))
    assert router.chat(model="m@one").headers["x-sluice-fleet"] == "one"


def test_a_cap_that_pays_for_one_answer_takes_the_sure_one(cascade, upstream, second_upstream):
    router = cascade()
    upstream.answers(answer("not json"))
    usd = 0.0001
    while router.chat(max_tokens=50, headers={"x-sluice-max-usd": f"{usd}"}).status_code != 200:
        usd *= 1.3
    receipt = router.receipts()[-1]
    assert receipt["plan"] == ["two"]
    assert upstream.bodies == []
    receipt = router.receipt(router.chat(max_tokens=50, headers={"x-sluice-max-usd": f"{3 * usd}"}))
    assert receipt["plan"] == ["one", "two"]


# -- streams ---------------------------------------------------------------------------------------

JSON_EVENTS = [ROLE, chunk('{"a":'), chunk(" 1}"), chunk(finish="stop")]


def test_a_stream_that_passes_is_the_callers_byte_for_byte(cascade, upstream, second_upstream):
    router = cascade()
    upstream.streams(*JSON_EVENTS, USAGE_EVENT, DONE)
    response = router.chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-sluice-fleet"] == "one"
    assert without_comments(response.content) == b"".join([*JSON_EVENTS, DONE])
    receipt = router.receipt(response)
    assert outcomes(receipt) == [("one", "ok", None)]
    comment = f": x-sluice-cost-usd {receipt['charge']['usd']:.9f}\n\n".encode()
    assert response.content.endswith(comment + DONE)
    assert receipt["charge"]["tokens_out"] == USAGE["completion_tokens"]
    asked = router.chat(stream=True, stream_options={"include_usage": True})
    assert without_comments(asked.content) == b"".join([*JSON_EVENTS, USAGE_EVENT, DONE])
    load = router.receipt(asked)["load"]["one"]
    assert (load["in_flight"], load["ewma_itl"] != 1.0) == (0, True)  # the first one taught it
    assert second_upstream.bodies == []


def test_a_stream_that_fails_is_never_seen_and_another_one_opens(
    cascade, upstream, second_upstream
):
    router = cascade()
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    second = [ROLE, chunk("second"), chunk(finish="stop")]
    second_upstream.streams(*second, USAGE_EVENT, DONE)
    response = router.chat(stream=True)
    assert response.headers["x-sluice-fleet"] == "two"
    assert without_comments(response.content) == b"".join([*second, DONE])
    receipt = router.receipt(response)
    assert outcomes(receipt) == NOT_KEPT
    usd = sum(attempt["usd"] for attempt in receipt["attempts"])
    assert receipt["charge"]["usd"] == pytest.approx(usd)
    assert f": x-sluice-cost-usd {receipt['charge']['usd']:.9f}".encode() in response.content


def test_the_stream_that_follows_flows_and_is_not_held(cascade, upstream, second_upstream):
    router = cascade()
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    read = threading.Event()

    def waits_for_the_caller(body, send, gone):
        send(stream_head() + ROLE + chunk("he"))
        read.wait(START_S)
        send(chunk("llo") + chunk(finish="stop") + DONE)
        return "close"

    second_upstream.script = waits_for_the_caller
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.iter_raw()
        assert b"he" in next(pieces)  # held, it would not be here before its end
        read.set()
        assert b"llo" in b"".join(pieces)


@pytest.mark.parametrize("how", ["closes", "hangs", "is no JSON"])
def test_a_stream_that_breaks_while_it_is_held_is_followed_by_the_next(
    cascade, upstream, second_upstream, how
):
    router = cascade(limits=SHORT if how == "hangs" else LONG)

    def breaks(body, send, gone):
        send(stream_head() + ROLE + chunk("{"))
        if how == "hangs":
            gone(60)
        elif how == "is no JSON":
            send(b'data: {"choices": oops\n\n' + chunk(finish="stop") + DONE)
        return "close"

    upstream.script = breaks
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    response = router.chat(stream=True)
    assert without_comments(response.content) == b"".join([*EVENTS, DONE])
    first, second = router.receipt(response)["attempts"]
    expected = {"closes": "broken", "hangs": "timed_out", "is no JSON": "garbled"}
    assert (first["outcome"], second["outcome"]) == (expected[how], "ok")
    assert first["tokens_out"] >= 1  # what was made is charged
    assert first["usd"] > 0


@pytest.mark.parametrize("said", ["nothing", "one token"])
def test_a_held_stream_has_the_time_to_its_first_token_and_that_of_a_plain_answer(
    cascade, upstream, second_upstream, said
):
    router = cascade(limits=SHORT)

    def pings(body, send, gone):
        send(stream_head() + ROLE + (chunk("{") if said == "one token" else b""))
        while not gone(0.1):
            send(b": ping\n\n")
        return "close"

    upstream.script = pings
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    # A plain answer of 4,096 tokens would be given the whole deadline, one of 3 less than a second.
    limit = {"max_tokens": 3} if said == "one token" else {}
    first, second = router.receipt(router.chat(stream=True, **limit))["attempts"]
    assert (first["outcome"], second["outcome"]) == ("timed_out", "ok")
    assert first["e2e_ms"] < 10_000  # of a deadline of 20 s


def test_a_held_stream_is_given_no_more_than_the_deadline(cascade, upstream, second_upstream):
    limits = ", limits: {deadline_ms: 900, ttft_timeout_ms: 800, inter_chunk_timeout_ms: 800}"
    router = cascade(limits=limits)

    def drip(body, send, gone):
        send(stream_head() + ROLE)
        while not gone(0.1):  # for ever
            send(chunk("x"))
        return "close"

    upstream.script = drip
    response = router.chat(stream=True)
    assert response.status_code == 504
    assert second_upstream.bodies == []
    wait_until(lambda: upstream.hung_up == 1)


def test_a_stream_too_long_to_be_held_is_stopped_and_not_accepted(
    cascade, upstream, second_upstream
):
    router = cascade()

    def endless(body, send, gone):
        send(stream_head() + ROLE)
        while True:  # until the router hangs up
            send(chunk("x" * 50_000) * 4)

    upstream.script = endless
    second_upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    response = router.chat(stream=True)
    receipt = router.receipt(response)
    assert outcomes(receipt) == [("one", "not_accepted", "held_bytes"), ("two", "ok", None)]
    assert receipt["attempts"][0]["usd"] > 0
    wait_until(lambda: upstream.hung_up == 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_hangs_up_while_the_answer_is_held_pays_for_what_was_made(
    cascade, upstream, second_upstream, stream
):
    router = cascade()
    sent = threading.Event()

    def slow(body, send, gone):
        if stream:
            send(stream_head() + ROLE + chunk("{") + chunk("}"))
        sent.set()
        gone(60)
        return "close"

    upstream.script = slow
    with router.calling(stream=stream, max_tokens=100):
        assert sent.wait(START_S)
        for _ in range(3):  # meanwhile the router reads what was sent before
            router.http.get("/healthz")
    wait_until(lambda: upstream.hung_up == 1)
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    assert outcomes(receipt) == [("one", "client_closed", None)]
    assert receipt["charge"]["usd"] > 0
    if stream:
        assert receipt["charge"]["tokens_out"] == 2
    assert second_upstream.bodies == []
    wait_until(lambda: 'sluice_in_flight{fleet="one"} 0.0' in router.http.get("/metrics").text)


def test_a_stream_that_leaves_done_out_is_held_and_kept(cascade, upstream):
    router = cascade()
    upstream.streams(*JSON_EVENTS)
    response = router.chat(stream=True)
    assert response.content == b"".join(JSON_EVENTS)
    assert outcomes(router.receipt(response)) == [("one", "ok", None)]


# -- log probabilities -----------------------------------------------------------------------------


def test_log_probabilities_are_asked_for_and_taken_out_of_what_is_kept(cascade, upstream):
    router = cascade(SURE)
    upstream.answers(answer("账单", logprobs=[-0.01, -0.2]))
    response = router.chat()
    assert upstream.bodies[0]["logprobs"] is True
    choice = response.json()["choices"][0]
    assert (choice["message"]["content"], choice["logprobs"]) == ("账单", None)
    assert "logprobs" in router.receipt(response)["edits"]
    upstream.streams(ROLE, tokens("账", -0.01), tokens("单", -0.2), chunk(finish="stop"), DONE)
    response = router.chat(stream=True)
    assert upstream.bodies[1]["logprobs"] is True
    assert response.headers["x-sluice-fleet"] == "one"
    assert b"-0.2" not in response.content
    assert response.content.count(b'"logprobs": null') == 2


def test_log_probabilities_that_the_caller_asked_for_stay(cascade, upstream):
    router = cascade(SURE)
    upstream.answers(answer("ok", logprobs=[-0.01]))
    response = router.chat(logprobs=True)
    assert response.json()["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.01
    assert "logprobs" not in router.receipt(response)["edits"]


@pytest.mark.parametrize("logprobs", [[-0.3], None], ids=["unsure", "unknown"])
def test_an_unsure_answer_is_not_kept_and_whom_is_asked_next_sees_the_callers_own_body(
    cascade, upstream, second_upstream, logprobs
):
    router = cascade(SURE)
    upstream.answers(answer("ok", logprobs=logprobs))
    response = router.chat()
    expected = [("one", "not_accepted", "mean_logprob_above"), ("two", "ok", None)]
    assert outcomes(router.receipt(response)) == expected
    assert "logprobs" not in second_upstream.bodies[0]
    assert "logprobs" not in router.receipt(response)["edits"]


# -- emulated fleets, and what a caller's own client reads -----------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [True, False])
def test_emulated_fleets_are_tried_and_follow_and_the_sdk_reads_either(
    start_router, emulator, stream, kept
):
    accelerators = (
        "  - {{id: {0}, model: llama-4-scout, lane: {1}, engine: emulated, kind: emulated, "
        f'url: "{emulator}/{{0}}/v1", instance: {{2}}, region: us-east-1, '
        "profile: {2}/llama-4-scout, replicas: {{min: 1, max: 1, concurrency_each: 8}}}}\n"
    )
    fleets = (
        "version: 1\n"
        "models: [{id: llama-4-scout, context_tokens: 100000, abilities: [json, tools]}]\n"
        "fleets:\n"
        + accelerators.format("p4d-scout", "cpu", "p4d.24xlarge")
        + accelerators.format("p5-scout", "accelerator", "p5.48xlarge")
    )
    text = policy(rules=rules(JSON_VALID), baseline="llama-4-scout@p5-scout")
    router = start_router(fleets, text)
    client = openai.OpenAI(base_url=f"{router.url}/v1", api_key=router.key)
    wanted = {"response_format": {"type": "json_object"}} if kept else {}
    messages = [{"role": "user", "content": "把这张工单的字段写成 JSON：我的订单被重复扣款了"}]
    said = client.chat.completions.create(
        model="auto", messages=messages, stream=stream, max_tokens=1500, **wanted
    )
    text = "".join(c.choices[0].delta.content or "" for c in said if c.choices) if stream else ""
    text = text or said.choices[0].message.content
    served = "p4d-scout" if kept else "p5-scout"
    assert served in text
    wait_until(router.receipts)
    (receipt,) = router.receipts()
    tried = [("p4d-scout", "ok", None)] if kept else [("p4d-scout", "not_accepted", "json_valid")]
    assert outcomes(receipt) == tried + ([] if kept else [("p5-scout", "ok", None)])
    client.close()

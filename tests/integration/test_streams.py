"""Streams through a real router: byte for byte, and honest when they break."""

import json
import threading

import pytest
from support import (
    DONE,
    EVENTS,
    ROLE,
    START_S,
    USAGE_EVENT,
    catalogue,
    chunk,
    event,
    fleet,
    policy,
    stream_head,
    wait_until,
)


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy())


def streamed(router, text="hi", **body):
    response = router.chat(text, stream=True, **body)
    return response, response.content


def without_comments(content):
    events = [e + b"\n\n" for e in content.split(b"\n\n") if e]
    return b"".join(e for e in events if not e.startswith(b":"))


def test_events_go_through_byte_for_byte_but_the_usage_nobody_asked_for(router, upstream):
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    response, content = streamed(router)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert without_comments(content) == b"".join([*EVENTS, DONE])
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True}


def test_usage_that_was_asked_for_stays(router, upstream):
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    _, content = streamed(router, stream_options={"include_usage": True})
    assert without_comments(content) == b"".join([*EVENTS, USAGE_EVENT, DONE])


def test_the_cost_stands_in_a_comment_before_the_end(router, upstream):
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    response, content = streamed(router)
    comment, done = content.split(b"\n\n")[-3:-1]
    assert done + b"\n\n" == DONE
    usd = router.receipt(response)["charge"]["usd"]
    assert comment == f": x-sluice-cost-usd {usd:.9f}".encode()
    assert usd > 0


def test_the_time_to_the_first_token_is_not_that_of_the_role(router, upstream):
    def script(body, send, gone):
        send(stream_head() + ROLE)
        gone(0.2)
        send(b"".join(EVENTS[1:]) + USAGE_EVENT + DONE)
        return "close"

    upstream.script = script
    response, _ = streamed(router)
    assert router.receipt(response)["attempts"][0]["ttft_ms"] >= 200


def test_without_usage_what_was_sent_on_is_charged_and_marked(router, upstream):
    upstream.streams(*EVENTS, DONE)
    response, _ = streamed(router)
    charge = router.receipt(response)["charge"]
    assert charge["estimated"] is True
    assert charge["tokens_out"] == 2


@pytest.mark.parametrize("how", ["closes", "hangs", "says so"])
def test_a_stream_that_breaks_after_content_ends_with_an_error_and_nothing_else(
    start_router, upstream, how
):
    spoke = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("he"))
        if how == "hangs":
            gone(30)
        elif how == "says so":
            spoke.wait(START_S)  # what comes with the first token is still tried elsewhere
            send(event(error={"message": "out of memory", "code": 500}))
        return "close"

    upstream.script = script
    limits = ", limits: {inter_chunk_timeout_ms: 600}" if how == "hangs" else ""
    router = start_router(catalogue(fleet("one", upstream.url)), policy(defaults=limits))
    response, content = router.stream(spoke=spoke)
    *before, last = [e for e in content.split(b"\n\n") if e]
    assert b"".join(e + b"\n\n" for e in before) == ROLE + chunk("he")
    error = json.loads(last.removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "stream_broken")
    assert b"[DONE]" not in content
    assert b"out of memory" not in content
    receipt = router.receipt(response)
    assert len(receipt["attempts"]) == 1
    assert receipt["charge"]["tokens_out"] == 1
    assert receipt["charge"]["estimated"] is True


def test_a_server_that_leaves_done_out_has_still_answered(router, upstream):
    upstream.streams(*EVENTS)
    response, content = streamed(router)
    assert content == b"".join(EVENTS)
    assert router.receipt(response)["attempts"][0]["outcome"] == "ok"


TORN = chunk("llo")[:-20]


def test_an_event_that_is_torn_off_does_not_reach_the_caller(router, upstream):
    spoke = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("he"))
        spoke.wait(START_S)
        send(TORN)
        return "close"

    upstream.script = script
    _, content = router.stream(spoke=spoke)
    *before, last = [e for e in content.split(b"\n\n") if e]
    assert b"".join(e + b"\n\n" for e in before) == ROLE + chunk("he")
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_broken"


def test_what_is_torn_off_behind_a_whole_answer_is_left_out(router, upstream):
    upstream.streams(*EVENTS, TORN)
    response, content = streamed(router)
    assert content == b"".join(EVENTS)
    assert router.receipt(response)["attempts"][0]["outcome"] == "ok"


def test_a_last_event_that_lacks_its_empty_line_is_an_event(router, upstream):
    spoke = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("he"))
        spoke.wait(START_S)
        send(chunk("llo")[:-2])
        return "close"

    upstream.script = script
    _, content = router.stream(spoke=spoke)
    *before, last = [e for e in content.split(b"\n\n") if e]
    assert b"".join(e + b"\n\n" for e in before) == ROLE + chunk("he") + chunk("llo")
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_broken"


def test_a_stream_is_cut_at_the_limit_that_the_fleet_does_not_keep(router, upstream):
    upstream.streams(ROLE, *[chunk("x")] * 500, DONE)
    response, content = streamed(router, max_tokens=5)
    assert content.count(b'"content": "x"') <= 10
    assert b'"finish_reason":"length"' in content
    assert content.endswith(DONE)
    assert router.receipt(response)["attempts"][0]["outcome"] == "ok"


def test_an_empty_answer_is_an_answer(router, upstream):
    upstream.streams(ROLE, chunk(finish="stop"), DONE)
    response, content = streamed(router)
    assert response.status_code == 200
    assert without_comments(content) == ROLE + chunk(finish="stop") + DONE


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_hangs_up_ends_the_work_of_the_fleet(router, upstream, stream):
    def script(body, send, gone):
        if stream:
            send(stream_head() + ROLE + chunk("he"))
        gone(60)
        return "close"

    upstream.script = script
    with router.calling(stream=stream) as caller:
        wait_until(lambda: upstream.bodies)
        if stream:
            assert caller.recv(65536)
    wait_until(lambda: upstream.hung_up == 1)
    wait_until(lambda: len(router.receipts()) == 1)
    assert router.receipts()[0]["attempts"][0]["outcome"] == "client_closed"
    wait_until(lambda: 'sluice_in_flight{fleet="one"} 0.0' in router.http.get("/metrics").text)


def test_chinese_split_inside_a_character_arrives_whole(router, upstream):
    data = json.dumps({"choices": [{"delta": {"content": "账单问题"}}]}, ensure_ascii=False)
    raw = stream_head() + b"data: " + data.encode() + b"\n\n" + DONE

    def script(body, send, gone):
        for i in range(0, len(raw), 7):
            send(raw[i : i + 7])
            gone(0.001)
        return "close"

    upstream.script = script
    _, content = streamed(router)
    assert "账单问题" in content.decode()

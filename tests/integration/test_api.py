"""The HTTP API of a real router process: what it answers, and what it refuses."""

import json
import socket

import httpx
import pytest
from support import (
    ANSWER,
    BOTH,
    DONE,
    EVENTS,
    USAGE_EVENT,
    catalogue,
    fleet,
    plain,
    policy,
    wait_until,
)

from router.http import BODY_LIMIT_BYTES


@pytest.fixture
def router(start_router, upstream):
    fleets = catalogue(fleet("one", upstream.url))
    return start_router(fleets, policy())


def error(response):
    return response.json()["error"]


def test_an_answer_comes_back_as_the_fleet_gave_it_with_its_receipt_in_the_headers(
    router, upstream
):
    response = router.chat("Classify this ticket: billing or shipping? I was charged twice")
    assert response.status_code == 200
    assert response.content == json.dumps(ANSWER).encode()
    headers = {k: v for k, v in response.headers.items() if k.startswith("x-sluice-")}
    names = "request-id fleet model rule policy tier complexity max-output-tokens cost-usd"
    assert set(headers) == {f"x-sluice-{name}" for name in names.split()}
    assert headers["x-sluice-fleet"] == "one"
    assert headers["x-sluice-rule"] == "all"
    assert 3900 < int(headers["x-sluice-max-output-tokens"]) < 4000  # what the context has room for
    receipt = router.receipt(response)
    assert headers["x-sluice-cost-usd"] == f"{receipt['charge']['usd']:.9f}"
    assert receipt["attempts"][0]["outcome"] == "ok"
    assert (receipt["charge"]["tokens_in"], receipt["charge"]["tokens_out"]) == (12, 3)
    assert upstream.bodies[0]["model"] == "m"


def test_a_limit_that_gave_way_is_said_in_the_answer(start_router, upstream):
    defaults = ", relax: [slo.ttft, quality_floor]"
    rules = "  - {id: all, use: cpu, quality_floor: 9, slo: {ttft_p95_ms: 1}}\n"
    fleets = catalogue(fleet("one", upstream.url))
    router = start_router(fleets, policy(rules=rules, defaults=defaults))
    assert router.chat().headers["x-sluice-relaxed"] == "slo.ttft,quality_floor"
    upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    streamed = router.chat(stream=True)
    assert streamed.headers["x-sluice-relaxed"] == "slo.ttft,quality_floor"


def test_the_receipt_has_the_contracts_fields_in_its_order(router):
    receipt = router.receipt(router.chat())
    assert list(receipt) == [
        "id", "at", "policy", "catalogue_hash", "prices_version", "facts", "rule", "minimize",
        "candidates", "load", "plan", "waited_ms", "edits", "attempts", "reservation", "charge",
    ]  # fmt: skip
    assert list(receipt["candidates"][0]) == [
        "fleet", "model", "state", "in_flight", "ttft_ms", "e2e_ms", "usd_marginal",
        "usd_average", "usd_router", "quality", "marks", "refused",
    ]  # fmt: skip
    assert list(receipt["load"]["one"]) == [
        "state", "in_flight", "queued", "replicas", "committed", "ewma_ttft", "ewma_itl",
        "expected_rph", "stale", "limit",
    ]  # fmt: skip


def test_no_text_of_a_request_is_kept_anywhere(router, upstream):
    secret = "Zarathustra-4711 机密内容"
    router.chat(secret)
    router.http.post(
        "/v1/chat/completions", content=json.dumps({"model": "auto", "messages": secret})
    )
    upstream.answers(plain({"error": {"message": secret}}, status=500))
    router.chat(secret)
    wait_until(lambda: len(router.receipts()) == 2)
    kept = router.log() + router.http.get("/metrics").text + json.dumps(router.receipts())
    for path in router.state.rglob("*"):
        if path.is_file():
            kept += path.read_bytes().decode("utf-8", "replace")
    assert "Zarathustra" not in kept
    assert "机密" not in kept
    assert router.key.rpartition("-")[2] not in kept


def test_a_preview_calls_no_model(router, upstream):
    body = {"model": "auto", "messages": [{"role": "user", "content": "你好"}]}
    response = router.http.post("/v1/route", json=body)
    assert response.status_code == 200
    assert response.json()["plan"] == ["one"]
    assert response.json()["attempts"] == []
    assert upstream.bodies == []
    assert router.receipts() == []


# -- who asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eA=="}, {"x-sluice-key": "x"}],
    ids=["none", "wrong", "basic", "wrong x-sluice-key"],
)
def test_nobody_is_answered_without_a_key(router, path, headers):
    response = httpx.post(router.url + path, headers=headers, json={"model": "auto"})
    assert response.status_code == 401
    assert error(response)["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_key_may_come_in_its_own_header(router):
    response = httpx.get(router.url + "/v1/models", headers={"x-sluice-key": router.key})
    assert response.status_code == 200


def test_models_are_those_that_the_key_may_send(router):
    listed = [model["id"] for model in router.http.get("/v1/models").json()["data"]]
    assert listed == ["auto", "auto:cheapest", "m"]  # fastest, best and fleets need rights


def test_a_key_with_rights_sees_and_uses_more(start_router, upstream):
    may = ("fastest", "pin_fleet")
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), may=may)
    listed = [model["id"] for model in router.http.get("/v1/models").json()["data"]]
    assert listed == ["auto", "auto:cheapest", "auto:fastest", "m@one"]
    assert router.chat(model="m@one").status_code == 200
    assert router.chat(model="auto:fastest").status_code == 200
    assert router.chat(model="auto:best").status_code == 403
    assert router.chat(model="m").status_code == 403


def test_a_key_is_kept_to_its_lanes(start_router, upstream):
    fleets = catalogue(fleet("one", upstream.url), fleet("two", upstream.url, lane="accelerator"))
    router = start_router(fleets, policy(BOTH), lanes=("accelerator",))
    assert router.chat().headers["x-sluice-fleet"] == "two"
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), lanes=("x",))
    response = router.chat()
    assert response.status_code == 403
    assert error(response)["code"] == "key_not_allowed"


def test_tags_of_a_request_need_the_keys_leave(start_router, upstream):
    fleets, tags = catalogue(fleet("one", upstream.url)), {"x-sluice-tags": "run=7"}
    router = start_router(fleets, policy(), tags={"data": "private"})
    assert router.chat(headers=tags).status_code == 403
    overriding = router.chat(headers={"x-sluice-tags": "data=public"})
    assert router.receipt(overriding)["facts"]["tags"] == {"data": "private"}
    router = start_router(fleets, policy(), allowed_tags=("run",))
    assert router.receipt(router.chat(headers=tags))["facts"]["tags"] == {"run": "7"}


def test_without_auth_everybody_on_loopback_is_answered(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), "--auth", "none")
    body = {"model": "m@one", "messages": [{"role": "user", "content": "hi"}]}
    assert httpx.post(router.url + "/v1/chat/completions", json=body).status_code == 200


# -- bad input -------------------------------------------------------------------------------------


def test_an_unknown_model_is_answered_with_the_known_ones(router):
    response = router.chat(model="gpt-9")
    assert response.status_code == 404
    assert "auto, auto:cheapest, m" in error(response)["message"]
    assert "gpt-9" not in error(response)["message"]
    assert router.chat(model="m@two").status_code == 404


def test_a_wrong_field_is_400_and_named(router):
    response = router.chat(temperature="hot")
    assert response.status_code == 400
    assert error(response)["param"] == "temperature"
    response = router.http.post("/v1/chat/completions", json={"messages": []})
    assert (response.status_code, error(response)["param"]) == (400, "model")


def test_a_prompt_longer_than_every_context_is_400_and_says_the_limits(router, upstream):
    response = router.chat("many words " * 5000)
    assert response.status_code == 400
    assert error(response)["code"] == "context_length_exceeded"
    assert "4000" in error(response)["message"].replace(",", "")
    assert upstream.bodies == []


def test_what_no_model_can_do_is_400(router):
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    body = {"model": "auto", "messages": [{"role": "user", "content": image}]}
    response = router.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "vision" in error(response)["message"]


def test_a_cap_below_every_price_is_402(router):
    response = router.chat(headers={"x-sluice-max-usd": "0.000000001"})
    assert response.status_code == 402
    assert error(response)["code"] == "max_usd_exceeded"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route"])
def test_half_a_surrogate_pair_is_400_before_any_fleet_is_asked(router, upstream, path):
    body = {"model": "auto", "messages": [{"role": "user", "content": "great \ud83d"}]}
    response = router.http.post(path, content=json.dumps(body))
    assert response.status_code == 400
    assert error(response)["param"] == "messages[0].content"
    assert "half a surrogate pair" in error(response)["message"]
    assert (upstream.bodies, router.receipts()) == ([], [])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route", "/v1/feedback"])
def test_a_body_that_hides_how_deep_it_is_is_400(router, path):
    hidden = "]" * 100_000
    body = f'{{"model":"auto","a":"{hidden}","messages":[],"x":{"[" * 100_000}{hidden}}}'
    response = router.http.post(path, content=body)
    assert response.status_code == 400
    assert error(response)["message"] == "the body is nested too deeply"


@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES + 1, 3 * BODY_LIMIT_BYTES])
def test_a_body_over_the_limit_is_413_and_the_caller_gets_to_see_it(router, size):
    response = router.http.post("/v1/chat/completions", content=b"x" * size)
    assert response.status_code == 413
    assert f"{BODY_LIMIT_BYTES:,}" in error(response)["message"]


def test_a_chunked_body_over_the_limit_is_413_too(router):
    def parts():
        for _ in range(8):
            yield b"x" * 1_000_000

    response = router.http.post("/v1/chat/completions", content=parts())
    assert response.status_code == 413


def test_a_body_of_two_megabytes_is_answered(start_router, upstream):
    fleets = catalogue(fleet("one", upstream.url), context=10_000_000)
    router = start_router(fleets, policy())
    text = "数据与文字 words " * 100_000
    assert router.chat(text).status_code == 200
    assert upstream.bodies[0]["messages"][0]["content"] == text


def test_unknown_paths_and_methods_are_told(router):
    assert "/v1/chat/completions" in error(router.http.get("/v1/nothing"))["message"]
    response = router.http.get("/v1/chat/completions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_a_connection_that_speaks_no_http_harms_nobody(router):
    port = httpx.URL(router.url).port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert not connection.recv(100).startswith(b"HTTP/1.1 2")
    assert router.chat().status_code == 200


# -- the open ends ---------------------------------------------------------------------------------


def test_health_and_readiness_need_no_key(router):
    assert httpx.get(router.url + "/healthz").json() == {"status": "ok"}
    ready = httpx.get(router.url + "/readyz")
    assert ready.status_code == 200
    assert ready.json()["fleets"] == {"one": "ready"}


def test_metrics_count_what_happened(router):
    router.chat()
    router.chat(model="gpt-9")
    text = httpx.get(router.url + "/metrics").text
    assert 'sluice_requests_total{fleet="one",outcome="ok",rule="all"} 1.0' in text
    assert 'sluice_tokens_total{fleet="one",kind="out"} 3.0' in text
    assert 'sluice_refusals_total{status="404"} 1.0' in text
    assert 'sluice_in_flight{fleet="one"} 0.0' in text

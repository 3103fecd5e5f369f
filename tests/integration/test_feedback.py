"""`POST /v1/feedback` on a real router: what is kept, and what is refused."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support import (
    BOTH,
    DONE,
    EVENTS,
    ROLE,
    catalogue,
    fleet,
    plain,
    policy,
    stream_head,
    wait_until,
)

from router.identity import Key
from router.keys import KeyStore
from router.request_id import made_ms, request_id

FIRST = "Classify this ticket as billing or shipping: Zarathustra was charged twice"
ANSWERED = ["request_id", "at", "task", "model", "fleet", "teaches_p_small"]


@pytest.fixture
def router(start_router, upstream):
    fleets = catalogue(fleet("one", upstream.url), fleet("base", upstream.url, lane="accelerator"))
    return start_router(fleets, policy(BOTH, baseline="m@base"))


def give(router, request, *, key=None, **body):
    name = request if isinstance(request, str) else request.headers["x-sluice-request-id"]
    body = {"request_id": name, "acceptable": True, **body}
    headers = {"authorization": f"Bearer {key}"} if key else None
    return router.http.post("/v1/feedback", json=body, headers=headers)


def error(response):
    return response.json()["error"]


def kept(router):
    db = sqlite3.connect(router.state / "sluice.db")
    db.row_factory = sqlite3.Row
    rows = [dict(row) for row in db.execute("SELECT * FROM labels ORDER BY at, request_id")]
    db.close()
    return rows


def another_key(router):
    store = KeyStore(router.state, time.monotonic)
    key = store.create(Key(id="", tenant="other"), "2026-01-01T00:00:00Z")
    store.close()
    return key


# -- taking it -------------------------------------------------------------------------------------


def test_feedback_is_joined_to_what_the_receipt_knew_and_to_no_text(router):
    response = router.chat(FIRST)
    given = give(router, response, acceptable=False, score=0.25, label="wrong-tone")
    assert given.status_code == 200, given.text
    said, facts = given.json(), router.receipt(response)["facts"]
    assert list(said) == ANSWERED
    assert (said["model"], said["fleet"], said["teaches_p_small"]) == ("m", "one", True)
    (row,) = kept(router)
    for name in ("task", "complexity", "tier", "language", "tokens_in", "p_small", "key"):
        assert row[name] == facts[name]
    assert (row["acceptable"], row["score"], row["label"]) == (0, 0.25, "wrong-tone")
    assert row["at"] == said["at"]
    for path in router.state.rglob("*"):
        if path.is_file():
            assert b"Zarathustra" not in path.read_bytes()


def test_ids_of_requests_rise_with_time(router):
    names = [router.chat().headers["x-sluice-request-id"] for _ in range(3)]
    assert names == sorted(names)
    assert abs(made_ms(names[0]) / 1000 - time.time()) < 60
    assert {len(name) for name in names} == {28}


def test_feedback_on_a_stream_may_follow_at_once(router, upstream):
    upstream.streams(*EVENTS, DONE)
    assert give(router, router.chat(stream=True)).status_code == 200


def test_a_stream_that_its_reader_left_has_an_answer_to_judge(router, upstream):
    def script(body, send, gone):
        send(stream_head() + b"".join(EVENTS[:2]))
        gone(20)
        return "close"

    upstream.script = script
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_bytes())
    router.receipt(response)
    assert give(router, response).status_code == 200


def test_an_answer_of_the_baseline_teaches_nothing_of_p_small(start_router, upstream):
    fleets = catalogue(fleet("one", upstream.url), fleet("base", upstream.url, lane="accelerator"))
    router = start_router(fleets, policy(BOTH, baseline="m@base"), may=("pin_fleet",))
    given = give(router, router.chat(model="m@base")).json()
    assert (given["fleet"], given["teaches_p_small"]) == ("base", False)
    assert kept(router)[0]["by_p_small"] == 0


def test_of_a_fleet_that_is_gone_nobody_knows_whether_it_went_by_p_small(router, upstream):
    response = router.chat()
    path = router.state.parent / "fleets.yaml"
    others = (fleet("two", upstream.url), fleet("base", upstream.url, lane="accelerator"))
    path.write_text(catalogue(*others))
    wait_until(lambda: "two" in router.http.get("/readyz").json()["fleets"])
    assert give(router, response).json()["teaches_p_small"] is False


def test_it_counts_once_and_the_second_is_told_when_the_first_was(router):
    response = router.chat()
    first = give(router, response).json()
    second = give(router, response, acceptable=False)
    assert second.status_code == 409
    assert (error(second)["code"], error(second)["at"]) == ("already_judged", first["at"])
    assert first["at"] in error(second)["message"]
    (row,) = kept(router)
    assert row["acceptable"] == 1


def test_of_many_at_once_one_counts(router):
    response = router.chat()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: give(router, response).status_code, range(8)))
    assert sorted(statuses) == [200, *[409] * 7]
    assert len(kept(router)) == 1


def test_the_key_of_another_is_answered_as_if_there_were_no_such_request(router):
    response, other = router.chat(), another_key(router)
    unknown = give(router, request_id(time.time(), "0" * 12))
    before = give(router, response, key=other)
    give(router, response)
    after = give(router, response, key=other)
    for refused in (before, after):
        assert refused.status_code == unknown.status_code == 404
        assert error(refused) == error(unknown)
    assert len(kept(router)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nonsense",
        "req_861e39ae2d5f1deb4cbfd848",
        request_id(time.time() - 8 * 86400, "0" * 12),
        request_id(time.time() + 3600, "0" * 12),
        "../../etc/passwd",
    ],
    ids=["empty", "nonsense", "of an older form", "too old", "to come", "a path"],
)
def test_what_is_unknown_too_old_or_to_come_is_not_found(router, name):
    response = give(router, name)
    assert (response.status_code, error(response)["code"]) == (404, "request_not_found")
    assert error(response)["param"] == "request_id"


def test_a_receipt_of_last_week_is_found_and_an_older_one_is_not(router):
    line = router.receipt(router.chat())
    for days, status in ((6.9, 200), (7.1, 404)):
        made_s = time.time() - days * 86400
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(made_s))
        old = {**line, "id": request_id(made_s, "0" * 12), "at": at}
        path = router.state / "receipts" / f"{at[:10]}.jsonl"
        path.write_text(json.dumps(old, separators=(",", ":")) + "\n")
        assert give(router, old["id"]).status_code == status


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"acceptable": True}, "request_id", "`request_id` is missing"),
        ({"request_id": 7, "acceptable": True}, "request_id", "must be the `x-sluice-request-id`"),
        ({"request_id": "x"}, "acceptable", "`acceptable` is missing: it must be true or false"),
        ({"request_id": "x", "acceptable": None}, "acceptable", "is missing"),
        ({"request_id": "x", "acceptable": 1}, "acceptable", "must be true or false"),
        ({"request_id": "x", "acceptable": "yes"}, "acceptable", "must be true or false"),
        ({"request_id": "x", "acceptable": True, "score": 2}, "score", "a number from 0 to 1"),
        ({"request_id": "x", "acceptable": True, "score": True}, "score", "a number from 0 to 1"),
        ({"request_id": "x", "acceptable": True, "label": ""}, "label", "1 to 64 of a-z"),
        ({"request_id": "x", "acceptable": True, "label": "a" * 65}, "label", "1 to 64 of a-z"),
        ({"request_id": "x", "acceptable": True, "label": "SECRET"}, "label", "1 to 64 of a-z"),
        ({"request_id": "x", "acceptable": True, "label": "坏"}, "label", "1 to 64 of a-z"),
        ({"request_id": "x", "acceptable": True, "note": "SECRET"}, "note", "unknown field `note`"),
        ([], None, "must be a JSON object"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(router, body, param, said):
    response = router.http.post("/v1/feedback", json=body)
    assert response.status_code == 400
    assert (error(response)["code"], error(response)["param"]) == ("invalid_request", param)
    assert said in error(response)["message"]
    assert "SECRET" not in response.text
    assert kept(router) == []


def test_what_is_no_json_is_told(router):
    for content in (b"{", b"\xff", b'{"score": NaN}', b"", b'{"\\ud83d": 1}'):
        assert router.http.post("/v1/feedback", content=content).status_code == 400


def test_a_request_that_nobody_answered_has_nothing_to_judge(router, upstream):
    upstream.answers(plain({"error": {"message": "boom"}}, status=500))
    failed = router.chat()
    assert failed.status_code == 502
    refused = router.chat(max_tokens=100_000)
    assert refused.status_code == 400
    upstream.streams(ROLE, EVENTS[1])
    broken = router.chat(stream=True)
    for response in (failed, refused, broken):
        router.receipt(response)
        judged = give(router, response)
        assert (judged.status_code, error(judged)["param"]) == (400, "request_id")
        assert "no answer was given" in error(judged)["message"]


def test_it_takes_a_key_and_a_post(router):
    open_door = httpx.post(f"{router.url}/v1/feedback", json={})
    assert open_door.status_code == 401
    assert router.http.get("/v1/feedback").status_code == 405


def test_without_keys_everybody_is_nobody_and_may_judge(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), "--auth", "none")
    assert give(router, router.chat()).status_code == 200
    assert kept(router)[0]["key"] == "none"


def test_a_store_that_cannot_keep_it_is_told_and_the_router_goes_on(router):
    response = router.chat()
    db = sqlite3.connect(router.state / "sluice.db")
    db.execute("ALTER TABLE labels RENAME TO elsewhere")
    db.close()
    told = give(router, response)
    assert (told.status_code, error(told)["code"]) == (503, "label_not_kept")
    assert router.chat().status_code == 200


def test_a_receipt_that_is_gone_is_not_found(router):
    response = router.chat()
    router.receipt(response)
    for path in (router.state / "receipts").iterdir():
        path.unlink()
    assert give(router, response).status_code == 404

"""What an answer means for its line."""

import json

import pytest

from router.batches.port import Job, Line
from router.batches.verdict import MOST_ASKED_S, MOST_COSTLY, MOST_WAIT_S, Again, Answer, judged


def job(**more):
    return Job("batch_1", Line(3, "c", 0, 10), "req_1", **more)


def answer(status, code="x", headers=None, **more):
    error = {"code": code, "message": "Zarathustra", **more}
    return Answer(status, headers or {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 422])
def test_an_answer_of_the_lines_own_is_kept(status):
    result = judged(job(), answer(status), 0.5)
    assert (result.number, result.custom_id, result.status) == (3, "c", status)
    assert result.ok is (status == 200)
    assert result.request_id == "req_1"


@pytest.mark.parametrize("status", [402, 408, 409, 429, 503])
def test_what_cost_nothing_is_asked_again_without_end(status):
    for sends in (0, 5, 10_000):
        told = judged(job(sends=sends), answer(status), 1.0)
        assert isinstance(told, Again)
        assert not told.failed
        assert 0 < told.wait_s <= MOST_WAIT_S


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_may_have_cost_is_asked_again_a_few_times(status):
    told = judged(job(sends=50, failures=MOST_COSTLY - 2), answer(status), 0.0)
    assert isinstance(told, Again)
    assert told.failed
    last = judged(job(failures=MOST_COSTLY - 1), answer(status), 0.0)
    assert last.status == status


def test_waits_are_doubled_and_spread():
    def wait_s(sends, chance):
        return judged(job(sends=sends), answer(503), chance).wait_s

    assert wait_s(0, 1.0) == 1.0
    assert wait_s(3, 1.0) == 8.0
    assert wait_s(3, 0.0) == 4.0


@pytest.mark.parametrize(
    ("told", "least"),
    [(b"60", 60.0), (b"999999", MOST_ASKED_S), (b"soon", 0.5), (b"9" * 400, 0.5), (b"-1", 0.5)],
)
def test_retry_after_is_heeded_within_reason(told, least):
    wait_s = judged(job(), answer(429, headers={b"retry-after": told}), 0.0).wait_s
    assert wait_s == least


def test_a_reason_has_the_routers_word_and_nothing_of_a_message():
    assert judged(job(), answer(503, "overloaded"), 0.0).reason == "503 overloaded"
    assert judged(job(), Answer(503, {}, b"Zarathustra"), 0.0).reason == "503"
    assert judged(job(), Answer(503, {}, b'{"error": "Zarathustra"}'), 0.0).reason == "503"


def test_of_a_send_that_was_charged_the_answer_is_lost():
    told = judged(job(), answer(409, "already_requested", state="settled"), 0.0)
    assert (told.status, told.code) == (None, "answer_lost")
    assert isinstance(judged(job(), answer(409, "already_requested", state="open"), 0.0), Again)

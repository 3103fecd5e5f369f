import time

import orjson
import pytest

from backends.base import (
    ContextExceeded,
    Misconfigured,
    Overloaded,
    Rejected,
    ServerFailed,
    TimedOut,
)
from backends.upstream_errors import (
    RETRY_AFTER_MAX_S,
    error_for,
    error_in_answer,
    retry_after_s,
)

NOW_S = 1_795_211_328.0  # Fri, 20 Nov 2026 21:48:48 GMT

KIND_OF = {
    301: Misconfigured,
    302: Misconfigured,
    304: Misconfigured,
    308: Misconfigured,
    400: Rejected,
    401: Misconfigured,
    402: Misconfigured,
    403: Misconfigured,
    404: Misconfigured,
    405: Misconfigured,
    408: TimedOut,
    409: Rejected,
    413: ContextExceeded,
    415: Misconfigured,
    418: Rejected,
    422: Rejected,
    429: Overloaded,
    500: ServerFailed,
    501: ServerFailed,
    502: ServerFailed,
    503: Overloaded,
    504: ServerFailed,
    529: Overloaded,
    599: ServerFailed,
}


def error(status, body=b"", **headers):
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return error_for(status, named, body, now_s=NOW_S)


def test_a_redirect_is_told_to_be_one_and_to_where_is_not_repeated():
    told = error(302, b"", location=b"https://elsewhere/?token=secret")
    assert told.detail == "status 302: a redirect, which is not followed"
    assert error(304).detail == "status 304"
    assert error(401).detail == "status 401"


@pytest.mark.parametrize(("status", "kind"), KIND_OF.items())
def test_a_status_says_whose_fault_it_was(status, kind):
    told = error(status, b'{"error":{"message":"no"}}')
    assert type(told) is kind
    assert str(status) in str(told)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 0.5 ", 0.5),
        (b"0", 0.0),
        (b"86400", RETRY_AFTER_MAX_S),
        (b"Fri, 20 Nov 2026 21:49:18 GMT", 30.0),
        (b"Fri, 20 Nov 2026 21:00:00 GMT", 0.0),
        (b"Fri, 20 Nov 2099 21:00:00 GMT", RETRY_AFTER_MAX_S),
        (b"Fri, 20 Nov 2026", None),
        (b"20 Nov 2026 21:49:18 +99999999999999", None),
        (b"32 Nov 2026 21:49:18 GMT", None),
        (b"soon", None),
        (b"-1", None),
        (b"inf", None),
        (b"nan", None),
        (b"1e3", None),
        (b"9" * 5000, None),
        ("马上".encode(), None),
        (b"", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value, seconds):
    assert retry_after_s(value, NOW_S) == seconds


def test_a_date_without_a_zone_is_gmt_wherever_we_are(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert retry_after_s(b"Fri, 20 Nov 2026 21:49:18", NOW_S) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("status", [429, 503, 500])
def test_an_upstream_that_names_a_time_is_left_alone_for_so_long(status):
    assert error(status, retry_after=b"12").retry_after_s == 12.0
    assert error(status).retry_after_s is None


TOO_LONG = [
    (
        {
            "error": {
                "code": 400,
                "type": "exceed_context_size_error",
                "message": "the request exceeds the available context size",
                "n_prompt_tokens": 4020,
                "n_ctx": 2048,
            }
        },
        4020,
        2048,
    ),
    (
        {
            "error": {
                "code": "context_length_exceeded",
                "message": "This model's maximum context length is 8192 tokens. However, your"
                " messages resulted in 9001 tokens.",
            }
        },
        9001,
        8192,
    ),
    (
        {
            "object": "error",
            "type": "BadRequestError",
            "code": 400,
            "message": "This model's maximum context length is 4096 tokens. However, you requested"
            " 5000 tokens (4900 in the messages, 100 in the completion).",
        },
        5000,
        4096,
    ),
    (
        {
            "error": {
                "code": 400,
                "message": "This model's maximum context length is 2048 tokens. However, your"
                " request has 4020 input tokens.",
            }
        },
        4020,
        2048,
    ),
    (
        {
            "message": "The input (5000 tokens) is longer than the model's context length"
            " (4096 tokens)."
        },
        5000,
        4096,
    ),
    ({"error": "prompt exceeds the context window"}, None, None),
]


@pytest.mark.parametrize(("body", "n_prompt_tokens", "n_ctx"), TOO_LONG)
def test_a_request_that_is_too_long_for_this_fleet_may_fit_another(body, n_prompt_tokens, n_ctx):
    exceeded = error(400, orjson.dumps(body))
    assert isinstance(exceeded, ContextExceeded)
    assert exceeded.try_elsewhere
    assert (exceeded.n_prompt_tokens, exceeded.n_ctx) == (n_prompt_tokens, n_ctx)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":null}',
        b'{"error":[1]}',
        b'{"error":{"message":7,"type":null,"code":true}}',
        b'{"error":{"message":"`temperature` is out of range"}}',
    ],
)
def test_any_other_400_is_the_callers_and_is_kept_to_be_relayed(body):
    rejected = error(400, body)
    assert isinstance(rejected, Rejected)
    assert not rejected.try_elsewhere
    assert (rejected.status, rejected.body) == (400, body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[1]", b"\xff\xfe", b"{"])
@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_400_that_is_no_json_is_relayed_to_nobody_and_closes_no_lane(status, body):
    told = error(status, body)
    assert (told.code, told.try_elsewhere) == ("unreadable", True)
    assert not told.backend_at_fault  # whoever can send a bad request could close every lane by it
    assert not told.may_have_worked
    assert told.detail == f"status {status}, and no JSON object to say why"


@pytest.mark.parametrize("status", KIND_OF)
def test_no_error_repeats_what_an_upstream_wrote(status):
    body = orjson.dumps({"error": {"message": "机密 maximum context length secret"}})
    told = error(status, body, retry_after=b"secret", www_authenticate=b"secret")
    assert "secret" not in f"{told} {told!r} {told.args}"
    assert "机密" not in f"{told} {told!r} {told.args}"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"code": 503, "message": "Loading model"}, Overloaded),
        ({"code": 400, "type": "BadRequestError", "message": "bad"}, Rejected),
        ({"type": "exceed_context_size_error", "n_ctx": 512}, ContextExceeded),
        ({"code": "context_length_exceeded"}, ContextExceeded),
        ({"code": 200}, ServerFailed),
        ({"code": None, "type": "server_error"}, ServerFailed),
        ({"code": True}, ServerFailed),
        ("out of memory", ServerFailed),
        (["x"], ServerFailed),
    ],
)
def test_an_error_inside_a_200_is_an_error(said, kind):
    assert type(error_in_answer(said)) is kind

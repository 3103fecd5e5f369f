"""What an error answer of SageMaker means, whoever of the two has said it.

The forms of the OpenAI path are those that others have seen on real endpoints; those of
InvokeEndpoint are in botocore's model of the service.
"""

import json

import pytest
from sagemaker_support import exception, frame

from backends.base import (
    Broken,
    ContextExceeded,
    Misconfigured,
    Overloaded,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreadable,
)
from backends.event_stream import Decoder
from backends.sagemaker_errors import doubts_identity, error_for, in_stream

NOW = 1_795_255_200.0
ACCOUNT = "123456789012"


def aws(code, **fields):
    return {b"x-amzn-errortype": code.encode()}, json.dumps(fields).encode()


def openai(message, code, kind="invalid_request_error"):
    error = {"message": message, "type": kind, "code": code}
    return {}, json.dumps({"error": error}).encode()


def quoting(status, text):
    said = f'Received client error ({status}) from Kl6NPm with message "{text}". See '
    return openai(f"{said}https://x.com in account {ACCOUNT} for more information.", "model_error")


def model_error(status, text):
    more = {"LogStreamArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:x"}
    message = f'Received client error ({status}) from primary with message "{text}". See …'
    fields = {"Message": message, "OriginalMessage": text, "OriginalStatusCode": status}
    return aws("ModelError", **fields, **more)


BAD = json.dumps({"error": {"message": '`top_p` must be "below" 1', "code": 400}})
LONG = json.dumps(
    {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}}
)
NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be "
    "in-progress (if configured) or try to increase the capacity by invoking "
    "UpdateInferenceComponentRuntimeConfig API."
)
NO_ENDPOINT = f"Endpoint chat of account {ACCOUNT} not found."

CASES = [
    (400, aws("ThrottlingException", message="Rate exceeded"), Overloaded),
    (429, aws("ThrottlingException:http://x/", message="Rate exceeded"), Overloaded),
    (429, aws("ModelNotReadyException", Message="loading"), Overloaded),
    (429, openai("loading", "model_not_ready_exception"), Overloaded),
    (503, aws("ServiceUnavailable", Message="try again"), Overloaded),
    (429, ({}, b""), Overloaded),
    (503, ({}, b"<html>"), Overloaded),
    (500, aws("InternalFailure", Message="oh"), ServerFailed),
    (530, aws("InternalDependencyException", Message="oh"), ServerFailed),
    (502, ({}, b"Bad Gateway"), ServerFailed),
    (403, aws("AccessDeniedException", Message=f"arn:aws:iam::{ACCOUNT}:x may not"), Misconfigured),
    (403, aws("ExpiredTokenException", message="expired"), Misconfigured),
    (400, aws("ExpiredTokenException", message="expired"), Misconfigured),
    (403, ({}, json.dumps({"__type": "com.amazon#InvalidSignatureException"})), Misconfigured),
    (401, openai("no", "unauthorized"), Misconfigured),
    (403, ({}, b""), Misconfigured),
    (404, ({}, b"<UnknownOperationException/>"), Misconfigured),
    (400, aws("ValidationError", Message=NO_ENDPOINT), Misconfigured),
    (400, aws("ValidationError", Message="1 validation error detected"), Misconfigured),
    (400, openai(NO_ENDPOINT, "validation_error"), Misconfigured),
    (400, ({}, json.dumps({"message": NO_ENDPOINT})), Misconfigured),
    (400, aws("ValidationError", Message=NO_CAPACITY), Overloaded),
    (400, openai(NO_CAPACITY, "validation_error"), Overloaded),
    (424, model_error(400, BAD), Rejected),
    (400, quoting(400, BAD), Rejected),
    (424, quoting(400, BAD), Rejected),
    (424, model_error(422, "plain words"), Unreadable),
    (424, model_error(400, LONG), ContextExceeded),
    (400, quoting(400, LONG), ContextExceeded),
    (424, model_error(413, "too long"), ContextExceeded),
    (424, model_error(404, '{"error": "no such model"}'), Misconfigured),
    (424, model_error(429, "{}"), Overloaded),
    (424, model_error(503, '{"error": {"message": "Loading model"}}'), Overloaded),
    (424, model_error(500, "Traceback"), ServerFailed),
    (400, quoting(503, "{}"), Overloaded),
    (424, ({}, b""), ServerFailed),
    (424, aws("ModelError", Message="x", OriginalStatusCode="y"), ServerFailed),
    (424, model_error(0, "Your invocation timed out while waiting for a response"), TimedOut),
    (424, model_error(0, ""), ServerFailed),
    (400, ({}, BAD.encode()), Rejected),  # the container's own, as it is
]


@pytest.mark.parametrize(("status", "answer", "kind"), CASES)
def test_an_error_answer_means_what_it_means(status, answer, kind):
    headers, body = answer
    body = body if isinstance(body, bytes) else body.encode()
    error = error_for(status, headers, body, now_s=NOW)
    assert type(error) is kind
    shown = f"{error} {vars(error)}"
    for secret in (ACCOUNT, "arn:", "Kl6NPm", "Endpoint chat", "Traceback"):
        assert secret not in shown


@pytest.mark.parametrize("answer", [model_error(400, BAD), quoting(400, BAD)])
def test_what_the_container_said_of_a_request_goes_to_its_caller(answer):
    error = error_for(424, *answer, now_s=NOW)
    assert (error.status, error.body) == (400, BAD.encode())
    assert error.detail == "the container: status 400"
    assert "top_p" not in str(error)


@pytest.mark.parametrize("text", ["plain words", "", "<html><body>400</body></html>"])
def test_a_refusal_that_is_no_json_is_unreadable(text):
    error = error_for(424, *model_error(422, text), now_s=NOW)
    assert type(error) is Unreadable


def test_a_body_that_the_service_could_not_load_is_not_made_up():
    said = "Received client error (400) from Kl6 and could not load the entire response body. See "
    error = error_for(400, *openai(said + ACCOUNT, "model_error"), now_s=NOW)
    assert type(error) is Unreadable


def test_lengths_that_the_container_told_are_read():
    error = error_for(424, *model_error(400, LONG), now_s=NOW)
    assert (error.n_prompt_tokens, error.n_ctx) == (9, 8)


def test_retry_after_of_a_throttled_call_is_kept():
    headers, body = aws("ThrottlingException")
    error = error_for(400, {**headers, b"retry-after": b"3"}, body, now_s=NOW)
    assert error.retry_after_s == 3.0


@pytest.mark.parametrize("text", [NO_CAPACITY, NO_ENDPOINT, "Received server error (503) from x"])
def test_a_caller_cant_put_the_services_words_into_its_own_error(text):
    echoed = json.dumps({"error": {"message": f"no tool is called `{text}`", "code": 400}})
    for status, answer in [(424, model_error(400, echoed)), (400, quoting(400, echoed))]:
        assert type(error_for(status, *answer, now_s=NOW)) is Rejected
    assert type(error_for(400, {}, echoed.encode(), now_s=NOW)) is Rejected


@pytest.mark.parametrize(
    ("status", "answer", "doubts"),
    [
        (401, ({}, b""), True),
        (403, ({}, b"{}"), True),
        (400, aws("ExpiredTokenException"), True),
        (400, aws("ValidationError"), False),
        (424, model_error(403, "{}"), False),
        (500, ({}, b""), False),
    ],
)
def test_only_a_refused_identity_is_worth_a_second_try(status, answer, doubts):
    assert doubts_identity(status, *answer) is doubts


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (exception("ModelStreamError", ErrorCode="StreamBroken", Message=ACCOUNT), "lost"),
        (exception("ModelStreamError", ErrorCode="ModelInvocationTimeExceeded"), "longer than"),
        (exception("ModelStreamError"), "lost"),
        (exception("InternalStreamFailure", Message=ACCOUNT), "InternalStreamFailure"),
        (exception("SomethingNew"), "an error"),
        (frame({":message-type": "error", ":error-code": "InternalStreamFailure"}), "failed"),
        (frame({":message-type": "exception"}, b"\xff"), "an error"),
    ],
)
def test_an_error_within_a_stream_is_broken_and_never_quoted(raw, said):
    (message,) = Decoder().feed(raw)
    error = in_stream(message)
    assert type(error) is Broken
    assert error.received
    assert said in error.detail
    assert ACCOUNT not in str(error)

"""What SageMaker's error answers, and errors inside its streams, mean. Pure.

Two parties answer: the service itself, and the container behind it, whose answer the service wraps
(status 424, ModelError). The service's texts name accounts, endpoints and log streams: they are
read here and never repeated. What the container said of a request goes to its caller.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from backends import upstream_errors
from backends.base import (
    BackendError,
    Broken,
    Misconfigured,
    Overloaded,
    ServerFailed,
    TimedOut,
)
from backends.event_stream import Message

MODEL_ERROR = 424

# By their names without case, `_` and `Exception`: the two ways write them differently.
_BUSY = {
    "throttling": "Throttling",
    "throttled": "Throttling",
    "toomanyrequests": "TooManyRequests",
    "requestlimitexceeded": "RequestLimitExceeded",
    "slowdown": "SlowDown",
    "modelnotready": "ModelNotReady",
    "serviceunavailable": "ServiceUnavailable",
}
_IDENTITY = {
    "expiredtoken": "ExpiredToken",
    "unrecognizedclient": "UnrecognizedClient",
    "invalidclienttokenid": "InvalidClientTokenId",
    "invalidsignature": "InvalidSignature",
    "signaturedoesnotmatch": "SignatureDoesNotMatch",
    "requesttimetooskewed": "RequestTimeTooSkewed",
    "requestexpired": "RequestExpired",
    "missingauthenticationtoken": "MissingAuthenticationToken",
    "incompletesignature": "IncompleteSignature",
    "accessdenied": "AccessDenied",
    "notauthorized": "NotAuthorized",
    "optinrequired": "OptInRequired",
}
_VALIDATION = frozenset({"validationerror", "validation"})

_NO_CAPACITY = re.compile(
    r"(?:inference component|endpoint)\b[^.]*\bhas no capacity\b", re.IGNORECASE
)
_NO_SUCH_ENDPOINT = re.compile(r"endpoint \S+ of account \d+ not found", re.IGNORECASE)
_CONTAINER = re.compile(r"Received (?:client|server) error \((\d{1,3})\) from \S+")
_QUOTED = re.compile(r'^[^"]{0,200} with message "(.*)"', re.DOTALL)
_TIMED_OUT = re.compile(r"timed out", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Said:
    """An error answer, read. `code` is in lower case, "" where there is none."""

    status: int
    code: str
    message: str
    fields: Mapping[str, Any]


def error_for(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, now_s: float
) -> BackendError:
    """Return the error that a status other than 2xx means; `now_s` is UTC, since 1970."""
    said = _said(status, headers, body)
    wrapped = _CONTAINER.match(said.message)
    if said.code == "modelerror" or status == MODEL_ERROR or wrapped:
        return _of_container(said, wrapped, now_s)
    if said.code in _BUSY:
        after_s = upstream_errors.retry_after_s(headers.get(b"retry-after"), now_s)
        return Overloaded(f"status {status} ({_BUSY[said.code]})", retry_after_s=after_s)
    ours = _of_service(said)
    return ours or upstream_errors.error_for(status, headers, body, now_s=now_s)


def doubts_identity(status: int, headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Return whether newer credentials could help."""
    return status in {401, 403} or _said(status, headers, body).code in _IDENTITY


def in_stream(message: Message) -> BackendError:
    """Return what an event means that is no part of the answer."""
    name = message.headers.get(":exception-type") or message.headers.get(":error-code", "")
    if name == "ModelStreamError":
        code = _object(message.payload).get("ErrorCode")
        if code == "ModelInvocationTimeExceeded":
            return Broken("the model took longer than SageMaker lets a stream", received=True)
        return Broken("SageMaker lost the model's stream (ModelStreamError)", received=True)
    if name == "InternalStreamFailure":
        return Broken("SageMaker's stream failed (InternalStreamFailure)", received=True)
    return Broken("SageMaker ended the stream with an error", received=True)


def _of_service(said: _Said) -> BackendError | None:
    if said.code in _IDENTITY:
        return Misconfigured(f"status {said.status} ({_IDENTITY[said.code]})")
    if _NO_CAPACITY.match(said.message) and said.status < 500:  # noqa: PLR2004 (HTTP's own)
        return Overloaded("the endpoint has no capacity now: it is scaled to zero, or starting")
    if _NO_SUCH_ENDPOINT.match(said.message):
        return Misconfigured(f"status {said.status}: the account has no endpoint of this name")
    if said.code in _VALIDATION:  # of the service's own fields, which the catalogue gives
        which = "endpoint, inference component or variant"
        return Misconfigured(f"status {said.status} (ValidationError): check {which}")
    return None


def _of_container(said: _Said, wrapped: re.Match[str] | None, now_s: float) -> BackendError:
    status = said.fields.get("OriginalStatusCode")
    if not isinstance(status, int) and wrapped is not None:
        status = int(wrapped[1])
    text = _text(said.fields, "OriginalMessage")
    if not text and wrapped is not None and (quoted := _QUOTED.match(said.message)):
        text = quoted[1]
    if not isinstance(status, int) or not 300 <= status <= 599:  # noqa: PLR2004 (0: none came)
        if _TIMED_OUT.search(f"{said.message} {text}"):
            return TimedOut("the container gave SageMaker no answer in time")
        return ServerFailed("the container gave SageMaker no answer")
    return upstream_errors.error_for(status, {}, text.encode(), now_s=now_s, who="the container: ")


def _said(status: int, headers: Mapping[bytes, bytes], body: bytes) -> _Said:
    """`ModelError`, `model_error` and `ns#ModelError:url` are one code."""
    fields = _object(body)
    envelope = fields.get("error")
    inner = envelope if isinstance(envelope, dict) else fields
    name = headers.get(b"x-amzn-errortype", b"").decode("latin-1")
    name = name or _text(fields, "__type", "code", "Code") or _text(inner, "code")
    name = name.partition(":")[0].rpartition("#")[2]
    code = name.replace("_", "").lower().removesuffix("exception")
    return _Said(status, code, _text(inner, "Message", "message"), fields)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], *names: str) -> str:
    return next((v for name in names if isinstance(v := fields.get(name), str)), "")

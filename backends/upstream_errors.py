"""What an upstream's error answer means: its status, or the error object it put into a 200. Pure.

The forms are those of ``backends.dialects``. Their texts are searched for lengths and are never
repeated.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import orjson

from backends.base import (
    BackendError,
    ContextExceeded,
    Misconfigured,
    Overloaded,
    Rejected,
    ServerFailed,
    TimedOut,
    Unreadable,
)
from backends.dialects import CONTEXT_CODES, CONTEXT_TEXT, N_CTX, N_PROMPT, OVERLOADED

RETRY_AFTER_MAX_S = 3600.0  # whatever an upstream says, it is asked again within the hour

_TIMED_OUT = frozenset({408})
_TOO_LONG = frozenset({413})
# Not the caller's doing: key, quota, URL, method, content type, or a model that isn't there.
_MISCONFIGURED = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 415, 421, 426})
_REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})
ANOTHERS_TURN = _MISCONFIGURED | _REDIRECTS | OVERLOADED
"""Statuses of a server that is set up wrongly, loads or is full: it worked on nothing, and an equal
one may have a place."""
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


def error_for(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, now_s: float, who: str = ""
) -> BackendError:
    """Return the error that a status other than 2xx means; `now_s` is UTC, since 1970.

    `who` stands before the status where not the one that was called has said it.
    """
    return _error(status, _error_object(body), headers.get(b"retry-after"), body, now_s, who)


def error_in_answer(error: object) -> BackendError:
    """Return what an error object means that came with status 200, in a body or as an event."""
    fields = error if isinstance(error, Mapping) else {}
    code = _count(fields.get("code"))
    if code is None or not 400 <= code <= 599:  # noqa: PLR2004 (HTTP's own)
        code = 400 if _is_context(fields) else 500
    return _error(code, fields, None, orjson.dumps({"error": error}), 0.0)


def retry_after_s(value: bytes | None, now_s: float) -> float | None:
    """Return the seconds that a Retry-After asks for, as number or date; None if it is neither."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_MAX_S)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 (5 ms, and dates are rare)

    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()  # HTTP knows only GMT
    return min(max(0.0, at_s - now_s), RETRY_AFTER_MAX_S)


def _error(
    status: int,
    error: Mapping[str, Any] | None,
    retry_after: bytes | None,
    body: bytes,
    now_s: float,
    who: str = "",
) -> BackendError:
    said = f"{who}status {status}"
    if status in OVERLOADED:
        return Overloaded(said, retry_after_s=retry_after_s(retry_after, now_s))
    if status >= 500:  # noqa: PLR2004 (HTTP's own)
        return ServerFailed(said, retry_after_s=retry_after_s(retry_after, now_s))
    if status in _TIMED_OUT:
        return TimedOut(said)
    if status in _MISCONFIGURED or status < 400:  # noqa: PLR2004 (3xx: the URL has moved)
        redirect = ": a redirect, which is not followed" if status in _REDIRECTS else ""
        return Misconfigured(f"{said}{redirect}")
    fields = error or {}
    if status in _TOO_LONG or _is_context(fields):
        return ContextExceeded(
            said,
            n_prompt_tokens=_length(fields, "n_prompt_tokens", N_PROMPT),
            n_ctx=_length(fields, "n_ctx", N_CTX),
        )
    unreadable = Unreadable(f"{said}, and no JSON object to say why")
    return unreadable if error is None else Rejected(said, status=status, body=body)


def _error_object(body: bytes) -> Mapping[str, Any] | None:
    """Return the fields of the error: below `error`, or the body itself (vLLM before 0.10)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error", value)
    return error if isinstance(error, dict) else {"message": error}


def _is_context(error: Mapping[str, Any]) -> bool:
    if error.get("type") in CONTEXT_CODES or error.get("code") in CONTEXT_CODES:
        return True
    message = error.get("message")
    return isinstance(message, str) and CONTEXT_TEXT.search(message) is not None


def _length(error: Mapping[str, Any], name: str, said: re.Pattern[str]) -> int | None:
    count = _count(error.get(name))
    if count is not None:
        return count
    message = error.get("message")
    match = said.search(message) if isinstance(message, str) else None
    return int(next(filter(None, match.groups()))) if match else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

"""What an answer of the OpenAI API has to be, whoever carries it. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from backends.base import Garbled
from backends.upstream_errors import error_in_answer

Headers = Mapping[bytes, bytes]

# What an answer has to have, by path; of a path that isn't here, any JSON object will do.
_PROMISED = {"/chat/completions": "choices", "/completions": "choices", "/embeddings": "data"}


def is_ok(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 (HTTP's own)


def plain_objection(headers: Headers) -> str | None:
    coding = headers.get(b"content-encoding", b"identity")
    return None if coding.lower() == b"identity" else "the answer is compressed, unasked"


def stream_objection(headers: Headers) -> str | None:
    if not is_events(headers.get(b"content-type", b"")):
        return "the answer is not an event stream"
    return plain_objection(headers)


def is_events(content_type: bytes) -> bool:
    return content_type.lower().startswith(b"text/event-stream")


def answer(body: bytes, path: str) -> Mapping[str, Any]:
    """Return the JSON object that the path promises. Raises what an error in its place means."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Garbled("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise Garbled("the answer is no JSON object")
    promised = _PROMISED.get(path)
    if promised is not None and promised not in value:
        if value.get("error") is not None:
            raise error_in_answer(value["error"])
        raise Garbled(f"the answer has no `{promised}`")
    return value

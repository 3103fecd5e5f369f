"""Which answers shadow judging looks at, and what its calls are asked with. Pure.

A request is looked at if a text answers a text: one choice, no tools, images or sound, no answer
that a cascade tests, REQUEST_BYTES at most, and a small model among those that may answer it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from policies.model import SHADOW, Facts
from router.decide import Attempt, Decision
from router.wire import Body, ChatRequest

REQUEST_BYTES: Final = 65_536
ANSWER_BYTES: Final = 32_768
ROLES: Final = frozenset(("system", "developer", "user", "assistant"))
NOT_ASKED_AGAIN: Final = frozenset(("stream", "stream_options", "logprobs", "top_logprobs"))
NOT_TEXT: Final = ("tools", "functions", "modalities", "audio")
_SCALE: Final = 2**64


def drawn(request_id: str, purpose: str) -> float:
    """Return a number from 0 to below 1: the same for an id and a purpose, anywhere."""
    digest = hashlib.sha256(f"{SHADOW}:{purpose}:{request_id}".encode()).digest()
    return int.from_bytes(digest[:8]) / _SCALE


def can_be_judged(request: ChatRequest, decision: Decision) -> bool:
    """Tell whether an answer to this request could be judged."""
    body, attempts = request.body, decision.plan.attempts
    return (
        any(map(is_small, attempts))
        and not any(attempt.accept_if for attempt in attempts)
        and request.n == 1
        and not any(body.get(name) for name in NOT_TEXT)
        and "vision" not in decision.facts.needs
        and all(map(_is_text, body["messages"]))
    )


def is_small(attempt: Attempt) -> bool:
    """Tell whether an answer of this fleet is a small model's: its quality is p_small."""
    candidate = attempt.candidate
    return candidate.by_p_small and not candidate.on.fleet.emulated


def fits(request: ChatRequest, decision: Decision) -> bool:
    """Tell whether the request is short enough to be kept until it is asked again."""
    if (decision.facts.tokens_in_bound or 0) > REQUEST_BYTES:
        return False
    try:
        return len(orjson.dumps(request.body)) <= REQUEST_BYTES
    except TypeError:  # a number beyond 64 bits
        return False


def asked_again(request: ChatRequest) -> ChatRequest:
    """Return the request as the strong model is asked it: plain, and without log probabilities."""
    body = {name: value for name, value in request.body.items() if name not in NOT_ASKED_AGAIN}
    return replace(request, body=body, stream=False, usage_asked=False)


def facts_again(facts: Facts, request_id: str, role: str, at: str) -> Facts:
    """Return the facts of a call of shadow judging: the request's, asked in our own name and at our
    own cost, where the request's key may go. Its tags say what it is for.
    """
    return replace(
        facts,
        at=at,
        tenant=SHADOW,
        team=None,
        key=SHADOW,
        tags={"shadow": role, "request": request_id},
        needs=tuple(need for need in facts.needs if need != "logprobs"),
        requested_model="auto",
        max_usd=None,
        slo_ttft_ms=None,
        may=(),
    )


def text_of(message: Body) -> str:
    """Return the text of a message of ROLES."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or ())


def _is_text(message: Mapping[str, Any]) -> bool:
    if message["role"] not in ROLES or message.get("tool_calls") or message.get("function_call"):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(part["type"] == "text" for part in content)
    return isinstance(content, str)

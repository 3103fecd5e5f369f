"""A request to an emulated fleet: its bytes -> a valid value, checked as a vLLM server does. Pure.

* Refused      the caller's fault (4xx), for now no place (503), or a fault that was asked for; its
               body is vLLM's error form

Left out, and refused with 400 where a caller asks for it: log probabilities, `echo`, `suffix`,
several prompts in one request. Tools may be sent; they are answered with text.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from backends.catalogue import Fleet
from backends.engines import emulated_text
from backends.engines.emulated_text import Answer, Limits, tokens_of

Body = Mapping[str, Any]
Kind = Literal["chat", "text"]

CHOICES_MAX = 128  # OpenAI's bound of `n`
MESSAGE_TOKENS = 4  # what a chat template adds around each message
IMAGE_TOKENS = 17 * 144  # Llama 4's most: 16 tiles and an overview, 144 tokens each
NAME_SHOWN = 64  # characters of a name in a message

ERROR_TYPES = {
    400: "BadRequestError",
    403: "ForbiddenError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "RequestTooLargeError",
    429: "TooManyRequestsError",
    500: "InternalServerError",
    502: "BadGatewayError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
    529: "OverloadedError",
}
_NOT_EMULATED = ("logprobs", "top_logprobs", "prompt_logprobs", "echo", "suffix")


class Refused(Exception):  # noqa: N818  (it reads as what it says: the request is refused)
    """The request gets this status and message. Nothing of a prompt is in it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        error = {
            "message": str(self),
            "type": ERROR_TYPES[self.status],
            "param": self.param,
            "code": self.status,
        }
        return orjson.dumps({"error": error})


@dataclass(frozen=True, slots=True)
class Ask:
    """One valid request."""

    kind: Kind
    model: str
    tokens_in: int
    answer: Answer = field(repr=False)
    n: int
    stream: bool
    include_usage: bool


def parse(raw: bytes, fleet: Fleet, kind: Kind) -> Ask:
    """Return what is asked of this fleet, or raise Refused."""
    body = _json_object(raw)
    model = body.get("model")
    if model is None:
        model = fleet.upstream_model  # as vLLM, which serves one
    if not isinstance(model, str):
        raise Refused(400, "`model` is not a text", param="model")
    if model != fleet.upstream_model:
        known = f"(known: {fleet.upstream_model})"
        raise Refused(
            404, f"the model `{model[:NAME_SHOWN]}` does not exist {known}", param="model"
        )
    for key in _NOT_EMULATED:
        if body.get(key) is not None and body[key] is not False:
            raise Refused(400, f"`{key}` is not emulated: no model runs here", param=key)
    prompt, last_turn, tokens_in = _PROMPTS[kind](body)
    limits = _limits(body, fleet.context_tokens, tokens_in)
    stream = _flag(body, "stream")
    options = _object(body, "stream_options")
    if options and not stream:
        said = "`stream_options` can only be set when `stream` is true"
        raise Refused(400, said, param="stream_options")
    tongue = emulated_text.language(last_turn)
    return Ask(
        kind=kind,
        model=model,
        tokens_in=tokens_in,
        answer=emulated_text.answer(fleet.id, prompt, tongue, limits, as_json=_as_json(body)),
        n=_integer(body, "n", 1, CHOICES_MAX) or 1,
        stream=stream,
        include_usage=_flag(options, "include_usage"),
    )


def _json_object(raw: bytes) -> Body:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise Refused(
            400, f"the body is not JSON (line {exc.lineno}, column {exc.colno})"
        ) from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    return body


def _limits(body: Body, context_tokens: int, tokens_in: int) -> Limits:
    asked = _integer(body, "max_completion_tokens", 1) or _integer(body, "max_tokens", 1)
    if tokens_in + (asked or 1) > context_tokens:
        raise Refused(
            400,
            f"This model's maximum context length is {context_tokens} tokens. However, you "
            f"requested {asked or 0} output tokens and your prompt contains {tokens_in} input "
            f"tokens, for a total of {tokens_in + (asked or 0)} tokens. Please reduce the length "
            "of the input prompt or the number of requested output tokens.",
        )
    most = asked or context_tokens - tokens_in
    least = _integer(body, "min_tokens", 0) or 0
    if least > most:
        raise Refused(400, f"`min_tokens` is above the output limit of {most}", param="min_tokens")
    stop = body.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise Refused(400, "`stop` is not a text or a list of texts", param="stop")
    ignore_eos = _flag(body, "ignore_eos")
    return Limits(most, least, ignore_eos, tuple(text for text in stops if text))


def _as_json(body: Body) -> bool:
    wanted = _object(body, "response_format")
    kind = wanted.get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        said = "unknown `response_format` (known: json_object, json_schema, text)"
        raise Refused(400, said, param="response_format")
    return bool(kind != "text")


def _chat_prompt(body: Body) -> tuple[str, str, int]:
    messages = body.get("messages")
    if messages is None:
        raise Refused(400, "`messages` is missing", param="messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "`messages` is not a list with a message in it", param="messages")
    texts: list[str] = []
    last_turn = ""
    tokens = 0
    for i, message in enumerate(messages):
        at = f"messages[{i}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Refused(400, f"`{at}` is not an object with a `role`", param=at)
        text, images = _content(message.get("content"), f"{at}.content")
        if message["role"] == "user":
            last_turn = text
        rest = {key: message[key] for key in message if key not in ("role", "content")}
        if rest:
            text += orjson.dumps(rest).decode()
        texts.append(text)
        tokens += MESSAGE_TOKENS + tokens_of(text) + images * IMAGE_TOKENS
    if body.get("tools"):
        tokens += tokens_of(orjson.dumps(body["tools"]).decode())
    return "\n".join(texts), last_turn or texts[-1], tokens


def _content(content: object, at: str) -> tuple[str, int]:
    """Return the text and the number of images of a message."""
    if content is None or isinstance(content, str):
        return content or "", 0
    texts: list[str] = []
    images = 0
    for part in content if isinstance(content, list) else [None]:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url"}:
                images += 1
            case _:
                said = f"`{at}` is not a text or a list of parts of type text or image_url"
                raise Refused(400, said, param=at)
    return "\n".join(texts), images


def _text_prompt(body: Body) -> tuple[str, str, int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt, prompt, max(tokens_of(prompt), 1)
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return " ".join(map(str, prompt)), "", len(prompt)
    raise Refused(400, "`prompt` is not one text or one list of token ids", param="prompt")


def _integer(body: Body, key: str, low: int, high: float = math.inf) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        bound = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise Refused(400, f"`{key}` is not an integer {bound}", param=key)
    return value


def _flag(body: Body, key: str) -> bool:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        raise Refused(400, f"`{key}` is not true or false", param=key)
    return bool(value)


def _object(body: Body, key: str) -> Body:
    value = body.get(key)
    if value is not None and not isinstance(value, dict):
        raise Refused(400, f"`{key}` is not an object", param=key)
    return value or {}


_PROMPTS: Final[Mapping[Kind, Callable[[Body], tuple[str, str, int]]]] = {
    "chat": _chat_prompt,  # whole text, its last turn, tokens
    "text": _text_prompt,
}

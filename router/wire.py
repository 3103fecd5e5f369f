"""The OpenAI wire format: a request's bytes -> a checked request, and the edits made to its body.

Unknown fields pass through; a known one of the wrong type gives 400 naming it. Everything that the
router changes in a body is an entry of EDITS; nothing else is touched.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from backends.catalogue import Fleet
from backends.dialects import DIALECTS
from router.errors import Refusal
from yamlfile import full_width

Body = dict[str, Any]
SERVICE_CLASSES = ("interactive", "standard", "deferrable")
MOST_FIELDS = 100  # of a body; OpenAI has about 40. Over 100,000 an engine sat for a minute
DEPTH = 200  # of nested objects and lists; Python's parser and writer give up at about 970
DIGITS = 309  # of the largest double
MESSAGE_FIELDS = ("content", "name", "tool_calls", "tool_call_id")  # that an error may name
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked chat request. `max_tokens` is the caller's limit per choice, under either name."""

    body: Body
    model: str
    stream: bool
    max_tokens: int | None
    n: int
    usage_asked: bool
    sent_bytes: int | None = None  # of the body; None: some of it is escaped, and may be longer so


@dataclass(frozen=True, slots=True)
class Hints:
    """What the caller asks for in ``x-sluice-*`` headers. Hints only ever tighten."""

    service_class: str = "standard"
    max_usd: float | None = None
    slo_ttft_ms: float | None = None
    tags: Mapping[str, str] | None = None
    idempotency_key: str | None = None


NO_HINTS = Hints()
KEY_CHARACTERS = 255  # of an idempotency key
HINT_HEADERS = frozenset(
    f"x-sluice-{name}".encode()
    for name in ("service-class", "max-usd", "slo-ttft-ms", "tags", "key")
)


# -- reading ---------------------------------------------------------------------------------------


def parse_chat(raw: bytes, *, to_send: bool = True) -> ChatRequest:
    """Return the checked request, or raise Refusal(400) naming the field. What is only judged, not
    sent, may hold half a surrogate pair.
    """
    body = json_object(raw, to_send=to_send)
    for field, (fits, wanted) in FIELDS.items():
        value = body.get(field)
        if value is not None and not fits(value):
            _wrong(field, f"`{field}` must be {wanted}")
    for field in OTHER_NAMES_OF_THE_LIMIT:
        if field in body:
            _wrong(field, f"`{field}` is not passed on: set the output limit by `max_tokens`")
    both = (body.get("max_tokens"), body.get("max_completion_tokens"))
    if None not in both and both[0] != both[1]:
        _wrong("max_completion_tokens", "`max_tokens` and `max_completion_tokens` differ")
    model = body.get("model")
    if model is None:
        _wrong("model", "`model` is missing (`auto` lets the policy choose)")
    _check_messages(body.get("messages"))
    stream = bool(body.get("stream"))
    options = body.get("stream_options")
    if options is not None and not stream:
        _wrong("stream_options", "`stream_options` goes with `stream: true` only")
    return ChatRequest(
        body=body,
        model=model,
        stream=stream,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        n=body.get("n") or 1,
        usage_asked=bool(options and options.get("include_usage")),
        sent_bytes=None if b"\\u" in raw else len(raw),
    )


def parse_hints(headers: Mapping[bytes, bytes]) -> Hints:
    """Read the request's hint headers, or raise Refusal(400) naming the header."""
    found = {name: value for name, value in headers.items() if name.startswith(b"x-sluice-")}
    once = _idempotency_key(headers.get(b"idempotency-key"))
    if not found:
        return NO_HINTS if once is None else Hints(idempotency_key=once)
    unknown = sorted(found.keys() - HINT_HEADERS)
    if unknown:
        known = ", ".join(sorted(header.decode() for header in HINT_HEADERS))
        name = unknown[0].decode("latin-1")
        _wrong(name, f"unknown header `{name[:60]}` (known: {known})")
    service_class = found.get(b"x-sluice-service-class", b"standard").decode("latin-1")
    if service_class not in SERVICE_CLASSES:
        known = ", ".join(SERVICE_CLASSES)
        _wrong("x-sluice-service-class", f"unknown service class (known: {known})")
    return Hints(
        service_class=service_class,
        max_usd=_positive(found, "x-sluice-max-usd"),
        slo_ttft_ms=_positive(found, "x-sluice-slo-ttft-ms"),
        tags=parse_tags(found.get(b"x-sluice-tags", b"")),
        idempotency_key=once,
    )


def _idempotency_key(given: bytes | None) -> str | None:
    if given is None:
        return None
    text = given.decode("latin-1")
    if not 0 < len(text) <= KEY_CHARACTERS or not all("!" <= c <= "~" for c in text):
        _wrong(
            "idempotency-key",
            f"`idempotency-key` must be 1 to {KEY_CHARACTERS} visible characters of ASCII",
        )
    return text


def json_object(raw: bytes, *, to_send: bool = True) -> Body:
    """Return the object that a body is, or raise Refusal(400)."""
    body = json_value(raw)
    if not isinstance(body, dict):
        _wrong(None, "the body must be a JSON object")
    if len(body) > MOST_FIELDS:
        _wrong(None, f"the body has {len(body):,} fields, at most {MOST_FIELDS} are passed on")
    if to_send and (b"\\ud" in raw or b"\\uD" in raw):  # no other form of it is UTF-8
        _refuse_half_pairs(body)
    return body


def json_bytes(body: Body) -> bytes:
    """Return what `json_object` read as JSON on one line."""
    return _ENCODER.encode(body).encode()


def json_value(raw: bytes) -> object:
    """Return the JSON value that a body is, nested DEPTH deep at most, or raise Refusal(400)."""
    try:
        value = _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        _wrong(None, "the body is not UTF-8")
    except json.JSONDecodeError as exc:
        _wrong(None, f"the body is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}")
    except ValueError:
        _wrong(None, "the body holds a number that JSON doesn't know, or one too large to be read")
    except RecursionError:
        _wrong(None, "the body is nested too deeply")
    # Brackets in a text count here but don't nest, so the value itself has the last word.
    if raw.count(b"{") + raw.count(b"[") > DEPTH and _is_deep(value):
        _wrong(None, "the body is nested too deeply")
    return value


def _is_deep(value: object) -> bool:
    """Tell whether more than DEPTH objects and lists are nested, without nesting itself."""
    level: list[Any] = [value] if type(value) in _NESTING else []
    for _ in range(DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _NESTING
        ]
        if not level:
            return False
    return True


_NESTING = frozenset((dict, list))


def _refuse_half_pairs(body: Body) -> None:
    """Refuse half a surrogate pair in any text: UTF-8 has no form of it, and engines fail at it."""
    if _is_whole(body):
        return
    at = _half_in(body)
    where = "a field's name" if at is None else f"`{at}`"
    _wrong(at, f"{where} holds half a surrogate pair (a lone `\\ud800` to `\\udfff`): leave it out")


def _half_in(body: Body) -> str | None:
    """Return the field that holds half a pair; None if it is in the field's own name."""
    name = next((name for name in body if not _is_whole([name, body[name]])), None)
    if name is None or not _is_whole(name):
        return None
    if name != "messages" or not isinstance(body[name], list):
        return name[:60]
    i, message = next((i, said) for i, said in enumerate(body[name]) if not _is_whole(said))
    for field in MESSAGE_FIELDS:
        if isinstance(message, dict) and not _is_whole(message.get(field)):
            return f"messages[{i}].{field}"
    return f"messages[{i}]"


def _is_whole(value: object) -> bool:
    try:
        _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):  # 1e999 would be sent on as `Infinity`
        raise ValueError
    return value


def _integer(text: str) -> int:
    if len(text) >= DIGITS:  # then it may be beyond a double's range, at which llama-server fails
        _finite(text)
    return int(text)


# Made once: json.loads and json.dumps make a new one for every call with options.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, parse_int=_integer)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _check_messages(messages: list[Any] | None) -> None:
    if messages is None:
        _wrong("messages", "`messages` is missing")
    if not messages:
        _wrong("messages", "`messages` is empty: at least one message is needed")
    for i, message in enumerate(messages):
        _check_message(i, message)
    last = messages[-1]
    if not _says_something(last):
        at = f"messages[{len(messages) - 1}].content"
        _wrong(at, f"`{at}` is empty: the last turn needs a text, an image or a tool result")


def _check_message(i: int, message: object) -> None:
    if not isinstance(message, dict):
        _wrong(f"messages[{i}]", f"`messages[{i}]` must be an object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        said = "is missing" if role is None else "is unknown"
        _wrong(f"messages[{i}].role", f"`messages[{i}].role` {said} (known: {', '.join(ROLES)})")
    if content is None:
        if role == "assistant":
            return  # with tool_calls, a function_call or a refusal instead
        _wrong(f"messages[{i}].content", f"`messages[{i}].content` is missing")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        _wrong(f"messages[{i}].content", f"`messages[{i}].content` must be a text or a list")
    for j, part in enumerate(content):
        at = f"messages[{i}].content[{j}]"
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            _wrong(at, f"`{at}` must be an object with a `type`")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            _wrong(f"{at}.text", f"`{at}.text` must be a text")


def _says_something(message: Body) -> bool:
    content = message.get("content")
    if isinstance(content, str):
        # A tool may rightly return nothing; a person who says nothing made a mistake.
        return bool(content.strip()) or message["role"] in ("tool", "function")
    if isinstance(content, list):
        return any(part["type"] != "text" or part["text"].strip() for part in content)
    return bool(message.get("tool_calls") or message.get("function_call"))


def _positive(headers: Mapping[bytes, bytes], name: str) -> float | None:
    text = headers.get(name.encode())
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        _wrong(name, f"`{name}` must be a number above 0")
    return value


def parse_tags(text: bytes, where: str = "x-sluice-tags") -> Mapping[str, str] | None:
    """Return the tags, or raise Refusal(400) naming where they were written."""
    plain = text.isascii()
    tags = {}
    for pair in text.decode("utf-8", "replace").split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not pair.strip():
            continue
        if not plain and (said := mistyped_tag(pair)):
            _wrong("x-sluice-tags", f"`{where}`: {said}")
        if not equals or not name:
            _wrong("x-sluice-tags", f"`{where}` must be of the form `name=value,name=value`")
        tags[name] = value
    return tags or None


def mistyped_tag(pair: str) -> str:
    """Return what to write for a sign of `name=value` that a rule about the tag would not know, so
    that the request would pass it by; "" without one.
    """
    name = pair.partition("=")[0]
    found = _SEPARATES.search(pair) or _IN_A_NAME.search(name)
    if found is None:
        return ""
    if found[0] == "；":
        return "`；` is a full-width sign: write `,` between tags"
    if found[0] == "：":
        return f"`：` is a full-width colon: write `{'=' if found.start() < len(name) else ':'}`"
    return full_width(found[0])


_SEPARATES = re.compile("[，、；＝：]")
_IN_A_NAME = re.compile("[０-９Ａ-Ｚａ-ｚ＿－．]")  # other Chinese text may be what is meant


def _wrong(param: str | None, message: str) -> NoReturn:
    raise Refusal(400, message, code="invalid_request", param=param)


def _is_int(low: int, high: int = 2**31) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high


def _is_number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, kinds)


# Engines know more names of the output limit, which would pass by the one that is accounted for.
OTHER_NAMES_OF_THE_LIMIT = ("n_predict", "num_predict", "max_new_tokens")

FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "model": (lambda v: isinstance(v, str) and bool(v), "the name of a model, or `auto`"),
    "messages": (_is(list), "a list of messages"),
    "stream": (_is(bool), "true or false"),
    "stream_options": (_is(dict), "an object"),
    "max_tokens": (_is_int(1), "an integer of at least 1"),
    "max_completion_tokens": (_is_int(1), "an integer of at least 1"),
    "n": (_is_int(1, 128), "an integer from 1 to 128"),
    "temperature": (_is_number(0, 2), "a number from 0 to 2"),
    "top_p": (_is_number(0, 1), "a number from 0 to 1"),
    "presence_penalty": (_is_number(-2, 2), "a number from -2 to 2"),
    "frequency_penalty": (_is_number(-2, 2), "a number from -2 to 2"),
    "stop": (_is(str, list), "a text or a list of texts"),
    "seed": (_is_int(-(2**63), 2**64), "an integer"),
    "user": (_is(str), "a text"),
    "tools": (_is(list), "a list"),
    "response_format": (_is(dict), "an object"),
    "logprobs": (_is(bool), "true or false"),
}
"""Known fields: does a value fit, and what would. Null means left out, as OpenAI has it."""


# -- editing ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit may look at. `logprobs`: the answer is tested by them."""

    request: ChatRequest
    fleet: Fleet
    max_tokens: int
    thinking: str | None
    logprobs: bool = False


def _edit_model(body: Body, edit: Edit) -> bool:
    body["model"] = edit.fleet.upstream_model
    return True


def _edit_output_limit(body: Body, edit: Edit) -> bool:
    if edit.request.max_tokens is not None:
        return False
    body["max_tokens"] = edit.max_tokens
    return True


def _edit_include_usage(body: Body, edit: Edit) -> bool:
    if not edit.request.stream or edit.request.usage_asked:
        return False
    body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return True


def _edit_thinking(body: Body, edit: Edit) -> bool:
    if edit.thinking is None or "thinking" not in edit.fleet.model.abilities:
        return False
    dialect = DIALECTS[edit.fleet.engine]
    setting = dialect.thinking_on if edit.thinking == "on" else dialect.thinking_off
    if setting is None:
        return False
    (*outer, name), value = setting
    place = body
    for key in outer:  # copied on the way: the request's own body stays as it is
        there = place.get(key)
        inner = dict(there) if isinstance(there, dict) else {}
        place[key] = inner
        place = inner
    place[name] = value
    return True


def _edit_logprobs(body: Body, edit: Edit) -> bool:
    if not edit.logprobs or body.get("logprobs") is True:
        return False
    body["logprobs"] = True
    body["top_logprobs"] = 1  # of the alternatives none is read; llama-server sends 20 unasked
    return True


EDITS: Mapping[str, Callable[[Body, Edit], bool]] = {
    "model": _edit_model,
    "output_limit": _edit_output_limit,
    "include_usage": _edit_include_usage,
    "thinking": _edit_thinking,
    "logprobs": _edit_logprobs,
}
"""Every change to a body on its way upstream: name -> make it (on a copy), say if it was made."""


def upstream_body(edit: Edit) -> tuple[bytes, list[str]]:
    """Return the bytes to send and the names of the edits made."""
    body = dict(edit.request.body)
    made = [name for name, apply in EDITS.items() if apply(body, edit)]
    return _ENCODER.encode(body).encode(), made

"""What can be read off a request without a model. No text of the request is kept.

The last user message is read first: WINDOW_HEAD + WINDOW_TAIL characters of it. Earlier turns add
their cues as far as the last one leans on them (`ok, continue`), HISTORY_CHARACTERS of each of the
last few; a system prompt is boilerplate until it sets the task, SYSTEM_CHARACTERS of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from router.language import language_of
from router.lexicon import LIGHT, cues_in, words_of
from router.signs import code_signs_in, math_signs_in, numbers_in, tokens_asked_in
from router.tokens import tokens_in_text
from router.zones import Zones, window, without_begging, zones_of

SIGNS_HEAD: Final = 400
SIGNS_TAIL: Final = 200
HISTORY_MESSAGES: Final = 6
HISTORY_CHARACTERS: Final = 400
SYSTEM_CHARACTERS: Final = 600
IMAGE_TOKENS: Final = 1_000  # of one image; assumed, models differ from 85 to 4,000
MESSAGE_TOKENS: Final = 4  # role and markers of one message
REQUEST_TOKENS: Final = 3  # the opening of the answer
BOUND_BYTES_PER_MESSAGE: Final = 64

@dataclass(frozen=True, slots=True)
class Features:
    """``cues`` are (name, strength) pairs of router.lexicon, by name; the counts named after signs
    are of the instruction alone. ``carried`` is how far earlier turns speak, 0 to 1.
    """

    tokens_in: int
    tokens_bound: int  # of input: no tokenizer makes more of a request's text
    language: str
    needs: tuple[str, ...] = ()  # of tools, json, vision, thinking, logprobs
    turns: int = 1  # by the user
    images: int = 0
    tools: int = 0
    tool_results: int = 0
    cues: tuple[tuple[str, float], ...] = ()
    system_cues: tuple[tuple[str, float], ...] = ()
    carried: float = 0.0
    instruction_tokens: int = 0
    material_tokens: int = 0
    tokens_asked: int | None = None  # the output length the request names
    numbers: int = 0
    math_signs: int = 0
    code_signs: int = 0
    questions: int = 0
    long_words: int = 0


def read(body: Mapping[str, Any]) -> Features:
    """Read a validated chat request; total for any content OpenAI's schema allows."""
    messages: Sequence[Mapping[str, Any]] = body["messages"]
    texts = [_text(message) for message in messages]
    last = _last_user(messages)
    zones = zones_of(texts[last])
    system = _system_cues(messages, texts)
    cues, carried = _with_history(messages, texts, last, zones, system)
    instruction = window(zones.instruction, SIGNS_HEAD, SIGNS_TAIL)
    instruction_words = zones.words if instruction is zones.instruction else words_of(instruction)
    everything = "\n".join(texts)
    images = sum(map(_images, messages))
    attached = _attached(messages, body)
    return Features(
        tokens_in=(
            tokens_in_text(everything)
            + (tokens_in_text(attached) if attached else 0)
            + MESSAGE_TOKENS * len(messages)
            + REQUEST_TOKENS
            + IMAGE_TOKENS * images
        ),
        tokens_bound=_bytes(everything) + _bytes(attached) + BOUND_BYTES_PER_MESSAGE * len(messages),
        language=language_of(instruction, zones.words),
        needs=_needs(body, images),
        turns=sum(message["role"] == "user" for message in messages),
        images=images,
        tools=len(body.get("tools") or ()),
        tool_results=sum(message["role"] == "tool" for message in messages),
        cues=tuple(sorted(cues.items())),
        system_cues=tuple(sorted(system.items())),
        carried=carried,
        instruction_tokens=_rough_tokens(instruction),
        material_tokens=zones.material * _rough_tokens(instruction) // max(len(instruction), 1),
        tokens_asked=tokens_asked_in(instruction, instruction_words),
        numbers=numbers_in(instruction_words),
        math_signs=math_signs_in(instruction),
        code_signs=code_signs_in(instruction),
        questions=instruction.count("?") + instruction.count("？"),
        long_words=sum(len(word) > 9 for word in zones.words),
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not content:
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _images(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    if not content or isinstance(content, str):
        return 0
    return sum(part.get("type") == "image_url" for part in content)


def _last_user(messages: Sequence[Mapping[str, Any]]) -> int:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            return at
    return len(messages) - 1


def _system_cues(messages: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> dict[str, float]:
    role = messages[0]["role"]
    if role not in ("system", "developer") or len(messages) == 1:
        return {}
    half = SYSTEM_CHARACTERS // 2
    text = window(texts[0], half, half).lower()
    return cues_in(text, words_of(text))


_TOPIC: Final = LIGHT | {"lookup", "suggest"}


def _with_history(messages, texts, last, zones, system):
    own = zones.cues
    earlier = [
        texts[at]
        for at in range(max(0, last - HISTORY_MESSAGES), last)
        if messages[at]["role"] in ("user", "assistant")
    ]
    if not earlier:
        return own, 0.0
    carried = _carried(own, zones.instruction)
    if not carried:
        return own, 0.0
    text = without_begging("\n".join(window(t, HISTORY_CHARACTERS, 0) for t in earlier).lower())
    cues = dict(own)
    for name, strength in cues_in(text, words_of(text)).items():
        if name not in ("close", "continue", "brief"):
            cues[name] = max(cues.get(name, 0.0), carried * strength)
    return cues, carried


def _carried(own: Mapping[str, float], instruction: str) -> float:
    if "continue" in own:
        return 1.0
    if "close" in own or any(name in own for name in _TOPIC):
        return 0.0
    return 1.0 if _rough_tokens(instruction) < 12 else 0.5


def _rough_tokens(text: str) -> int:
    if text.isascii():
        return len(text) // 4
    size = len(text.encode("utf-8", "surrogatepass"))
    wide = (size - len(text)) // 2
    return round((len(text) - wide) / 4 + wide * 0.6)


def _attached(messages: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    parts = [message["tool_calls"] for message in messages if message.get("tool_calls")]
    parts += [body[key] for key in ("tools", "response_format") if body.get(key)]
    return "\n".join(json.dumps(part, ensure_ascii=False) for part in parts) if parts else ""


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _needs(body: Mapping[str, Any], images: int) -> tuple[str, ...]:
    needs = []
    if body.get("tools"):
        needs.append("tools")
    if (body.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        needs.append("json")
    if images:
        needs.append("vision")
    template = body.get("chat_template_kwargs") or {}
    if body.get("reasoning_effort") not in (None, "none") or template.get("enable_thinking") is True:
        needs.append("thinking")
    if body.get("logprobs") is True:
        needs.append("logprobs")
    return tuple(needs)

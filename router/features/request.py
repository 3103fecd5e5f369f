"""What can be read off a request without a model. No text of the request is kept.

The last user message is read first, by the rules of ``zones``. Earlier turns add their
cues as far as the last one leans on them (`ok, continue`): HISTORY_CHARACTERS each of the last few.
A system prompt is boilerplate unless it sets a task: SYSTEM_CHARACTERS of it are read for that. So
the time is bounded for any length, but for counting bytes.
"""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from router.features.language import language_of
from router.features.lexicon import LIGHT
from router.features.phrases import ALPHANUMERIC, cues_in, words_of
from router.features.signs import (
    code_signs_in,
    math_signs_in,
    numbers_in,
    options_in,
    tokens_asked_in,
)
from router.features.tokens import rough_tokens, tokens_in_text
from router.features.zones import Zones, window, without_begging, zones_of

SIGNS_HEAD: Final = 400  # characters of an instruction whose signs are counted
SIGNS_TAIL: Final = 200
HISTORY_MESSAGES: Final = 6
HISTORY_CHARACTERS: Final = 400
SYSTEM_CHARACTERS: Final = 600
SHORT_TOKENS: Final = 12  # a last turn as short as that leans on the ones before
MATERIAL_SHARE: Final = 0.25  # of a cue in a message that a system prompt made material
IMAGE_TOKENS: Final = 1_000  # of one image; assumed, models differ from 85 to 4,000
MESSAGE_TOKENS: Final = 4  # role and markers of one message
REQUEST_TOKENS: Final = 3  # the opening of the answer
BOUND_BYTES_PER_MESSAGE: Final = 64
COUNTED_CHARACTERS: Final = 16_000  # beyond it a body's own size bounds that of its texts
LONG_WORD: Final = 10  # letters
_LETTERS: Final = ALPHANUMERIC | frozenset(" \n\t\r")  # alone they are no words

Message = Mapping[str, Any]
Cues = Mapping[str, float]


class Features(NamedTuple):
    """Counts and the names of cues, nothing that was written: fit to be recorded.

    ``cues`` and ``system_cues`` are (name, strength) pairs of ``lexicon``, by name. ``carried``
    is how far earlier turns speak in ``cues``, 0 to 1. Everything from ``instruction_tokens`` on
    is of the last user message alone.
    """

    tokens_in: int
    tokens_bound: (
        int  # at least UTF-8 bytes and 64 per message: no tokenizer makes more (images apart)
    )
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
    tokens_asked: int | None = None  # the length of output that the request names
    numbers: int = 0
    math_signs: int = 0
    code_signs: int = 0
    questions: int = 0
    long_words: int = 0
    lines: int = 1
    options: bool = False  # a multiple choice


class Reading(NamedTuple):
    """What a judge is given: the features, and what must never be recorded of a request.

    ``words`` are the lower-case words, numbers and other characters of the instruction; ``text``
    is the last user message.
    """

    features: Features
    words: AbstractSet[str] = frozenset()
    text: str = ""


def read(body: Mapping[str, Any], sent_bytes: int | None = None) -> Reading:
    """Read a validated chat request; total for whatever its messages hold.

    ``sent_bytes`` are those of the body, where no character in it is escaped by its number: then
    all its texts together are no longer, and long ones need not be counted.
    """
    messages: Sequence[Message] = body["messages"]
    texts = [_text(message) for message in messages]
    last = _last_user(messages)
    zones = zones_of(texts[last])
    roles = [message["role"] for message in messages]
    system = _system_cues(roles, texts)
    own = _as_material(zones.cues) if _sets_the_task(system) else zones.cues
    cues, carried = _with_history(own, zones.instruction, _earlier(roles, texts, last))
    signs = window(zones.instruction, SIGNS_HEAD, SIGNS_TAIL)
    words = zones.words if signs is zones.instruction else words_of(signs)
    everything, attached = "\n".join(texts), _attached(messages, body)
    images = sum(map(_images, messages))
    features = Features(
        tokens_in=tokens_in_text(everything)
        + (tokens_in_text(attached) if attached else 0)
        + MESSAGE_TOKENS * len(messages)
        + REQUEST_TOKENS
        + IMAGE_TOKENS * images,
        tokens_bound=_bytes(everything, sent_bytes)
        + _bytes(attached)
        + BOUND_BYTES_PER_MESSAGE * len(messages),
        language=language_of(zones.instruction, zones.words),
        needs=_needs(body, images),
        turns=roles.count("user"),
        images=images,
        tools=len(body.get("tools") or ()),
        tool_results=roles.count("tool"),
        cues=tuple(sorted(cues.items())),
        system_cues=tuple(sorted(system.items())),
        carried=carried,
        instruction_tokens=rough_tokens(zones.instruction),
        material_tokens=_material_tokens(zones),
        tokens_asked=tokens_asked_in(signs, words),
        numbers=numbers_in(words),
        math_signs=math_signs_in(signs),
        code_signs=code_signs_in(signs),
        questions=signs.count("?") + signs.count("？"),
        long_words=sum(map(LONG_WORD.__le__, map(len, words))),
        lines=signs.count("\n") + 1,
        options=options_in(signs),
    )
    return Reading(features, frozenset(words).union(signs) - _LETTERS, texts[last])


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not content:  # null beside tool calls
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part.get("text"), str))


def _images(message: Message) -> int:
    content = message.get("content")
    if not content or isinstance(content, str):
        return 0
    return sum(part.get("type") == "image_url" for part in content)


def _last_user(messages: Sequence[Message]) -> int:
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "user":
            return at
    return len(messages) - 1


def _system_cues(roles: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    if len(roles) == 1 or roles[0] not in {"system", "developer"}:
        return {}
    text = window(texts[0], SYSTEM_CHARACTERS // 2, SYSTEM_CHARACTERS // 2).lower()
    return cues_in(without_begging(text))


def _sets_the_task(system: Cues) -> bool:
    """Tell whether every message is material: `Label each message. Only the label.`"""
    return "brief" in system and not LIGHT.isdisjoint(system)


def _as_material(cues: Cues) -> Cues:
    return {name: strength * MATERIAL_SHARE for name, strength in cues.items()}


def _earlier(roles: Sequence[str], texts: Sequence[str], last: int) -> list[str]:
    return [
        texts[at][:HISTORY_CHARACTERS]
        for at in range(max(0, last - HISTORY_MESSAGES), last)
        if roles[at] in {"user", "assistant"}
    ]


_OWN_TOPIC: Final = LIGHT | {"lookup", "suggest", "close"}  # what doesn't lean on earlier turns
_OF_THE_TURN: Final = frozenset(("close", "continue", "brief"))  # what an earlier turn can't lend


def _with_history(own: Cues, instruction: str, earlier: Sequence[str]) -> tuple[Cues, float]:
    """Return the cues of the last turn with those it takes over, and how far it takes them over."""
    carried = _carried(own, instruction) if earlier else 0.0
    if not carried:
        return own, 0.0
    text = without_begging("\n".join(earlier).lower())
    cues = dict(own)
    for name, strength in cues_in(text).items():
        if name not in _OF_THE_TURN:
            cues[name] = max(cues.get(name, 0.0), carried * strength)
    return cues, carried


def _carried(own: Cues, instruction: str) -> float:
    if "continue" in own:
        return 1.0
    if not _OWN_TOPIC.isdisjoint(own):
        return 0.0
    return 1.0 if rough_tokens(instruction) < SHORT_TOKENS else 0.5


def _material_tokens(zones: Zones) -> int:
    size = len(zones.seen)
    return round(rough_tokens(zones.seen) / size * zones.material) if size else 0


def _attached(messages: Sequence[Message], body: Mapping[str, Any]) -> str:
    """Return what else goes into the prompt, as JSON: tools, the schema, tool calls, names."""
    parts = [body[key] for key in ("tools", "response_format") if body.get(key)]
    for message in messages:
        if len(message) > 2:  # noqa: PLR2004  (role and content)
            parts += [message[key] for key in message if key not in {"role", "content"}]
    return "\n".join(map(_json, parts))


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:  # a schema may be nested as deep as the parser of the body allows
        return _flat_json(value)


def _flat_json(value: object) -> str:
    """Return the leaves and keys of ``value`` as JSON, each with room for its brackets."""
    leaves, rest = [], [value]
    while rest:
        at = rest.pop()
        if isinstance(at, Mapping):
            rest += [*at, *at.values()]
        elif isinstance(at, list):
            rest += at
        leaves.append(
            "[{}]" if isinstance(at, Mapping | list) else json.dumps(at, ensure_ascii=False)
        )
    return ", ".join(leaves)


def _bytes(text: str, sent: int | None = None) -> int:
    """Return the UTF-8 bytes of a text, or, of a long one, a bound that is known."""
    if text.isascii():
        return len(text)
    if sent is not None and len(text) > COUNTED_CHARACTERS:
        return sent
    return len(text.encode("utf-8", "surrogatepass"))


def _needs(body: Mapping[str, Any], images: int) -> tuple[str, ...]:
    needs = []
    if body.get("tools"):
        needs.append("tools")
    if _mapping(body.get("response_format")).get("type") in ("json_object", "json_schema"):
        needs.append("json")
    if images:
        needs.append("vision")
    template = _mapping(body.get("chat_template_kwargs"))
    effort = body.get("reasoning_effort")
    if effort not in (None, "none") or template.get("enable_thinking") is True:
        needs.append("thinking")
    if body.get("logprobs") is True:
        needs.append("logprobs")
    return tuple(needs)


def _mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` if it is one: fields outside OpenAI's schema come as they were sent."""
    return value if isinstance(value, Mapping) else {}

"""A whole answer as the tests of a cascade see it: of a plain body, or of a stream's events. Pure.

Log probabilities are of tokens that have a text: some servers also tell that of the end token,
and only in plain answers.

* Garbled   an event of a stream is not JSON
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.base import Garbled
from backends.sse import Events, Usage, object_of

_LOGPROBS = re.compile(r'"logprobs"\s*:\s*(?=[{\[])')  # inside of a text its quotes are escaped
_DECODER = json.JSONDecoder()  # which tells where a value ends, quicker than any pattern


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer. None: the fleet did not say."""

    text: str = field(repr=False)
    finish_reason: str | None
    logprobs: tuple[float, ...] | None = field(repr=False)
    tokens: float | None  # completion tokens; of several choices their mean
    declined: bool  # by the field `refusal`


@dataclass(slots=True)
class _Parts:
    """A choice while it is put together."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    unknown: bool = False  # a token whose log probability can't be read
    declined: bool = False

    def add(self, choice: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        content, finish = said.get("content"), choice.get("finish_reason")
        self.texts.append(content if isinstance(content, str) else "")
        self.finish_reason = finish if isinstance(finish, str) else self.finish_reason
        self.declined = self.declined or bool(said.get("refusal"))
        found = _mapping(choice.get("logprobs")).get("content")
        for token in found if isinstance(found, list) else ():
            self._read(_mapping(token))

    def whole(self, tokens: float | None) -> Choice:
        logprobs = None if self.unknown or not self.logprobs else tuple(self.logprobs)
        return Choice("".join(self.texts), self.finish_reason, logprobs, tokens, self.declined)

    def _read(self, token: Mapping[str, Any]) -> None:
        if token.get("token") == "":
            return
        value = token.get("logprob")
        if isinstance(value, int | float) and not isinstance(value, bool):
            self.logprobs.append(value)
        else:
            self.unknown = True


def choices_of_reply(value: Mapping[str, Any], usage: Usage | None) -> tuple[Choice, ...]:
    """Return the choices of a plain answer's JSON."""
    parts: dict[int, _Parts] = {}
    _add(parts, value, "message")
    return _choices(parts, usage)


def choices_of_stream(events: bytes, usage: Usage | None) -> tuple[Choice, ...]:
    """Return the choices of a stream that is whole."""
    parts: dict[int, _Parts] = {}
    scanner = Events()
    for event in [*scanner.feed(events), scanner.rest()]:
        _add(parts, object_of(event), "delta")
    return _choices(parts, usage)


def without_logprobs(answer: bytes) -> bytes:
    """Return the bytes of an answer or of events with `null` for all log probabilities.

    A value that can't be read in one piece, as in a comment, stays as it is.
    """
    text = answer.decode("utf-8", "surrogateescape")
    kept: list[str] = []
    end = 0
    for match in _LOGPROBS.finditer(text):
        if match.start() >= end:
            try:
                _, after = _DECODER.raw_decode(text, match.end())
            except (ValueError, RecursionError):
                continue
            kept += [text[end : match.end()], "null"]
            end = after
    return "".join([*kept, text[end:]]).encode("utf-8", "surrogateescape")


def _add(parts: dict[int, _Parts], value: Mapping[str, Any], said: str) -> None:
    choices = value.get("choices")
    for place, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            index = choice.get("index")
            index = index if isinstance(index, int) else place
            parts.setdefault(index, _Parts()).add(choice, _mapping(choice.get(said)))


def _choices(parts: Mapping[int, _Parts], usage: Usage | None) -> tuple[Choice, ...]:
    tokens_out = None if usage is None else usage.tokens_out
    tokens = None if tokens_out is None or not parts else tokens_out / len(parts)
    return tuple(each.whole(tokens) for each in parts.values())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class Heard:
    """The answer of one choice, plain or streamed, kept as text while it goes to its caller.

    At most `most_bytes` of text (UTF-8) are kept. What can't be read never disturbs the caller.
    """

    def __init__(self, most_bytes: int) -> None:
        self.too_long = False
        self._left = most_bytes
        self._parts: dict[int, _Parts] = {}
        self._read = 0
        self._scanner = Events()
        self._garbled = False

    def reply(self, value: Mapping[str, Any]) -> None:
        """Hear the JSON of a plain answer."""
        _add(self._parts, value, "message")
        self._count()

    def piece(self, piece: bytes) -> None:
        """Hear bytes of a stream, in the order in which they are sent on."""
        if self.too_long or self._garbled:
            return
        try:
            for event in self._scanner.feed(piece):
                _add(self._parts, object_of(event), "delta")
        except Garbled:
            self._garbled = True
        self._garbled = self._garbled or not self._parts.keys() <= {0}
        self._count()

    def text(self) -> str | None:
        """Return the whole answer; None if it was cut, is no text, is none, or has more to it."""
        (choice, *more) = _choices(self._parts, None) or (None,)
        if choice is None or more or self.too_long or self._garbled or choice.declined:
            return None
        return choice.text if choice.finish_reason == "stop" and choice.text.strip() else None

    def _count(self) -> None:
        texts = self._parts[0].texts if 0 in self._parts else []
        self._left -= sum(len(text.encode("utf-8", "replace")) for text in texts[self._read :])
        self._read = len(texts)
        if self._left < 0:
            self.too_long = True
            self._parts.clear()
            self._read = 0

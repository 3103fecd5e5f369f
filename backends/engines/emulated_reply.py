"""The bytes that answer a request to an emulated fleet, as a vLLM server writes them. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backends.catalogue import Fleet
from backends.engines.emulated_fault import UsageFault
from backends.engines.emulated_request import Ask, Body, Kind

FINGERPRINT = "emulated"
DONE = b"data: [DONE]\n\n"
HUGE = 10**18  # tokens: a number that counters hold, and no answer ever had


@dataclass(frozen=True, slots=True)
class Form:
    """How an endpoint shapes what it says."""

    id_prefix: str
    whole: str  # the name of the object
    part: str
    role_first: bool
    content: Callable[[str], Body]  # of a whole choice
    delta: Callable[[str | None], Body]  # of a choice in a stream; None: nothing but its end


FORMS: Final[Mapping[Kind, Form]] = {
    "chat": Form(
        id_prefix="chatcmpl-",
        whole="chat.completion",
        part="chat.completion.chunk",
        role_first=True,
        content=lambda text: {"message": {"role": "assistant", "content": text}},
        delta=lambda text: {"delta": {} if text is None else {"content": text}},
    ),
    "text": Form(
        id_prefix="cmpl-",
        whole="text_completion",
        part="text_completion",
        role_first=False,
        content=lambda text: {"text": text},
        delta=lambda text: {"text": text or ""},
    ),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes that answer one request, with its usage right or wrong."""

    ask: Ask
    id: str
    created: int
    wrong_usage: UsageFault | None = None

    @property
    def _form(self) -> Form:
        return FORMS[self.ask.kind]

    def whole(self) -> bytes:
        answer = self.ask.answer
        content = self._form.content(answer.text(0, answer.tokens))
        body = orjson.dumps(
            {
                **self._frame(self._form.whole),
                "choices": [
                    {"index": i, **content, "logprobs": None, "finish_reason": answer.finish_reason}
                    for i in range(self.ask.n)
                ],
            }
        )
        usages = (b',"usage":' + orjson.dumps(usage) for usage in self._usages())
        return body[:-1] + b"".join(usages) + b"}"

    def part(self, start: int, end: int) -> bytes:
        """Return the events that carry tokens `start` to `end`, the first and last of all too."""
        ask = self.ask
        events: list[bytes] = []
        if start == 0 and self._form.role_first:
            events += self._choices({"delta": {"role": "assistant", "content": ""}}, None)
        text = ask.answer.text(start, end)
        if text:
            events += self._choices(self._form.delta(text), None)
        if end == ask.answer.tokens:
            events += self._choices(self._form.delta(None), ask.answer.finish_reason)
            if ask.include_usage:
                frame = self._frame(self._form.part)
                events += [event({**frame, "choices": [], "usage": u}) for u in self._usages()]
            events.append(DONE)
        return b"".join(events)

    def _choices(self, choice: Body, finish_reason: str | None) -> Iterator[bytes]:
        frame = self._frame(self._form.part)
        for i in range(self.ask.n):
            one = {"index": i, **choice, "logprobs": None, "finish_reason": finish_reason}
            yield event({**frame, "choices": [one]})

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._form.id_prefix + self.id,
            "object": kind,
            "created": self.created,
            "model": self.ask.model,
            "system_fingerprint": FINGERPRINT,
        }

    def _usages(self) -> Iterator[Body]:
        """Yield the usage as often as it is told."""
        tokens_out = self.ask.answer.tokens * self.ask.n
        usage = {
            "prompt_tokens": self.ask.tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": self.ask.tokens_in + tokens_out,
        }
        match self.wrong_usage:
            case None:
                pass
            case "missing":
                return
            case "doubled":
                usage = {key: 2 * count for key, count in usage.items()}
            case "twice":
                yield usage
            case "negative":
                usage = {key: -count for key, count in usage.items()}
            case "huge":
                usage = dict.fromkeys(usage, HUGE)
        yield usage


def event(value: Body) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def models(fleet: Fleet, created: int) -> bytes:
    row = {
        "id": fleet.upstream_model,
        "object": "model",
        "created": created,
        "owned_by": "sluice-emulator",
        "max_model_len": fleet.context_tokens,
    }
    return orjson.dumps({"object": "list", "data": [row]})

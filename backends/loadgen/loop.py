"""The closed loop: so many streams at once, each sending its next request when the last one ended.

A stream is read to its end; a request that fails is counted, and the loop goes on.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from backends import sse
from backends.base import Backend, BackendError, Broken, Call
from backends.loadgen.prompts import prompt, words_for
from backends.loadgen.samples import Sample

PATH = "/chat/completions"
CALIBRATION = (16, 160)  # words; two prompts tell a line
SILENT_S = 120.0  # nothing for so long is a failure


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a request: of its prompt, and of its answer."""

    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class Load:
    concurrency: int
    lengths: Lengths
    requests: int  # at most
    max_seconds: float  # no request begins later


class Loop:
    """Loads one fleet; `model` is the name it knows its model by.

    `first` is the number of the first prompt: one that a server had before may be in its cache.
    """

    def __init__(self, backend: Backend, model: str, first: int = 0) -> None:
        self._backend = backend
        self._model = model
        self._sent = first
        self._seen: tuple[tuple[int, int], tuple[int, int]] | None = None

    async def calibrate(self) -> None:
        """Learn how many tokens a word makes; raise BackendError, or Broken without a usage."""
        seen = []
        for words in CALIBRATION:
            sample = await self._request(words, 1)
            if sample.tokens_in is None:
                raise Broken("its answers tell no usage", received=True)
            seen.append((words, sample.tokens_in))
        self._seen = (seen[0], seen[1])

    def words(self, tokens: int) -> int:
        """Return how many words make a prompt of so many tokens."""
        assert self._seen is not None, "calibrate first"
        return words_for(tokens, self._seen)

    async def run(self, load: Load, on_end: Callable[[Sample], None]) -> list[Sample]:
        """Run a load to its end; a cancelled one ends at once."""
        words = self.words(load.lengths.tokens_in)
        clock = asyncio.get_running_loop().time
        ends = clock() + load.max_seconds
        samples: list[Sample] = []
        begun = 0

        async def stream() -> None:
            nonlocal begun
            while begun < load.requests and clock() < ends:
                begun += 1
                sample = await self._tried(words, load.lengths.tokens_out)
                samples.append(sample)
                on_end(sample)

        async with asyncio.TaskGroup() as streams:
            for _ in range(min(load.concurrency, load.requests)):
                streams.create_task(stream())
        return samples

    async def _tried(self, words: int, tokens_out: int) -> Sample:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await self._request(words, tokens_out)
        except BackendError as exc:
            return Sample(began, None, clock(), None, None, exc.code)

    async def _request(self, words: int, tokens_out: int) -> Sample:
        self._sent += 1
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt(words, self._sent)}],
            "max_tokens": tokens_out,
            "ignore_eos": True,  # vLLM, SGLang and llama-server: answers as long as asked for
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        clock = asyncio.get_running_loop().time
        began = clock()
        call = Call(json.dumps(body).encode(), PATH, SILENT_S)
        stream = await self._backend.stream(call)
        first: float | None = None
        last = began
        usage: sse.Usage | None = None
        events = sse.Events()
        try:
            while chunk := await stream.read(SILENT_S):
                now = clock()
                for event in events.feed(chunk):
                    if (error := sse.error_of(event)) is not None:
                        raise error
                    if sse.has_content(event):
                        first = now if first is None else first
                        last = now
                    usage = sse.usage_of(event) or usage
                    if sse.is_done(event):
                        await stream.end()
                        return _sample(began, first, last, usage)
            raise Broken("the stream ended without [DONE]", received=True)
        finally:
            await stream.aclose()


def _sample(began: float, first: float | None, last: float, usage: sse.Usage | None) -> Sample:
    tokens_in = None if usage is None else usage.tokens_in
    tokens_out = None if usage is None else usage.tokens_out
    return Sample(began, first, last, tokens_in, tokens_out)

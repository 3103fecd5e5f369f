"""An open-loop load: each request is sent at its time, however the ones before it fare."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

PROMPTS = Path(__file__).parents[2] / "tests" / "data" / "requests.jsonl"
WITHIN_S = 90.0


@dataclass(frozen=True, slots=True)
class Asked:
    """`tokens_out`: how long the answer is to be; None: as long as the model likes."""

    at_s: float
    text: str
    tokens_out: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the caller saw, from its first byte on. `fleet` None: it got no answer."""

    fleet: str | None
    ttft_ms: float
    e2e_ms: float


def prompts(
    rate: float,
    seconds: float,
    seed: int,
    chars: tuple[int, int] = (0, 0),
    tokens_out: tuple[int, int] | None = None,
) -> tuple[Asked, ...]:
    """Return requests of the test data at Poisson times; no two begin with the same words.

    `chars`: the least and the most of a text, made of as many as it takes; `tokens_out` likewise.
    """
    draw = random.Random(seed)  # noqa: S311  (traffic, no secrets)
    texts = [
        json.loads(line)["messages"][-1]["content"]
        for line in PROMPTS.read_text("utf-8").splitlines()
    ]
    asked, at_s = [], draw.expovariate(rate)
    while at_s < seconds:
        text, least = f"{len(asked)}. {draw.choice(texts)}", draw.randint(*chars)
        while len(text) < least:
            text = f"{text} {draw.choice(texts)}"
        asked.append(Asked(at_s, text, tokens_out and draw.randint(*tokens_out)))
        at_s += draw.expovariate(rate)
    return tuple(asked)


def sent(url: str, asked: Sequence[Asked]) -> list[Seen]:
    """Send them all, each at its time; return what came of each once all are over."""
    return asyncio.run(_sent(url, asked))


async def _sent(url: str, asked: Sequence[Asked]) -> list[Seen]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S, limits=limits) as client:
        await client.get("/health")  # what is loaded for the first request is loaded
        began_s = time.perf_counter() + 0.1

        async def one(request: Asked) -> Seen:
            await asyncio.sleep(max(0.0, began_s + request.at_s - time.perf_counter()))
            return await _asked(client, request)

        return await asyncio.gather(*map(one, asked))


async def _asked(client: httpx.AsyncClient, request: Asked) -> Seen:
    body = {"model": "auto", "messages": [{"role": "user", "content": request.text}]}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.tokens_out:
        body |= {"max_tokens": request.tokens_out, "ignore_eos": True}
    start_s = time.perf_counter()
    first_s = 0.0
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        async for line in reply.aiter_lines():
            if not first_s and _has_content(line):
                first_s = time.perf_counter()
        fleet = reply.headers.get("x-sluice-fleet") if first_s else None
    end_s = time.perf_counter()
    return Seen(fleet, (first_s - start_s) * 1000, (end_s - start_s) * 1000)


def _has_content(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line[6:]).get("choices")
    return bool(choices and choices[0].get("delta", {}).get("content"))

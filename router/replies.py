"""How an answer goes out to its caller: its headers, plainly or as a stream, or before its time."""

import asyncio
import contextlib
import functools
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TypeVar

from backends.base import Reply
from router import refusals
from router.charge import usd_text
from router.drive import Opened
from router.exchange import Exchange, broken_event
from router.flow import Failed, Served
from router.http import Headers, Http, HungUp

WRITE_S = 1.0  # what a caller has beyond the deadline to read what was written
T = TypeVar("T")


def _headers_of(exchange: Exchange, served: Served[Reply] | Served[Opened]) -> Headers:
    decision, candidate = exchange.decision, served.attempt.candidate
    rule, policy = decision.verdict.rule, exchange.generation.world.policy
    relaxed = decision.verdict.relaxed
    return [
        (b"x-sluice-request-id", exchange.request_id.encode()),
        (b"x-sluice-fleet", candidate.fleet.encode()),
        (b"x-sluice-model", candidate.model.encode()),
        (b"x-sluice-rule", rule.id.encode() if rule else b""),
        (b"x-sluice-policy", f"{policy.name}@{policy.hash}".encode()),
        (b"x-sluice-tier", decision.facts.tier.encode()),
        (b"x-sluice-complexity", b"%.3f" % decision.facts.complexity),
        (b"x-sluice-max-output-tokens", b"%d" % served.attempt.max_tokens),
        *exchange.headers,
        *([(b"x-sluice-relaxed", ",".join(relaxed).encode())] if relaxed else []),
    ]


async def plainly(http: Http, exchange: Exchange) -> None:
    outcome = await exchange.plain()
    if isinstance(outcome, Failed):
        await _relay_rejection(http, exchange, outcome)
        return
    headers = _headers_of(exchange, outcome)
    nano = exchange.meter.nano_so_far()
    if nano is not None:
        headers.append((b"x-sluice-cost-usd", usd_text(nano)))
    await http.answer(outcome.answer.status, outcome.answer.body, headers)


async def as_stream(http: Http, exchange: Exchange) -> None:
    outcome = await exchange.open()
    if isinstance(outcome, Failed):
        await _relay_rejection(http, exchange, outcome)
        return
    try:
        async with (
            asyncio.timeout(exchange.left_s() + WRITE_S),
            contextlib.aclosing(exchange.relay(outcome.answer)) as pieces,
        ):
            first = await anext(pieces)  # begun, the generator closes what it holds by itself
            await http.start_stream(_headers_of(exchange, outcome))
            await http.piece(first)
            async for piece in pieces:
                await http.piece(piece)
    except TimeoutError:  # the caller reads too slowly to get it all before the deadline
        raise HungUp from None
    await http.end_stream()


async def _relay_rejection(http: Http, exchange: Exchange, failed: Failed) -> None:
    """Tell the caller what the fleet said of the request itself, or why nobody answered."""
    told = refusals.rejected(failed)
    if told is None:
        raise refusals.all_failed(failed)
    headers = [(b"x-sluice-request-id", exchange.request_id.encode())]
    await http.answer(told.status, told.body, headers)


async def cut_off(http: Http, request_id: str) -> None:
    """Tell the caller, who may not read, that this router ends before its answer does."""
    refusal = refusals.shutting_down()
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(WRITE_S):
            if http.streams:
                await http.piece(broken_event(refusal.message))
                await http.end_stream()
            else:
                headers = [(b"x-sluice-request-id", request_id.encode()), *refusal.headers]
                await http.answer(refusal.status, refusal.body(), headers)


async def unless_hung_up(http: Http, answering: Coroutine[None, None, T]) -> T:
    """Answer, but stop as soon as the caller closes the connection; then raise HungUp."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def wait() -> None:
        nonlocal gone
        while (await http.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    waiting = asyncio.get_running_loop().create_task(wait())
    try:
        return await answering
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise HungUp from None
    finally:
        waiting.cancel()


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def rfc3339(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}{int((seconds - whole) * 1000):03d}Z"

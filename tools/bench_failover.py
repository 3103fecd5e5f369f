"""What failover itself costs: from a failure's detection to the next attempt's sending.

The fleets answer at once, in this process: the first of a plan fails, the next one answers, plain
or with a stream that ends before its first token. What is timed lies between the failure's raise
and the next call: the attempt is written down, the breaker is told, the next body is made. The
yardstick is a request whose first fleet answers, taken turn by turn within the same second. All in
CPU time: nothing waits here, and a busy machine's pauses are no part of it.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from backends.base import Broken, Call, Overloaded, Reply, Seen
from backends.load import Load
from policies.model import Breaker
from router import wire
from router.classify import judge_by
from router.decide import Decision, decide
from router.exchange import Exchange
from router.facts import facts_of
from router.features import read
from router.flow import Served
from router.identity import NOBODY
from router.metrics import Metrics
from router.record import Receipts
from router.runtime import Runtime, generation
from router.sources import Sources
from router.world import World

ROUNDS, ALLOWED_US = 2000, 3000.0
TEXT = "Prove that there are infinitely many primes congruent to 3 mod 4, then generalise it. " * 3
USAGE = {"prompt_tokens": 60, "completion_tokens": 1, "total_tokens": 61}
SAID = {"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop", "index": 0}
ANSWER = {"id": "1", "object": "chat.completion", "choices": [SAID], "usage": USAGE}
CHUNK = {"id": "1", "choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}
STREAM = b"data: " + orjson.dumps(CHUNK) + b"\n\ndata: [DONE]\n\n"


@dataclass(slots=True)
class Times:
    """When the last failure was raised, and each time from there to the next call."""

    fails: bool = True
    failed_s: float = 0.0
    took_s: float = 0.0

    def called(self) -> None:
        """Fail, or take the time since the failure."""
        now_s = time.thread_time()
        if self.fails:
            self.fails = False
            self.failed_s = time.thread_time()
            raise Overloaded("status 503")
        self.took_s = now_s - self.failed_s


class Told:
    """A stream whose bytes are there."""

    def __init__(self, times: Times, chunk: bytes) -> None:
        self.times, self.chunk = times, chunk

    async def read(self, _timeout_s: float | None = None) -> bytes:
        if not self.chunk:
            self.times.failed_s = time.thread_time()
            raise Broken("closed before the first content token", received=True)
        chunk, self.chunk = self.chunk, b""
        return chunk

    async def end(self) -> None:
        return

    async def aclose(self) -> None:
        return


class AtOnce:
    """A backend that fails or answers at once."""

    def __init__(self, times: Times) -> None:
        self.times = times

    async def send(self, _call: Call) -> Reply:
        self.times.called()
        return Reply(200, {}, orjson.dumps(ANSWER), ANSWER)

    async def stream(self, _call: Call) -> Told:
        if self.times.fails:
            self.times.fails = False
            return Told(self.times, b"")
        self.times.called()
        return Told(self.times, STREAM)

    async def probe(self) -> Sequence[Seen]:
        return ()

    async def aclose(self) -> None:
        return


def prepared(state: Path) -> tuple[World, Runtime, Times]:
    """Return a world whose breaker never opens, and a runtime over backends that answer at once."""
    found = Sources(state).load()
    limits = replace(found.policy.defaults.limits, breaker=Breaker(10**9))
    defaults = replace(found.policy.defaults, limits=limits)
    world = replace(found, policy=replace(found.policy, defaults=defaults))
    times = Times()
    made = generation(world, {})
    made = replace(made, backends={on.fleet.id: AtOnce(times) for on in world.fleets})
    return world, Runtime(made, Metrics(), Receipts(state), time.thread_time, {}), times


def asked(world: World, *, stream: bool) -> tuple[wire.ChatRequest, Decision]:
    messages = [{"role": "user", "content": TEXT}]
    raw = orjson.dumps({"model": "auto", "messages": messages, "stream": stream})
    request = wire.parse_chat(raw)
    reading = read(request.body)
    at = "2026-01-01T00:00:00.000Z"
    facts = facts_of(request, reading.features, judge_by()(reading), NOBODY, wire.NO_HINTS, at)
    loads = [Load(committed=on.fleet.replicas.min) for on in world.fleets]
    return request, decide(world, facts, loads, stream=stream)


async def served(exchange: Exchange, *, stream: bool) -> None:
    if not stream:
        assert isinstance(await exchange.plain(), Served)
        return
    outcome = await exchange.open()
    assert isinstance(outcome, Served)
    async for _ in exchange.relay(outcome.answer):
        pass


async def measured(
    runtime: Runtime, times: Times, request: wire.ChatRequest, decision: Decision
) -> tuple[list[float], list[float]]:
    """Return the CPU microseconds of failover, and those of whole requests without one."""
    failover, whole = [], []
    for turn in range(2 * ROUNDS):
        times.fails = bool(turn % 2)
        exchange = Exchange(runtime, runtime.generation, request, decision, "req_1")
        began_s = time.thread_time()
        await served(exchange, stream=request.stream)
        if turn % 2:
            failover.append(times.took_s * 1e6)
        else:
            whole.append((time.thread_time() - began_s) * 1e6)
    return failover, whole


def main() -> None:
    print(
        f"\nfailover, from the failure to the next attempt, CPU time ({ALLOWED_US:,.0f} us allowed)"
    )
    with tempfile.TemporaryDirectory() as folder:
        world, runtime, times = prepared(Path(folder))
        for stream in (False, True):
            request, decision = asked(world, stream=stream)
            failover, whole = asyncio.run(measured(runtime, times, request, decision))
            p50, p99 = statistics.median(failover), statistics.quantiles(failover, n=100)[-1]
            ratio = p50 / statistics.median(whole)
            kind = "before the first token" if stream else "a plain answer"
            print(
                f"  {kind:<25}{p50:8.1f} us p50 {p99:8.1f} us p99"
                f"   {ratio:.2f} of a request without one in this process"
            )


if __name__ == "__main__":
    main()

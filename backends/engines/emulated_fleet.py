"""One emulated fleet at work: a simulated replica, and a timer that wakes whoever waits on it."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable

from backends.catalogue import Fleet
from backends.engines.emulated_request import Ask, Refused
from backends.engines.emulation import Replica, Stream, prompt_steps
from backends.profiles import Profile

TICK_S = 0.001  # the event loop's own resolution: no timer is set shorter
# A chunk takes 0.06 ms of CPU, most of it the write (measured: 100 streams on uvloop). With a chunk
# per 0.1 ms, over all streams of the process, a core keeps some room: a stream that is due more
# often gets several tokens in one chunk, as real engines do when they are late. The schedule holds.
CHUNK_MS = 0.1


class Unfit(ValueError):  # noqa: N818  (it reads as what it says)
    """A fleet can't be emulated; the message names it and what it lacks."""


class EmulatedFleet:
    """`now_ms` is the emulated time; `streams` tells how many run in the whole process."""

    def __init__(
        self,
        fleet: Fleet,
        now_ms: Callable[[], float],
        time_scale: float,
        streams: Callable[[], int],
    ) -> None:
        self.fleet = fleet
        self.profile = _profile(fleet)
        self.replica = Replica(self.profile, fleet.replicas.concurrency_each)
        self._now_ms = now_ms
        self._time_scale = time_scale
        self._streams = streams
        self._open: dict[Stream, Ask] = {}
        self._waiters: dict[Stream, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_ms = math.inf
        self._tokens_in = 0
        self._tokens_out = 0
        self._finished: Counter[str] = Counter()

    def open(self, ask: Ask) -> Stream:
        """Take the request on, or raise Refused where the queue is full. Close it in any case."""
        self._turn()
        steps = prompt_steps(self.profile, ask.tokens_in)
        assert steps is not None, "the constructor asks for it"
        stream = Stream(steps, ask.answer.tokens, ask.n)
        if not self.replica.submit(stream):
            free_ms = (self.replica.next_end_ms() or 0.0) - self._now_ms()
            retry_s = max(1, math.ceil(free_ms * self._time_scale / 1000))
            raise Refused(
                503,
                f"the queue of `{self.fleet.id}` is full: {self.replica.running} streams run, "
                f"{self.replica.waiting} wait",
                headers=((b"retry-after", b"%d" % retry_s),),
            )
        self._open[stream] = ask
        self._arm()
        return stream

    async def more(self, stream: Stream, sent: int) -> int | None:
        """Wait for tokens beyond `sent`; return how many are out, None if it was closed."""
        want = 1 if sent == 0 else min(sent + self._per_chunk(), stream.tokens_out)
        if not stream.left and self.replica.tokens(stream) < want:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[stream] = waiter
            self.replica.watch(stream, want)
            self._arm()
            await waiter
        return None if stream.left else self.replica.tokens(stream)

    def close(self, stream: Stream) -> None:
        """Free its place at once. Closed twice is closed."""
        ask = self._open.pop(stream, None)
        if ask is None:
            return
        self._turn()
        self.replica.leave(stream)
        self._wake(stream)
        self._arm()
        tokens = self.replica.tokens(stream)
        self._tokens_in += ask.tokens_in if tokens else 0
        self._tokens_out += tokens * stream.choices
        self._finished["abort" if stream.left else ask.answer.finish_reason] += 1

    async def closed(self, stream: Stream) -> None:
        """Wait until the stream was closed."""
        while stream in self._open:
            waiter = self._waiters[stream] = asyncio.get_running_loop().create_future()
            await waiter

    def cut(self) -> None:
        """Close every stream."""
        for stream in list(self._open):
            self.close(stream)

    def stop(self) -> None:
        """Close every stream and the timer."""
        self.cut()
        if self._timer is not None:
            self._timer.cancel()

    def metrics(self) -> str:
        """Return the state in Prometheus' text form, under vLLM's names."""
        self._turn()
        label = f'model_name="{self.fleet.upstream_model}",engine="0"'
        lines = [
            _metric("num_requests_running", "gauge", {label: self.replica.running}),
            _metric("num_requests_waiting", "gauge", {label: self.replica.waiting}),
            _metric("prompt_tokens_total", "counter", {label: self._tokens_in}),
            _metric("generation_tokens_total", "counter", {label: self._tokens_out}),
            _metric(
                "request_success_total",
                "counter",
                {
                    f'{label},finished_reason="{reason}"': self._finished[reason]
                    for reason in ("stop", "length", "abort")
                },
            ),
        ]
        return "".join(lines)

    def _per_chunk(self) -> int:
        return max(1, math.ceil(CHUNK_MS * self._streams() / self._token_ms()))

    def _token_ms(self) -> float:
        return self.replica.itl_ms * self._time_scale

    def _turn(self) -> None:
        for stream in self.replica.advance(self._now_ms()):
            self._wake(stream)
        self._arm()

    def _wake(self, stream: Stream) -> None:
        waiter = self._waiters.pop(stream, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _arm(self) -> None:
        """Set the timer unless it rings in time already; too early does no harm."""
        due_ms = self.replica.next_ms()
        if due_ms is None or due_ms >= self._rings_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = (due_ms - self._now_ms()) * self._time_scale / 1000
        self._timer = asyncio.get_running_loop().call_later(max(delay_s, TICK_S), self._ring)
        self._rings_ms = due_ms

    def _ring(self) -> None:
        self._timer = None
        self._rings_ms = math.inf
        self._turn()


def _profile(fleet: Fleet) -> Profile:
    profile = fleet.profile
    if profile is None:
        raise Unfit(f"fleet {fleet.id}: an emulated fleet needs a `profile` to follow")
    if prompt_steps(profile, 1) is None:
        raise Unfit(
            f"fleet {fleet.id}: its profile `{profile.id}` says nothing of the time a prompt takes "
            "(`prefill_tok_s`, or `ttft_ms` with `tokens_in`)"
        )
    return profile


def _metric(name: str, kind: str, values: dict[str, int]) -> str:
    rows = "".join(f"vllm:{name}{{{label}}} {value}\n" for label, value in values.items())
    return f"# TYPE vllm:{name} {kind}\n{rows}"

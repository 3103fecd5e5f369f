"""When an emulated replica gives which token: continuous batching by a profile, simulated.

Pure but for its own state: time is an argument, in ms of the emulated world.

The replica counts *steps*. In one step every running stream gets one token, and a step takes the
ITL at the present number of streams. Prefill slows down by the same factor as ITL, so a prompt
takes a number of steps too: its time at the profile's first point over that point's ITL. In steps
a running stream's deadlines never move, however many come and go; only the length of a step does.
So nothing is worked out anew per stream, no error adds up, and Little's law holds at every moment:
c streams, one token each per ITL(c), are tok_s(c).
"""

import math
from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from backends.profiles import Profile

QUEUE_PER_PLACE = 4  # streams that may wait per stream that may run
_EPSILON = 1e-3  # steps; far above what floats lose, far below a token


@dataclass(slots=True, eq=False)
class Stream:
    """One request of `choices` answers side by side, `tokens_out` (at least 1) tokens each."""

    prompt_steps: float
    tokens_out: int
    choices: int = 1
    first_step: float | None = None  # at which its first token is out; None: it waits for a place
    over: bool = False  # it has all its tokens, or left
    left: bool = False
    watched: int | None = None  # tokens that somebody waited for before it had a place


@dataclass(slots=True)
class Replica:
    """One replica with its FIFO queue. It is where `advance` last brought it."""

    profile: Profile
    concurrency_each: int
    running: int = 0
    waiting: int = 0
    _now_ms: float = 0.0
    _step: float = 0.0
    _serial: int = 0
    _queue: deque[Stream] = field(default_factory=deque)
    _ends: list[tuple[float, int, Stream]] = field(default_factory=list)
    _watches: list[tuple[float, int, Stream]] = field(default_factory=list)
    itl_ms: float = field(init=False)
    capacity: int = field(init=False)

    def __post_init__(self) -> None:
        self.capacity = max(1, math.floor(self.profile.capacity(self.concurrency_each)))
        self.itl_ms = self.profile.surface.levels[0][1].itl_ms

    def advance(self, now_ms: float) -> list[Stream]:
        """Go on to `now_ms`; return the streams that have the tokens they were watched for.

        Every end is taken at its own moment, so a late call gives what many early ones do.
        """
        while (end_ms := self.next_end_ms()) is not None and end_ms <= now_ms:
            self._step, _, stream = heappop(self._ends)
            self._now_ms = end_ms
            self._drop(stream)
        if now_ms > self._now_ms:
            if self.running:
                self._step += (now_ms - self._now_ms) / self.itl_ms
            self._now_ms = now_ms
        due: list[Stream] = []
        while self._watches and self._watches[0][0] <= self._step + _EPSILON:
            stream = heappop(self._watches)[2]
            if not stream.left:
                due.append(stream)
        return due

    def submit(self, stream: Stream) -> bool:
        """Start the stream or let it wait; False: the queue is full."""
        if self.waiting + stream.choices > QUEUE_PER_PLACE * self.capacity and self._queue:
            return False
        self._queue.append(stream)
        self.waiting += stream.choices
        self._fill()
        return True

    def leave(self, stream: Stream) -> None:
        """Free its place now, whether it runs or waits; one that is over may leave again."""
        if stream.over:
            return
        stream.left = True
        if stream.first_step is not None:
            self._drop(stream)
            return
        stream.over = True
        self._queue.remove(stream)
        self.waiting -= stream.choices
        self._fill()

    def tokens(self, stream: Stream) -> int:
        """Return how many tokens of each choice are out."""
        if stream.first_step is None:
            return 0
        out = 1 + math.floor(self._step - stream.first_step + _EPSILON)
        return min(max(out, 0), stream.tokens_out)

    def watch(self, stream: Stream, tokens: int) -> None:
        """Let `advance` return the stream, once, when this many tokens are out."""
        if stream.first_step is None:
            stream.watched = tokens
        else:
            self._push(self._watches, stream.first_step + tokens - 1, stream)

    def next_ms(self) -> float | None:
        """Return when something is to happen next, if no stream comes or leaves before."""
        while self._watches and self._watches[0][2].left:
            heappop(self._watches)
        times = [self.next_end_ms()]
        if self._watches:
            times.append(self._when(self._watches[0][0]))
        return min((time for time in times if time is not None), default=None)

    def next_end_ms(self) -> float | None:
        """Return when the next place is free, if no stream comes or leaves before."""
        while self._ends and self._ends[0][2].over:
            heappop(self._ends)
        return self._when(self._ends[0][0]) if self._ends else None

    def _when(self, step: float) -> float:
        return self._now_ms + (step - self._step) * self.itl_ms

    def _fill(self) -> None:
        """First come, first served; one with more choices than there are places runs alone."""
        while self._queue:
            stream = self._queue[0]
            if self.running and self.running + stream.choices > self.capacity:
                return
            self._queue.popleft()
            self.waiting -= stream.choices
            stream.first_step = self._step + stream.prompt_steps
            self._push(self._ends, stream.first_step + stream.tokens_out - 1, stream)
            if stream.watched is not None:
                self.watch(stream, stream.watched)
            self._run(self.running + stream.choices)

    def _drop(self, stream: Stream) -> None:
        stream.over = True
        self._run(self.running - stream.choices)
        self._fill()

    def _run(self, streams: int) -> None:
        self.running = streams
        self.itl_ms = self.profile.speed(streams).itl_ms

    def _push(self, heap: list[tuple[float, int, Stream]], step: float, stream: Stream) -> None:
        self._serial += 1  # of two at the same step the elder is first
        heappush(heap, (step, self._serial, stream))


def prompt_steps(profile: Profile, tokens_in: int) -> float | None:
    """Return the steps that a prompt takes; None where the profile doesn't say."""
    prefill_ms = profile.prefill_ms(tokens_in)
    return None if prefill_ms is None else prefill_ms / profile.surface.levels[0][1].itl_ms

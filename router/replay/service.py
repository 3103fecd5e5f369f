"""What a fleet does with the requests that it was sent: all share its replicas' steps.

As the emulated fleets do (backends/engines/emulation.py), and as continuous batching does: in one
step every running stream gets one token, and a step takes the ITL at the present number of streams
of a replica. A prompt is so many steps as its time at the profile's first point is worth. In steps
a stream's end never moves, however many come and go; only the length of a step does. Beyond the
places of the engine streams wait for one, first come first served. Load is spread evenly over
replicas.

Time is an argument, in seconds; it never goes back. Pure but for its own state.
"""

from __future__ import annotations  # `array[int]` is no value before Python 3.12

import math
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace
from operator import mul
from typing import Final

from backends.fleet_model import FleetModel

UNMEASURED_MS: Final = 300.0, 15.0  # to the first token and for each: assumed without a profile
Waiting = tuple[int, float, float, int]
"""A request, the steps of its prompt, those of the tokens after the first, its streams."""
Running = tuple[float, int, int, float]
"""The step of its end, a request, its streams, the step of its first token."""


class Service:
    """The replicas of one fleet at work. `next_s`: when the next stream ends; infinite: never.

    `running`, `queued` are streams; `busy_s` place-seconds that streams held: of a request with
    more streams than there are places, all places.
    """

    __slots__ = (
        "_base_ms",
        "_by_length",
        "_ends",
        "_fixed_ms",
        "_floor_ms",
        "_itl_s",
        "_left",
        "_ms_per_token",
        "_now_s",
        "_on",
        "_places_each",
        "_seen_s",
        "_seen_steps",
        "_step",
        "_table",
        "_tables",
        "_waiting",
        "busy_s",
        "next_s",
        "places",
        "queued",
        "running",
    )

    def __init__(self, on: FleetModel, replicas: int) -> None:
        self._on = on
        self._places_each = max(1, math.floor(on.capacity))
        self._tables: dict[int, list[float]] = {}
        self._by_length = _measured_by_length(on)
        self._base_ms, self._floor_ms, self._fixed_ms, self._ms_per_token = _law(on)
        self._now_s = self._step = self.busy_s = 0.0
        self.running = self.queued = 0
        self._ends: list[Running] = []
        self._waiting: deque[Waiting] = deque()
        self._left: set[int] = set()
        # How far the steps were when: what tells, at a stream's end, when its first token came.
        self._seen_steps, self._seen_s = array("d", [0.0]), array("d", [0.0])
        self.next_s = math.inf
        self._itl_s = self._base_ms / 1000
        self.resize(replicas, 0.0)

    def resize(self, replicas: int, now_s: float) -> None:
        """Go on with so many replicas; with none nothing may be here any more (`parted`)."""
        self._advance(now_s)
        replicas = max(1, replicas)
        self.places = self._places_each * replicas
        self._table = self._tables.setdefault(replicas, [])
        self._fill()
        self._set_speed()

    def parted(self, replicas: int, now_s: float) -> Service:
        """Return one of so many replicas, with its share of the streams; the others keep theirs."""
        self._advance(now_s)
        ran = [each for each in self._ends if each[1] not in self._left]
        waiting = self._waiting
        goes = _share([(each[1], each[2]) for each in ran], replicas)
        goes |= _share([(each[0], each[3]) for each in waiting], replicas)
        ends = [each for each in ran if each[1] in goes]
        # What was before the first tokens of its streams is nobody's matter there.
        k = bisect_right(self._seen_steps, min((each[3] for each in ends), default=math.inf)) - 1
        one = Service(self._on, 1)
        one.goes_on(
            (now_s, self._step),
            ends,
            [each for each in waiting if each[0] in goes],
            (self._seen_steps[k:], self._seen_s[k:]),
        )
        self._left.clear()
        self._ends = [each for each in ran if each[1] not in goes]
        heapify(self._ends)
        self._waiting = deque(each for each in waiting if each[0] not in goes)
        self._count()
        self._set_speed()
        return one

    def goes_on(
        self,
        at: tuple[float, float],
        ends: list[Running],
        waiting: list[Waiting],
        seen: tuple[array[float], array[float]],
    ) -> None:
        """Go on with streams of another service, `at` its time and step."""
        self._now_s, self._step = at
        self._ends, self._waiting = ends, deque(waiting)
        heapify(self._ends)
        self._seen_steps, self._seen_s = seen
        self._count()
        self._fill()
        self._set_speed()

    def start(self, i: int, now_s: float, tokens_in: int, tokens_out: int, n: int) -> None:
        """Take a request on. `tokens_out`: of each of its `n` choices, at least 1."""
        prefill_ms = self._fixed_ms + self._ms_per_token * tokens_in
        prefill_ms = max(prefill_ms, self._floor_ms)
        prompt, more = prefill_ms / self._base_ms, tokens_out - 1.0
        running = self.running
        if self._by_length:
            itl, ttft = self._ratios(tokens_in, tokens_out, running + n)
            prompt, more = prompt * ttft, more * itl
        if self._waiting or (running and running + n > self.places):
            self._waiting.append((i, prompt, more, n))
            self.queued += n
            return
        # From here on as `_advance`, `_place` and `_set_speed` say, in line: the hot path.
        passed_s = now_s - self._now_s
        if running:
            self._step += passed_s / self._itl_s
            places = self.places
            self.busy_s += passed_s * (min(running, places))
        self._now_s = now_s
        step = self._step
        self._seen_steps.append(step)
        self._seen_s.append(now_s)
        first = step + prompt
        ends = self._ends
        heappush(ends, (first + more, i, n, first))
        self.running = running = running + n
        table = self._table
        itl_s = self._itl_s = table[running] if running < len(table) else self._speed(running)
        self.next_s = now_s + (ends[0][0] - step) * itl_s

    def end(self) -> tuple[int, float]:
        """End the stream that ends at `next_s`; return it, and when its first token came."""
        now_s = self.next_s
        running = self.running
        step, i, n, first = heappop(self._ends)
        places = self.places
        self.busy_s += (now_s - self._now_s) * (min(running, places))
        self._now_s, self._step = now_s, step
        seen_steps, seen_s = self._seen_steps, self._seen_s
        seen_steps.append(step)
        seen_s.append(now_s)
        k = bisect_right(seen_steps, first) - 1
        if k + 1 < len(seen_steps):
            low, low_s = seen_steps[k], seen_s[k]
            share = (first - low) / (seen_steps[k + 1] - low)
            first_s = low_s + share * (seen_s[k + 1] - low_s)
        else:
            first_s = now_s
        self.running = running = running - n
        if self._waiting:
            self._fill()
            running = self.running
        table = self._table
        itl_s = self._itl_s = table[running] if running < len(table) else self._speed(running)
        ends = self._ends
        if self._left:
            self._drop_left()
        self.next_s = now_s + (ends[0][0] - step) * itl_s if ends else math.inf
        return i, first_s

    def leave(self, i: int, now_s: float) -> float:
        """Let a request go before its end; return how many tokens of each choice were made."""
        self._advance(now_s)
        for waiting in self._waiting:
            if waiting[0] == i:
                self._waiting.remove(waiting)
                self.queued -= waiting[3]
                return 0.0
        _, _, n, first = next(found for found in self._ends if found[1] == i)
        self._left.add(i)
        self.running -= n
        self._drop_left()
        self._fill()
        self._set_speed()
        return max(0.0, math.floor(self._step - first) + 1.0)

    def has_begun(self, i: int, now_s: float) -> bool:
        """Return whether the first token of a request that is here is out."""
        self._advance(now_s)
        first = next((found[3] for found in self._ends if found[1] == i), None)
        return first is not None and first <= self._step

    def here(self) -> list[int]:
        """Return the requests that run or wait."""
        ran = [found[1] for found in self._ends if found[1] not in self._left]
        return sorted([*ran, *(waiting[0] for waiting in self._waiting)])

    @property
    def unplaced(self) -> int:
        """Return how many streams have no place of their own: they wait, or run beside others."""
        return self.queued + max(0, self.running - self.places)

    def advance(self, now_s: float) -> None:
        """Go on to `now_s`, at which no stream ends."""
        self._advance(now_s)

    def _advance(self, now_s: float) -> None:
        passed_s = now_s - self._now_s
        if passed_s <= 0:
            return
        if self.running:
            self._step += passed_s / self._itl_s
            self.busy_s += passed_s * min(self.running, self.places)
        self._now_s = now_s
        self._seen_steps.append(self._step)
        self._seen_s.append(now_s)

    def _fill(self) -> None:
        """Give free places to who waits; one with more streams than there are places runs alone."""
        waiting = self._waiting
        while waiting:
            i, prompt, more, n = waiting[0]
            if self.running and self.running + n > self.places:
                return
            waiting.popleft()
            first = self._step + prompt
            heappush(self._ends, (first + more, i, n, first))
            self.running += n
            self.queued -= n

    def _count(self) -> None:
        self.running = sum(each[2] for each in self._ends)
        self.queued = sum(each[3] for each in self._waiting)

    def _drop_left(self) -> None:
        while self._ends and self._ends[0][1] in self._left:
            self._left.discard(heappop(self._ends)[1])

    def _ratios(self, tokens_in: int, tokens_out: int, running: int) -> tuple[float, float]:
        """Return how much longer tokens and the prompt of a request of these lengths take."""
        profile = self._on.fleet.profile
        assert profile is not None
        replicas = self.places // self._places_each
        speed = profile.speed(min(running / replicas, self._places_each))
        blend = profile.surface.blend(max(1, tokens_in), max(1, tokens_out))
        itl = sum(map(mul, blend, speed.itl_ratios))
        ttft = sum(map(mul, blend, speed.ttft_ratios)) if speed.ttft_ratios else 1.0
        return itl, ttft

    def _set_speed(self) -> None:
        self._itl_s = self._speed(self.running)
        ends = self._ends
        self.next_s = (
            self._now_s + max(0.0, ends[0][0] - self._step) * self._itl_s if ends else math.inf
        )

    def _speed(self, running: int) -> float:
        """Return the seconds of a step with so many streams, from the table that it fills."""
        table = self._table
        replicas = self.places // self._places_each
        profile = self._on.fleet.profile
        while len(table) <= running:
            streams = len(table) / replicas
            itl_ms = self._base_ms if profile is None else profile.speed(max(streams, 1e-9)).itl_ms
            table.append(itl_ms / 1000)
        return table[running]


def _share(requests: Iterable[tuple[int, int]], replicas: int) -> set[int]:
    """Return those on one replica of so many, of requests and their streams: each is on the one
    with the fewest streams, the largest dealt first.
    """
    here: set[int] = set()
    streams = [(0, replica) for replica in range(replicas)]
    for i, n in sorted(requests, key=lambda each: (-each[1], each[0])):
        held, replica = streams[0]
        heapreplace(streams, (held + n, replica))
        if replica == 0:
            here.add(i)
    return here


def _measured_by_length(on: FleetModel) -> bool:
    """Return whether lengths have their own speeds: of a real fleet, where several were measured.

    The emulator goes by the concurrency alone.
    """
    profile = on.fleet.profile
    if profile is None or on.fleet.kind == "emulated":
        return False
    return bool(profile.surface.levels[0][1].itl_ratios)


def _law(on: FleetModel) -> tuple[float, float, float, float]:
    """Return a step alone, and a prompt's floor, fixed part and part of each token, in ms."""
    ttft_ms, itl_ms = UNMEASURED_MS
    profile = on.fleet.profile
    if profile is None:
        return itl_ms, 0.0, ttft_ms, 0.0
    surface = profile.surface
    base_ms = surface.levels[0][1].itl_ms
    if surface.law is None:
        return base_ms, 0.0, ttft_ms, 0.0
    return base_ms, surface.law.floor_ms, surface.law.fixed_ms, surface.law.ms_per_token

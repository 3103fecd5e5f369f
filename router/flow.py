"""One request's attempts, without I/O.

``attempts`` is a generator: it yields the next thing to do, is sent what came of it and how long
that took, and returns the outcome. A driver does the sending and the waiting (``router.drive``).
What comes back as `Answer` is either a whole answer or a stream whose first content token has been
seen: from there on nothing is tried again. Of an attempt whose answer is tested it is a whole
answer that passed, and whatever else comes of it, the attempts that follow are made as if it had
not been.

Every fleet of the plan is tried once, in order. Then those whose failure may have passed are tried
again, as often as the plan has tries for, each after a pause: full jitter between nothing and a
bound that doubles, beyond what the fleet asked for by Retry-After. The driver may say that a fleet
is not to be tried again: its circuit is open, or its retry budget used up.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from backends.base import BackendError
from router.decide import Attempt, Plan

Answer = TypeVar("Answer")

PAUSE_MS, LONGEST_PAUSE_MS = 50.0, 1000.0  # bounds of the jitter: of the first pause, of any


@dataclass(frozen=True, slots=True)
class Try:
    """Send this attempt now, and give up after `timeout_ms`. `again`: its fleet failed before."""

    attempt: Attempt
    timeout_ms: float
    again: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before this attempt is made again: `at_least_ms`, and a random part of `jitter_ms`."""

    attempt: Attempt
    at_least_ms: float
    jitter_ms: float


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """A whole answer that failed its attempt's test of this name: no failure of the fleet."""

    test: str

    code: ClassVar[str] = "not_accepted"

    @property
    def detail(self) -> str:
        return self.test


@dataclass(frozen=True, slots=True)
class Came(Generic[Answer]):
    """What came of a try."""

    result: Answer | NotAccepted | BackendError
    took_ms: float


@dataclass(frozen=True, slots=True)
class Paused:
    """What came of a pause. Not `go`: the attempt is not to be made again."""

    go: bool
    took_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    attempt: Attempt
    error: NotAccepted | BackendError
    took_ms: float


@dataclass(frozen=True, slots=True)
class Served(Generic[Answer]):
    attempt: Attempt
    answer: Answer
    took_ms: float
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody answered. `out_of_time`: the deadline ended it, not the last fleet."""

    failures: tuple[Failure, ...]
    out_of_time: bool = False


Steps = Generator[Try | Pause, Came[Answer] | Paused, Served[Answer] | Failed]


@dataclass(frozen=True, slots=True)
class _Again:
    """An attempt that failed so many `times`, and when its fleet may be asked at the earliest."""

    attempt: Attempt
    times: int
    not_before_ms: float


def attempts(plan: Plan) -> Steps[Answer]:
    deadline_ms, passed_ms = float(plan.limits.deadline_ms), 0.0
    failures: list[Failure] = []
    turns: deque[Attempt | _Again] = deque(plan.attempts)
    tries = len(turns) + plan.retries
    while turns and tries and passed_ms < deadline_ms:
        turn = turns.popleft()
        attempt, times = (turn.attempt, turn.times) if isinstance(turn, _Again) else (turn, 0)
        if isinstance(turn, _Again):
            pause = _pause(turn, passed_ms, deadline_ms)
            if pause is None:
                continue
            paused = yield pause
            assert isinstance(paused, Paused)
            passed_ms += paused.took_ms
            if not paused.go or passed_ms >= deadline_ms:
                continue
        tries -= 1
        came = yield Try(attempt, min(attempt.timeout_ms, deadline_ms - passed_ms), times > 0)
        assert isinstance(came, Came)
        passed_ms += came.took_ms
        result = came.result
        if not isinstance(result, NotAccepted | BackendError):
            return Served(attempt, result, came.took_ms, tuple(failures))
        failures.append(Failure(attempt, result, came.took_ms))
        if attempt.accept_if or isinstance(result, NotAccepted):
            continue  # what is tested is asked once, whatever came of it
        if not result.try_elsewhere:
            break
        if result.try_again:
            asked_ms = (result.retry_after_s or 0.0) * 1000
            turns.append(_Again(attempt, times + 1, passed_ms + asked_ms))
    return Failed(tuple(failures), out_of_time=passed_ms >= deadline_ms)


def _pause(turn: _Again, passed_ms: float, deadline_ms: float) -> Pause | None:
    """Return the wait before this turn; None: it would end after the deadline."""
    at_least_ms = max(0.0, turn.not_before_ms - passed_ms)
    most_ms = deadline_ms - passed_ms - at_least_ms
    if most_ms <= 0:
        return None
    jitter_ms = min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** min(turn.times - 1, 10), most_ms)
    return Pause(turn.attempt, at_least_ms, jitter_ms)

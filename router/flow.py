"""One request's attempts, without I/O.

``attempts`` is a generator: it yields the next thing to try, is sent what came of it and how long
that took, and returns the outcome. A driver does the sending (``router.drive``). What comes back
as `Answer` is either a whole answer or a stream whose first content token has been seen: from
there on nothing is tried again.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from backends.base import BackendError
from router.decide import Attempt, Plan

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Try:
    """Send this attempt now, and give up after `timeout_ms`."""

    attempt: Attempt
    timeout_ms: float


@dataclass(frozen=True, slots=True)
class Came(Generic[Answer]):
    """What came of a try."""

    result: Answer | BackendError
    took_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    attempt: Attempt
    error: BackendError
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


def attempts(plan: Plan) -> Generator[Try, Came[Answer], Served[Answer] | Failed]:
    left_ms = float(plan.limits.deadline_ms)
    failures: list[Failure] = []
    for attempt in plan.attempts:
        if left_ms <= 0:
            return Failed(tuple(failures), out_of_time=True)
        came = yield Try(attempt, min(attempt.timeout_ms, left_ms))
        left_ms -= came.took_ms
        if not isinstance(came.result, BackendError):
            return Served(attempt, came.result, came.took_ms, tuple(failures))
        failures.append(Failure(attempt, came.result, came.took_ms))
        if not came.result.try_elsewhere:
            break
    return Failed(tuple(failures), out_of_time=left_ms <= 0)

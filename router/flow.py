"""One request's attempts, without I/O.

``attempts`` is a generator: it yields the next thing to try, is sent what came of it and how long
that took, and returns the outcome. A driver does the sending (``router.drive``). What comes back
as `Answer` is either a whole answer or a stream whose first content token has been seen: from
there on nothing is tried again. Of an attempt whose answer is tested it is a whole answer that
passed, and whatever else comes of it, the attempts that follow are made as if it had not been.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from backends.base import BackendError
from router.decide import Attempt, Plan

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Try:
    """Send this attempt now, and give up after `timeout_ms`."""

    attempt: Attempt
    timeout_ms: float


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


def attempts(plan: Plan) -> Generator[Try, Came[Answer], Served[Answer] | Failed]:
    left_ms = float(plan.limits.deadline_ms)
    failures: list[Failure] = []
    for attempt in plan.attempts:
        if left_ms <= 0:
            return Failed(tuple(failures), out_of_time=True)
        came = yield Try(attempt, min(attempt.timeout_ms, left_ms))
        left_ms -= came.took_ms
        result = came.result
        if not isinstance(result, NotAccepted | BackendError):
            return Served(attempt, result, came.took_ms, tuple(failures))
        failures.append(Failure(attempt, result, came.took_ms))
        if isinstance(result, BackendError) and not result.try_elsewhere and not attempt.accept_if:
            break
    return Failed(tuple(failures), out_of_time=left_ms <= 0)

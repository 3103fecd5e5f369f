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

Where the plan has a hedge, the first two attempts may run side by side: the first content wins.

A fleet that finds the prompt too long changes what comes (``router.overflow``).
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar, Generic, NamedTuple, TypeVar

from backends.base import BackendError, ContextExceeded
from router.decide import Attempt, Plan
from router.overflow import after_overflow

Answer = TypeVar("Answer")

PAUSE_MS, LONGEST_PAUSE_MS = 50.0, 1000.0  # bounds of the jitter: of the first pause, of any


@dataclass(frozen=True, slots=True)
class Hedge:
    """An attempt to start beside another one, if that still runs `after_ms` from its start."""

    attempt: Attempt
    after_ms: float
    timeout_ms: float


class Try(NamedTuple):  # a frozen dataclass takes three times as long to make
    """Send this attempt now, and give up after `timeout_ms`. `again`: its fleet failed before.
    With a hedge the first answer of the two counts, and the other attempt is cancelled.
    """

    attempt: Attempt
    timeout_ms: float
    again: bool = False
    hedge: Hedge | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before this attempt is made again: `at_least_ms`, and a random part of `jitter_ms`."""

    attempt: Attempt
    at_least_ms: float
    jitter_ms: float


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Write down that this attempt is not made, and why; nothing comes of it."""

    attempt: Attempt
    why: ContextExceeded


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """A whole answer that failed its attempt's test of this name: no failure of the fleet."""

    test: str

    code: ClassVar[str] = "not_accepted"

    @property
    def detail(self) -> str:
        return self.test


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


class Came(NamedTuple, Generic[Answer]):  # as above
    """What came of a try. Of a hedged one: what came `of` which attempt in the end, and `before`
    it of the other one, if that had failed.
    """

    result: Answer | NotAccepted | BackendError
    took_ms: float
    of: Attempt | None = None
    before: tuple[Failure, ...] = ()


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


Step = Try | Pause | PassedOver
Steps = Generator[Step, Came[Answer] | Paused | None, Served[Answer] | Failed]


def attempts(plan: Plan, *, money_binds: bool = True) -> Steps[Answer]:
    """Play the plan. `money_binds`: no more may be charged than was set aside for it."""
    tries = len(plan.attempts) + plan.retries
    play = _Play(plan, money_binds, plan.limits.deadline_ms, list(plan.attempts), tries)
    while play.tries and play.left_ms > 0:
        again: _Again | None = None
        if play.coming:
            attempt = play.coming.pop(0)
        elif play.again:
            again = play.again.pop(0)
            attempt = again.attempt
            pause = play.pause(again)
            if pause is None:
                continue
            paused = yield pause
            assert isinstance(paused, Paused)
            if not play.goes_on(paused):
                continue
        else:
            break
        step = play.step(attempt, again)
        came = yield step
        assert isinstance(came, Came)
        play.came(step, came)
        for failure in came.before:
            yield from play.failed(failure, None)
        attempt, result = came.of or attempt, came.result
        if not isinstance(result, NotAccepted | BackendError):
            return Served(attempt, result, came.took_ms, tuple(play.failures))
        yield from play.failed(Failure(attempt, result, came.took_ms), again)
    return Failed(tuple(play.failures), out_of_time=play.left_ms <= 0)


@dataclass(frozen=True, slots=True)
class _Again:
    """An attempt that failed so many `times`; its fleet asks to be left alone while more is left
    than `when_left_ms`.
    """

    attempt: Attempt
    times: int
    when_left_ms: float


@dataclass(slots=True)
class _Play:
    """How far a plan has come: the time, tries and attempts that are left."""

    plan: Plan
    money_binds: bool
    left_ms: float
    coming: list[Attempt]
    tries: int
    again: list[_Again] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def pause(self, again: _Again) -> Pause | None:
        """Return the wait before this attempt; None: it would end after the deadline."""
        at_least_ms = max(0.0, self.left_ms - again.when_left_ms)
        most_ms = self.left_ms - at_least_ms
        if most_ms <= 0:
            return None
        jitter_ms = min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** min(again.times - 1, 10), most_ms)
        return Pause(again.attempt, at_least_ms, jitter_ms)

    def goes_on(self, paused: Paused) -> bool:
        self.left_ms -= paused.took_ms
        return paused.go and self.left_ms > 0

    def step(self, attempt: Attempt, again: _Again | None) -> Try:
        timeout_ms = min(attempt.timeout_ms, self.left_ms)
        after_ms, hedge = self.plan.hedge_after_ms, None
        begins = len(self.coming) == len(self.plan.attempts) - 1 > 0
        if after_ms is not None and after_ms < timeout_ms and begins:
            second = self.coming[0]
            hedge = Hedge(second, after_ms, min(second.timeout_ms, self.left_ms - after_ms))
        return Try(attempt, timeout_ms, again is not None, hedge)

    def came(self, step: Try, came: Came[Answer]) -> None:
        self.left_ms -= came.took_ms
        self.tries -= 1
        if step.hedge is not None and (came.before or came.of is step.hedge.attempt):
            self.tries -= 1  # the hedge was sent, and ended
            del self.coming[0]

    def failed(self, failure: Failure, again: _Again | None) -> Generator[Step, object, None]:
        """Keep the failure, and change what comes by it."""
        self.failures.append(failure)
        attempt, error = failure.attempt, failure.error
        if isinstance(error, ContextExceeded):
            yield from self._passed_over(attempt, error)
        if attempt.accept_if or isinstance(error, NotAccepted):
            return  # what is tested is asked for once, whatever came of it
        if not error.try_elsewhere:
            self.tries = 0
        if error.try_again:
            when_left_ms = self.left_ms - (error.retry_after_s or 0.0) * 1000
            self.again.append(_Again(attempt, (again.times if again else 0) + 1, when_left_ms))

    def _passed_over(
        self, refused: Attempt, error: ContextExceeded
    ) -> Generator[Step, object, None]:
        left = after_overflow(self.plan, refused, self.coming, error, money_binds=self.money_binds)
        self.tries -= len(self.coming) - len(left.attempts)  # of those that left no place
        self.coming = list(left.attempts)
        for attempt, why in left.passed_over:
            self.failures.append(Failure(attempt, why, 0.0))
            yield PassedOver(attempt, why)

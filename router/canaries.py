"""The canary that runs: which requests it decides, what came of both arms, and its end by itself.

What both came to since it began is looked at after each of its requests, and so is what they came
to in the last ten minutes, and so many requests, so that a canary that was good for days is stopped
nearly as soon as one that never was. It ends in this process at once; what is written makes it end
in all, and for good.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from router.canary import Sums, one, too_bad
from router.ledger.entry import stamp
from router.metrics import Metrics
from router.runtime import LOG, Generation, Runtime
from router.sampling import drawn
from router.sources import Sources
from router.stops import Stop
from router.world import Trial, World

RECENT_S: Final = 600.0
RECENT_REQUESTS: Final = 200  # of the canary; so many tell five times its limit of errors surely
EVERY_S: Final = 60.0  # what is recent is known to that
CANARY, STABLE = "canary", "stable"


class Counts(Protocol):
    """What both arms of a canary came to, in all workers of a router."""

    def add(self, key: str, *, canary: bool, sums: Sums) -> None: ...

    def sums(self, key: str) -> tuple[Sums, Sums]:
        """Return those of the policy in force, and the canary's."""

    def forget(self, key: str) -> None:
        """Begin anew."""


class OwnSums:
    """Those of the one process that there is."""

    def __init__(self) -> None:
        self._key = ""
        self._sums = {False: Sums(), True: Sums()}

    def add(self, key: str, *, canary: bool, sums: Sums) -> None:
        self.sums(key)
        self._sums[canary] += sums

    def sums(self, key: str) -> tuple[Sums, Sums]:
        if key != self._key:
            self._key, self._sums = key, {False: Sums(), True: Sums()}
        return self._sums[False], self._sums[True]

    def forget(self, key: str) -> None:
        if key == self._key:
            self._key = ""


@dataclass(frozen=True, slots=True)
class Arm:
    """Where a request of a running trial went."""

    trial: Trial
    stable: World
    canary: bool

    @property
    def name(self) -> str:
        return CANARY if self.canary else STABLE


Tell = Callable[[str, Mapping[str, object]], None]
"""Alerts: what is said of it in the log where it can't be sent, and the message."""


@dataclass(slots=True)
class Canaries:
    """`now` is the wall clock, in seconds since 1970. `tell` is told of a canary that is stopped,
    by the one router, and worker, that stopped it.
    """

    runtime: Runtime
    sources: Sources
    counts: Counts
    tell: Tell
    now: Callable[[], float]
    _stopped: dict[str, str] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    _key: str = ""
    _before: deque[tuple[float, Sums, Sums]] = field(default_factory=deque)

    @property
    def _metrics(self) -> Metrics:
        return self.runtime.metrics

    def of(self, request_id: str) -> tuple[Generation, Arm | None]:
        """Return what decides this request, always the same; and its arm, while a canary runs."""
        generation = self.runtime.generation
        trial, beside = generation.world.trial, generation.canary
        if trial is None:
            return generation, None
        if beside is None:  # what was written is read: should it be removed, it begins anew
            self._stopped.pop(trial.key, None)
            self._over.add(trial.key)
            return generation, None
        if trial.key in self._stopped:
            return generation, None
        if trial.key in self._over:
            self._over.discard(trial.key)
            self.counts.forget(trial.key)
            self._key = ""
        asked = generation.world.policy.canary
        assert asked is not None
        is_canary = drawn(request_id, "canary") < asked.share
        arm = Arm(trial, generation.world, is_canary)
        return (beside if is_canary else generation), arm

    def ended(self, arm: Arm, *, error: bool, usd: float | None = None) -> None:
        """Count a request that is over; where that makes the canary too bad, stop it."""
        self._metrics.canary_requests.labels(arm.name, "error" if error else "ok").inc()
        if usd is not None:
            self._metrics.canary_usd.labels(arm.name).inc(usd)
        key = arm.trial.key
        self.counts.add(key, canary=arm.canary, sums=one(error=error, usd=usd))
        if arm.canary and key not in self._stopped and (why := self._objection(arm)) is not None:
            self._stop(arm, why)

    def running(self) -> Mapping[str, object] | None:
        """Return what /readyz says of the canary of the policy in force; None: it has none."""
        world = self.runtime.generation.world
        if world.trial is None or world.policy.canary is None:
            return None
        policy, asked = world.trial.policy, world.policy.canary
        stopped = world.trial.stopped or self._stopped.get(world.trial.key)
        stable, canary = self.counts.sums(world.trial.key)
        arms = {CANARY: canary, STABLE: stable}
        said = {name: {"requests": int(s.requests), "errors": int(s.errors),
                       "mean_usd": s.mean_usd if s.charged else None}
                for name, s in arms.items()}  # fmt: skip
        number = {} if world.trial.number is None else {"version": world.trial.number}
        return {"name": policy.name, "hash": policy.hash, **number, "share": asked.share,
                "stopped": stopped, **said}  # fmt: skip

    def _objection(self, arm: Arm) -> str | None:
        asked = arm.stable.policy.canary
        assert asked is not None
        stable, canary = self.counts.sums(arm.trial.key)
        now_s = self.runtime.clock()
        if self._key != arm.trial.key:
            self._key, self._before = arm.trial.key, deque()
        if not self._before or now_s - self._before[-1][0] >= EVERY_S:
            self._before.append((now_s, stable, canary))
        while len(self._before) > 1 and _is_enough(self._before[1], now_s, canary):
            self._before.popleft()
        why = too_bad(canary, stable, asked.stop_if)
        if why is None and _is_enough(self._before[0], now_s, canary):
            since_s, old_stable, old_canary = self._before[0]
            arms = canary - old_canary, stable - old_stable
            why = too_bad(*arms, asked.stop_if, recent=True)
            why = why and f"{why}, in the last {(now_s - since_s) / 60:.0f} minutes"
        return why

    def _stop(self, arm: Arm, why: str) -> None:
        trial, stable = arm.trial, arm.stable.policy
        self._stopped[trial.key] = why
        policy, at = trial.policy, stamp(self.now())
        stop = Stop(policy.name, policy.hash, stable.name, stable.hash, why, at, trial.number)
        try:
            written = self.sources.stops().write(trial.key, stop)
        except OSError as exc:
            said = (
                "canary %s (%s) is stopped, but by this process alone (%s): %s can't be written: %s"
            )
            where = (exc.filename, exc.strerror)
            LOG.error(said, policy.name, policy.hash, why, *where)
        else:
            if written is None:
                return  # another worker, or another router, was quicker, and has told it
            LOG.warning(
                "canary %s (%s) is stopped, policy %s (%s) decides alone: %s; %s keeps that",
                policy.name, policy.hash, stable.name, stable.hash, why, written,
            )  # fmt: skip
        self._metrics.canaries_stopped.inc()
        message = {"canary": policy.name, "hash": policy.hash, "policy": stable.name,
                   "policy_hash": stable.hash, "why": why, "at": at}  # fmt: skip
        self.tell(f"the alert of canary {policy.name}", message)


def _is_enough(mark: tuple[float, Sums, Sums], now_s: float, canary: Sums) -> bool:
    """Tell whether what came since then is all that is recent."""
    since_s, _, before = mark
    return now_s - since_s >= RECENT_S and canary.requests - before.requests >= RECENT_REQUESTS

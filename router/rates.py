"""Rate limits: requests and tokens per minute, and requests at once, by key and by policy.

Each limit is a bucket that refills evenly: a minute's worth may come at once, then as much as the
minute has. Tokens are counted as expected when a request comes, and put right when it is done; one
that needs more than a whole minute's is let in when the bucket is full, and the next wait until
that is made good. A limit holds in this process, or in all workers that share its buckets.
"""

import functools
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from policies.match import counting
from policies.model import Facts, RateLimit
from router.decide import Decision
from router.errors import Refusal
from router.identity import Key

Unit = Literal["requests", "tokens", "concurrent"]
Place = tuple[str | None, str, Unit]

MINUTE_S: Final = 60.0
INSTANT_S: Final = 1e-6  # no wait: floats don't refill to the last bit
BUCKETS: Final = 100_000  # kept; one that is full again is as good as a new one
_UNHELD: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` of a unit (per minute, or at once) for `whom` (`key=ab12`, `team=search`). `id` is
    that of the policy's rate limit; None: it is the key's own.
    """

    id: str | None
    whom: str
    unit: Unit
    most: int

    @property
    def place(self) -> Place:
        """Where it is counted: what was taken stays taken when a new policy allows more or less."""
        return self.id, self.whom, self.unit


@dataclass(slots=True)
class Bucket:
    """`taken` of a minute's worth at a time; it drains by `most` a minute."""

    taken: float
    at_s: float
    most: int


class Buckets(Protocol):
    """Where limits are counted. What is done while it is held is done at once, for all."""

    def held(self) -> AbstractContextManager[object]: ...

    def get(self, place: Place) -> Bucket | None: ...

    def put(self, place: Place, bucket: Bucket) -> None:
        """Keep the bucket; where there is no room another is forgotten."""

    def running(self, place: Place) -> int:
        """Return the requests that run; where there is no room to count one, too many."""

    def run(self, place: Place, change: int) -> None:
        """Count a request in (1) or out (-1)."""


@dataclass(slots=True)
class OwnBuckets:
    """Those of one process alone."""

    _buckets: OrderedDict[Place, Bucket] = field(default_factory=OrderedDict)
    _running: dict[Place, int] = field(default_factory=dict)

    def held(self) -> AbstractContextManager[object]:
        return _UNHELD

    def get(self, place: Place) -> Bucket | None:
        bucket = self._buckets.get(place)
        if bucket is not None:
            self._buckets.move_to_end(place)
        return bucket

    def put(self, place: Place, bucket: Bucket) -> None:
        self._buckets[place] = bucket
        while len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)

    def running(self, place: Place) -> int:
        return self._running.get(place, 0)

    def run(self, place: Place, change: int) -> None:
        self._running[place] = self._running.get(place, 0) + change
        if not self._running[place]:
            del self._running[place]


Counted = Sequence[tuple[Limit, Bucket | None]]
"""Limits with their buckets; None: it is of requests at once."""


@dataclass(slots=True)
class Admitted:
    """What a request took, to be given back or put right when it is done."""

    limits: Sequence[Limit]
    tokens: int
    headers: list[tuple[bytes, bytes]]
    ended: bool = False


@dataclass(slots=True)
class Rates:
    """All seconds are of one monotonic clock, the same for all that share the buckets."""

    _buckets: Buckets = field(default_factory=OwnBuckets)

    def admit(self, limits: Sequence[Limit], tokens: int, now_s: float) -> Admitted:
        """Take what the request needs of every limit, or of none and raise Refusal(429)."""
        if not limits:
            return Admitted((), tokens, [])
        with self._buckets.held():
            counted = [(limit, self._bucket(limit, now_s)) for limit in limits]
            short = [
                (wait_s, limit)
                for limit, bucket in counted
                if (wait_s := self._wait_s(limit, bucket, tokens))
            ]
            if not short:
                for limit, bucket in counted:
                    self._take(limit, bucket, tokens)
        if short:
            wait_s, limit = max(short, key=lambda pair: pair[0])
            raise _too_many(limit, wait_s, tokens, _headers(counted))
        return Admitted(limits, tokens, _headers(counted))

    def end(self, admitted: Admitted, used: int | None, now_s: float) -> None:
        """Give back what was taken too much: `used` tokens, or None if nobody knows. Once."""
        if admitted.ended or not admitted.limits:
            return
        admitted.ended = True
        with self._buckets.held():
            for limit in admitted.limits:
                if limit.unit == "concurrent":
                    self._buckets.run(limit.place, -1)
                elif limit.unit == "tokens" and used is not None:
                    self._put_right(limit.place, used - admitted.tokens, now_s)

    def _take(self, limit: Limit, bucket: Bucket | None, tokens: int) -> None:
        if bucket is None:
            self._buckets.run(limit.place, 1)
        else:
            bucket.taken += _need(limit, tokens)
            self._buckets.put(limit.place, bucket)

    def _put_right(self, place: Place, more: int, now_s: float) -> None:
        bucket = self._buckets.get(place)
        if bucket is not None:  # else it was forgotten
            _drain(bucket, now_s)
            bucket.taken = max(0.0, bucket.taken + more)
            self._buckets.put(place, bucket)

    def _wait_s(self, limit: Limit, bucket: Bucket | None, tokens: int) -> float:
        """Return the seconds until the limit has room for the request; 0: it has."""
        if bucket is None:
            return 1.0 if self._buckets.running(limit.place) >= limit.most else 0.0
        need = min(_need(limit, tokens), limit.most)
        wait_s = (bucket.taken + need - limit.most) * MINUTE_S / limit.most
        return wait_s if need and wait_s > INSTANT_S else 0.0

    def _bucket(self, limit: Limit, now_s: float) -> Bucket | None:
        """Return the limit's bucket as it is now, and from now on drained as the limit says."""
        if limit.unit == "concurrent":
            return None
        bucket = self._buckets.get(limit.place)
        if bucket is None:
            return Bucket(0.0, now_s, limit.most)
        _drain(bucket, now_s)
        bucket.most = limit.most
        return bucket


def _drain(bucket: Bucket, now_s: float) -> None:
    # Of two that share a bucket the one whose turn comes second may have read the clock first.
    drained = max(0.0, now_s - bucket.at_s) * bucket.most / MINUTE_S
    bucket.taken, bucket.at_s = max(0.0, bucket.taken - drained), max(now_s, bucket.at_s)


def _headers(counted: Counted) -> list[tuple[bytes, bytes]]:
    """Return OpenAI's names for the tightest limit of each unit."""
    found: list[tuple[bytes, bytes]] = []
    for unit, name in (("requests", b"requests"), ("tokens", b"tokens")):
        mine = [
            (limit.most - bucket.taken, limit.most)
            for limit, bucket in counted
            if bucket is not None and limit.unit == unit
        ]
        if not mine:
            continue
        left, most = min(mine)
        found += [
            (b"x-ratelimit-limit-" + name, b"%d" % most),
            (b"x-ratelimit-remaining-" + name, b"%d" % max(0, math.floor(left))),
            (b"x-ratelimit-reset-" + name, b"%.3fs" % ((most - left) * MINUTE_S / most)),
        ]
    return found


def limits_of(key: Key, written: Sequence[RateLimit], facts: Facts) -> Sequence[Limit]:
    """Return the limits that a request counts in: the key's own, and those of its policy."""
    found = _limits(None, f"key={key.id}", key.requests_per_min, key.tokens_per_min, key.concurrent)
    for limit, value in counting(written, facts):
        found += _limits(
            limit.id, value, limit.requests_per_min, limit.tokens_per_min, limit.concurrent
        )
    return found


@functools.lru_cache(maxsize=10_000)
def _limits(
    name: str | None, whom: str, requests: int | None, tokens: int | None, concurrent: int | None
) -> tuple[Limit, ...]:
    units: tuple[tuple[Unit, int | None], ...] = (
        ("requests", requests),
        ("tokens", tokens),
        ("concurrent", concurrent),
    )
    return tuple(Limit(name, whom, unit, most) for unit, most in units if most is not None)


def expected_tokens(decision: Decision) -> int:
    """Return the tokens, in and out, that the first attempt of a plan is expected to take."""
    facts, most = decision.facts, decision.plan.attempts[0].max_tokens
    return facts.tokens_in + min(facts.tokens_out, most) * facts.n


def _need(limit: Limit, tokens: int) -> int:
    return tokens if limit.unit == "tokens" else 1


def _too_many(
    limit: Limit, wait_s: float, tokens: int, headers: list[tuple[bytes, bytes]]
) -> Refusal:
    wait = max(1, math.ceil(wait_s))
    said = {
        "requests": f"{limit.most} requests a minute",
        "tokens": f"{limit.most} tokens a minute (this request: about {tokens})",
        "concurrent": f"{limit.most} requests at once",
    }[limit.unit]
    whose = f"of {limit.whom}" if limit.id is None else f"`{limit.id}` ({limit.whom})"
    return Refusal(
        429,
        f"rate limit {whose}: {said}; try again in {wait} s",
        "rate_limit_exceeded",
        headers=((b"retry-after", b"%d" % wait), *headers),
        extra={
            "limit": {
                "id": limit.id,
                "value": limit.whom,
                "unit": limit.unit,
                "most": limit.most,
            }
        },
    )

"""Rate limits: requests and tokens per minute, and requests at once, by key and by policy.

Each limit is a bucket that refills evenly: a minute's worth may come at once, then as much as the
minute has. Tokens are counted as expected when a request comes, and put right when it is done; one
that needs more than a whole minute's is let in when the bucket is full, and the next wait until
that is made good. A limit holds in this process.
"""

import functools
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

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
class _Bucket:
    """`taken` of a minute's worth at a time; it drains by `most` a minute."""

    taken: float
    at_s: float
    most: int


Counted = Sequence[tuple[Limit, _Bucket | None]]
"""Limits with their buckets; None: it is of requests at once."""


@dataclass(slots=True)
class Admitted:
    """What a request took, to be given back or put right when it is done."""

    counted: Counted
    tokens: int
    headers: list[tuple[bytes, bytes]]
    ended: bool = False


@dataclass(slots=True)
class Rates:
    """All seconds are of one monotonic clock."""

    _buckets: OrderedDict[Place, _Bucket] = field(default_factory=OrderedDict)
    _running: dict[Place, int] = field(default_factory=dict)

    def admit(self, limits: Sequence[Limit], tokens: int, now_s: float) -> Admitted:
        """Take what the request needs of every limit, or of none and raise Refusal(429)."""
        counted = [(limit, self._bucket(limit, now_s)) for limit in limits]
        short = [
            (wait_s, limit)
            for limit, bucket in counted
            if (wait_s := self._wait_s(limit, bucket, tokens))
        ]
        if short:
            wait_s, limit = max(short, key=lambda pair: pair[0])
            raise _too_many(limit, wait_s, tokens, _headers(counted))
        for limit, bucket in counted:
            if bucket is None:
                self._running[limit.place] = self._running.get(limit.place, 0) + 1
            else:
                bucket.taken += _need(limit, tokens)
        return Admitted(counted, tokens, _headers(counted))

    def end(self, admitted: Admitted, used: int | None, now_s: float) -> None:
        """Give back what was taken too much: `used` tokens, or None if nobody knows. Once."""
        if admitted.ended:
            return
        admitted.ended = True
        for limit, bucket in admitted.counted:
            if bucket is None:
                self._running[limit.place] -= 1
                if not self._running[limit.place]:
                    del self._running[limit.place]
            elif limit.unit == "tokens" and used is not None:
                _drain(bucket, now_s)
                bucket.taken = max(0.0, bucket.taken + used - admitted.tokens)

    def _wait_s(self, limit: Limit, bucket: _Bucket | None, tokens: int) -> float:
        """Return the seconds until the limit has room for the request; 0: it has."""
        if bucket is None:
            return 1.0 if self._running.get(limit.place, 0) >= limit.most else 0.0
        need = min(_need(limit, tokens), limit.most)
        wait_s = (bucket.taken + need - limit.most) * MINUTE_S / limit.most
        return wait_s if need and wait_s > INSTANT_S else 0.0

    def _bucket(self, limit: Limit, now_s: float) -> _Bucket | None:
        """Return the limit's bucket as it is now, and from now on drained as the limit says."""
        if limit.unit == "concurrent":
            return None
        place = limit.place
        bucket = self._buckets.get(place)
        if bucket is None:
            bucket = self._buckets[place] = _Bucket(0.0, now_s, limit.most)
            while len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(place)
        _drain(bucket, now_s)
        bucket.most = limit.most
        return bucket


def _drain(bucket: _Bucket, now_s: float) -> None:
    drained = (now_s - bucket.at_s) * bucket.most / MINUTE_S
    bucket.taken, bucket.at_s = max(0.0, bucket.taken - drained), now_s


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

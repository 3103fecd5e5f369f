"""Rate limits: requests and tokens per minute, and requests at once, by key and by policy.

Each limit is a bucket that refills evenly: a minute's worth may come at once, then as much as the
minute has. Tokens are counted as expected when a request comes, and put right when it is done. A
limit holds in this process.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from router.errors import Refusal
from router.identity import Key

Unit = Literal["requests", "tokens", "concurrent"]

MINUTE_S: Final = 60.0
BUCKETS: Final = 100_000  # kept; one that is full again is as good as a new one


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` of a unit (per minute, or at once) for `whom` (`key=ab12`, `team=search`)."""

    whom: str
    unit: Unit
    most: int


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


@dataclass(slots=True)
class Admitted:
    """What a request took, to be given back or put right when it is done."""

    limits: Sequence[Limit]
    tokens: int
    headers: list[tuple[bytes, bytes]]
    ended: bool = False


@dataclass(slots=True)
class Rates:
    """All seconds are of one monotonic clock."""

    _buckets: OrderedDict[Limit, _Bucket] = field(default_factory=OrderedDict)
    _running: dict[Limit, int] = field(default_factory=dict)

    def admit(self, limits: Sequence[Limit], tokens: int, now_s: float) -> Admitted:
        """Take what the request needs of every limit, or of none and raise Refusal(429)."""
        short = [
            (wait_s, limit) for limit in limits if (wait_s := self._wait_s(limit, tokens, now_s))
        ]
        headers = self._headers(limits, now_s)
        if short:
            wait_s, limit = max(short, key=lambda pair: pair[0])
            raise _too_many(limit, wait_s, tokens, headers)
        for limit in limits:
            if limit.unit == "concurrent":
                self._running[limit] = self._running.get(limit, 0) + 1
            else:
                self._bucket(limit, now_s).left -= _need(limit, tokens)
        return Admitted(limits, tokens, self._headers(limits, now_s))

    def end(self, admitted: Admitted, used: int | None, now_s: float) -> None:
        """Give back what was taken too much: `used` tokens, or None if nobody knows. Once."""
        if admitted.ended:
            return
        admitted.ended = True
        for limit in admitted.limits:
            if limit.unit == "concurrent":
                self._running[limit] -= 1
                if not self._running[limit]:
                    del self._running[limit]
            elif limit.unit == "tokens" and used is not None:
                bucket = self._bucket(limit, now_s)
                bucket.left = min(float(limit.most), bucket.left + admitted.tokens - used)

    def _wait_s(self, limit: Limit, tokens: int, now_s: float) -> float:
        """Return the seconds until the limit has room for the request; 0: it has."""
        if limit.unit == "concurrent":
            return 1.0 if self._running.get(limit, 0) >= limit.most else 0.0
        need = min(
            _need(limit, tokens), limit.most
        )  # a request above a whole minute's takes it all
        lacking = need - self._bucket(limit, now_s).left
        return max(0.0, lacking * MINUTE_S / limit.most)

    def _bucket(self, limit: Limit, now_s: float) -> _Bucket:
        bucket = self._buckets.get(limit)
        if bucket is None:
            bucket = self._buckets[limit] = _Bucket(float(limit.most), now_s)
            while len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(limit)
            refilled = bucket.left + (now_s - bucket.at_s) * limit.most / MINUTE_S
            bucket.left, bucket.at_s = min(float(limit.most), refilled), now_s
        return bucket

    def _headers(self, limits: Sequence[Limit], now_s: float) -> list[tuple[bytes, bytes]]:
        """Return OpenAI's names for the tightest limit of each unit."""
        found: list[tuple[bytes, bytes]] = []
        for unit in ("requests", "tokens"):
            mine = [limit for limit in limits if limit.unit == unit]
            if not mine:
                continue
            tightest = min(mine, key=lambda limit: self._bucket(limit, now_s).left)
            left = self._bucket(tightest, now_s).left
            reset_s = (tightest.most - left) * MINUTE_S / tightest.most
            name = unit.encode()
            found += [
                (b"x-ratelimit-limit-" + name, b"%d" % tightest.most),
                (b"x-ratelimit-remaining-" + name, b"%d" % max(0, math.floor(left))),
                (b"x-ratelimit-reset-" + name, b"%.3fs" % max(0.0, reset_s)),
            ]
        return found


def limits_of(key: Key) -> list[Limit]:
    """Return the limits of a key."""
    whom = f"key={key.id}"
    units: tuple[tuple[Unit, int | None], ...] = (
        ("requests", key.requests_per_min),
        ("tokens", key.tokens_per_min),
        ("concurrent", key.concurrent),
    )
    return [Limit(whom, unit, most) for unit, most in units if most is not None]


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
    return Refusal(
        429,
        f"rate limit of {limit.whom}: {said}; try again in {wait} s",
        "rate_limit_exceeded",
        headers=((b"retry-after", b"%d" % wait), *headers),
    )

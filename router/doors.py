"""How many requests are in this process at once, and how many bytes of bodies: no more come in.

A request is counted before its body is read. One that doesn't say how long its body is counts as
the longest until it is there; one whose body goes to disk as it comes (an upload) holds no room for
bodies, and has places of its own (`Places`).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from router.errors import Refusal
from router.http import BODY_LIMIT_BYTES, Http
from router.metrics import Metrics
from router.refusals import shutting_down

BODIES_BYTES: Final = 256 << 20  # of all bodies; parsed, one takes several times its length
RETRY_AFTER: Final = (b"retry-after", b"1")
WAIT_FOR_PLACE: Final = (b"retry-after", b"5")


@dataclass(slots=True)
class Doors:
    """`most` requests at once. `tasks` are theirs."""

    metrics: Metrics
    most: int
    most_bytes: int = BODIES_BYTES
    closed: bool = False
    body_bytes: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @contextmanager
    def let_in(self, http: Http, *, held: bool = True) -> Iterator[None]:
        """Count a request in and out again; `held`: its body is held whole. Raises Refusal."""
        if self.closed:
            self.metrics.turned_away.labels("shutdown").inc()
            raise shutting_down()
        size = _length(http) if held else 0
        if len(self.tasks) >= self.most or self.body_bytes + size > self.most_bytes:
            self.metrics.turned_away.labels("in_flight").inc()
            said = "this router has as many requests as it can hold: try again"
            raise Refusal(503, said, "overloaded", headers=(RETRY_AFTER,))
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.body_bytes += size
        http.body_bytes = size
        try:
            yield
        finally:
            self.tasks.discard(task)
            self.body_bytes -= http.body_bytes

    def measured(self, http: Http, size: int) -> None:
        """Count the body as long as it turned out to be."""
        self.body_bytes += size - http.body_bytes
        http.body_bytes = size


@dataclass(slots=True)
class Places:
    """How many transfers of one kind (`what`) there are at once: of a tenant, and in all."""

    what: str
    of_tenant: int
    in_all: int
    taken: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Hold a place. Raises Refusal (429: the tenant has its own; 503: all are taken)."""
        if self.taken[tenant] >= self.of_tenant:
            said = f"this tenant has {self.of_tenant} {self.what} under way: wait for one to end"
            raise Refusal(429, said, "too_many_transfers", headers=(WAIT_FOR_PLACE,))
        if self.taken.total() >= self.in_all:
            said = f"this router has as many {self.what} as it can hold: try again"
            raise Refusal(503, said, "overloaded", headers=(WAIT_FOR_PLACE,))
        self.taken[tenant] += 1
        try:
            yield
        finally:
            self.taken[tenant] -= 1
            self.taken += Counter()  # drops those that have none


def _length(http: Http) -> int:
    told = http.headers.get(b"content-length", b"")
    return min(int(told), BODY_LIMIT_BYTES) if told.isdigit() else BODY_LIMIT_BYTES

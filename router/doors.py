"""How many requests are in this process at once, and how many bytes of bodies: no more come in.

A request is counted before its body is read. One that doesn't say how long its body is counts as
the longest until it is there.
"""

import asyncio
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
    def let_in(self, http: Http) -> Iterator[None]:
        """Count a request in and out again. Raises Refusal."""
        if self.closed:
            self.metrics.turned_away.labels("shutdown").inc()
            raise shutting_down()
        size = _length(http)
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


def _length(http: Http) -> int:
    told = http.headers.get(b"content-length", b"")
    return min(int(told), BODY_LIMIT_BYTES) if told.isdigit() else BODY_LIMIT_BYTES

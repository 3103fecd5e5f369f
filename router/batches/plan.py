"""What of all batches is put on the queue in this minute. Pure.

Outside the window nothing is, unless a deadline presses: so a closed window costs one look a minute
and no message. Of what may be sent, each tenant has its turn, its nearest deadline first.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from router.batches.aws_chunks import Chunk
from router.batches.pace import most_queued
from router.batches.port import Batch
from router.batches.schedule import Pace, Work


@dataclass(frozen=True, slots=True)
class Open:
    """A batch in progress, as far as it is known. `left`: lines without a result."""

    batch: Batch
    left: int
    chunks: Sequence[Chunk]


def due_now(found: Sequence[Open], pace: Pace, now_s: float) -> list[Chunk]:
    """Return the chunks to be put on the queue, in the order in which they are."""
    waiting = {
        one.batch.id: [chunk for chunk in one.chunks if chunk.due_s <= now_s]
        for one in found
        if pace.may_send(_work(one), now_s)
    }
    works = [
        replace(_work(one), left=len(waiting[one.batch.id]))
        for one in found
        if waiting.get(one.batch.id)
    ]
    shares = Pace(None, most_queued(pace.at_once)).shares(works, _under_way(found, now_s), now_s)
    return [chunk for name, many in shares.items() for chunk in waiting[name][:many]]


def _work(one: Open) -> Work:
    return Work(one.batch.id, one.batch.tenant, one.batch.expires_s, one.left)


def _under_way(found: Sequence[Open], now_s: float) -> Mapping[str, int]:
    """Return how many chunks of each tenant are on the queue or being sent."""
    many = Counter[str]()
    for one in found:
        many[one.batch.tenant] += sum(c.queued and c.due_s > now_s for c in one.chunks)
    return many

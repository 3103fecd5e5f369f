"""Chunks of a batch's lines: what a message of the queue names, and when it may be sent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from router.batches.aws_rows import ANYHOW, THERE, translated
from router.ledger.dynamo_table import Key, Table, Unmet

CHUNK: Final = 50  # lines: a function that sends ten at a time is done in minutes


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of one batch, by their numbers: a chunk, as a message of the queue names it."""

    batch_id: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of which some lines have no result. `due_s`: when it may go into the queue; `queued`:
    it is there, or being sent. `version`: of its last change.
    """

    span: Span
    due_s: float
    queued: bool = False
    version: int = field(default=0, compare=False)


class Chunks:
    """Raises StoreUnavailable."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, batch_id: str) -> Sequence[Chunk]:
        """Return those that have lines without a result, in order."""
        with translated("lines"):
            return [
                Chunk(
                    _span(batch_id, int(item["sk"])),
                    item["due_s"],
                    item.get("queued", False),
                    item.get("version", 0),
                )
                for item in self._table.query("#pk = :pk", {"pk": f"BCHUNKS#{batch_id}"})
            ]

    def queued(self, chunk: Chunk, until_s: float) -> None:
        """Say that a message names it, unless that was worked on already; unless it will be before,
        the chunk is due again then.
        """
        values = {"until": until_s, "was": chunk.version, "yes": True, "one": 1}
        change = "SET #due_s = :until, #queued = :yes ADD #version :one"
        with translated("lines"):
            try:
                self._table.update(chunk_key(chunk.span), change, "#version = :was", values)
            except Unmet:
                return

    def worked_on(self, span: Span, times: Iterable[float]) -> None:
        """Say when each line of a chunk that has no result is free; without one it is done."""
        due_s = min(times, default=None)
        with translated("lines"):
            if due_s is None:
                self._table.delete(chunk_key(span), ANYHOW, {})
                return
            try:
                change = "SET #due_s = :due, #queued = :no ADD #version :one"
                values = {"due": due_s, "no": False, "one": 1}
                self._table.update(chunk_key(span), change, THERE, values)
            except Unmet:
                return


def padded(number: int) -> str:
    """Return a sort key."""
    return f"{number:09d}"


def chunk_key(span: Span) -> Key:
    return f"BCHUNKS#{span.batch_id}", padded(span.first)


def chunk_of(batch_id: str, number: int) -> Span:
    """Return the chunk that has this line."""
    return _span(batch_id, (number - 1) // CHUNK * CHUNK + 1)


def _span(batch_id: str, first: int) -> Span:
    return Span(batch_id, first, first + CHUNK - 1)

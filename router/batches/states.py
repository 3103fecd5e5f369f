"""A batch's changes of status. Pure: each takes the batch as it is, which may have changed since
it was looked at, and leaves it as it is where the change no longer fits.

validating -> in_progress -> finalizing -> completed
validating -> failed; in_progress -> failed (its key ended), expired; either -> cancelling
cancelling -> cancelled
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from router.batches.port import ENDED, Batch, Counts, Mistake, Status

# A batch is kept as one row (400 KB on AWS), whatever a caller has made it say.
MOST_MISTAKES: Final = 100
MISTAKE_CHARACTERS: Final = 300
PARAM_CHARACTERS: Final = 60
Change = Callable[[Batch], Batch]


def validated(total: int, now_s: float) -> Change:
    """Its lines are all in the queue."""

    def to(batch: Batch) -> Batch:
        if batch.status != "validating":
            return batch
        return _moved(replace(batch, counts=Counts(total)), "in_progress", now_s)

    return to


def refused(mistakes: tuple[Mistake, ...], now_s: float) -> Change:
    """Its input file is no good: nothing of it was sent."""

    def to(batch: Batch) -> Batch:
        if batch.status not in ("validating", "cancelling"):
            return batch
        return _moved(replace(batch, mistakes=_told(mistakes)), "failed", now_s)

    return to


def cancelled_by_caller(now_s: float) -> Change:
    """No more of it is sent; what is under way ends first."""

    def to(batch: Batch) -> Batch:
        if batch.status not in ("validating", "in_progress"):
            return batch
        return _moved(batch, "cancelling", now_s)

    return to


def finalizing(now_s: float) -> Change:
    """Every line has its result."""

    def to(batch: Batch) -> Batch:
        return _moved(batch, "finalizing", now_s) if batch.status == "in_progress" else batch

    return to


def ended(
    status: Status,
    counts: Counts,
    files: tuple[str | None, str | None],
    now_s: float,
    mistakes: tuple[Mistake, ...] = (),
) -> Change:
    """Its output and error files, of these ids, are made."""

    def to(batch: Batch) -> Batch:
        if batch.status in ENDED:
            return batch
        made = replace(
            batch,
            counts=counts,
            output_file_id=files[0],
            error_file_id=files[1],
            mistakes=_told(batch.mistakes + mistakes),
        )
        return _moved(made, status, now_s)

    return to


def _told(mistakes: tuple[Mistake, ...]) -> tuple[Mistake, ...]:
    """Return the first ones, none of them longer than is read."""
    return tuple(
        replace(
            one,
            message=one.message[:MISTAKE_CHARACTERS],
            param=None if one.param is None else one.param[:PARAM_CHARACTERS],
        )
        for one in mistakes[:MOST_MISTAKES]
    )


def _moved(batch: Batch, status: Status, now_s: float) -> Batch:
    return replace(batch, status=status, times={**batch.times, status: int(now_s)})

"""What is done with a whole batch, wherever its lines are sent from: its file is checked, its lines
are put into the queue, its results become files. Each may be broken off at any point and done
again: nothing is there twice. All of it blocks.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from router.batches import states
from router.batches.forms import result_line
from router.batches.port import (
    Batch,
    Counts,
    File,
    Job,
    Mistake,
    Purpose,
    Result,
    Status,
    Store,
)
from router.batches.validate import Checker, body_of

OUTPUT, ERRORS = "output", "errors"
OUTPUT_PURPOSE: Final[Purpose] = "batch_output"
GONE: Final = Mistake("input_file_gone", "the input file was removed or has expired")
EXPIRED: Final = ("batch_expired", "it was not answered before the batch's deadline")
CANCELLED: Final = ("batch_cancelled", "the batch was cancelled before it was sent")


def prepare(store: Store, batch: Batch, now: Callable[[], float]) -> None:
    """Check a batch that is `validating`, and put its lines into the queue."""
    source = store.files.find(batch.input_file_id)
    if source is None:
        store.batches.change(batch.id, states.refused((GONE,), now()))
        return
    checker = Checker(batch.endpoint)
    lines = list(checker.lines(store.files.read(source)))
    if not checker.mistakes:  # none is sent before all are known to be good
        store.queue.put(batch.id, lines)
        store.batches.change(batch.id, states.validated(len(lines), now()))
    else:
        store.batches.change(batch.id, states.refused(tuple(checker.mistakes), now()))


def line_body(store: Store, source: File, job: Job) -> bytes:
    """Return the request body of a line."""
    line = job.line
    return body_of(b"".join(store.files.read(source, line.offset, line.length)))


def finish(
    store: Store,
    batch: Batch,
    now: Callable[[], float],
    status: Status,
    left: tuple[str, str] | None = None,
    mistakes: tuple[Mistake, ...] = (),
) -> None:
    """Write the output and error files, and end the batch with this status. `left`: code and
    message of the lines that have no result.
    """
    if left is not None:
        store.queue.end(batch.id, *left)
    counts = store.queue.counts(batch.id)
    good = _written(store, batch, OUTPUT, store.queue.results(batch.id, ok=True), now)
    bad = _written(store, batch, ERRORS, store.queue.results(batch.id, ok=False), now)
    total = max(counts.total, batch.counts.total)
    counts = Counts(total, counts.completed, counts.failed)
    store.batches.change(batch.id, states.ended(status, counts, (good, bad), now(), mistakes))
    store.queue.forget(batch.id)


def file_id_of(batch_id: str, kind: str) -> str:
    """Return the id of a batch's output or error file: the same if it is made again."""
    return f"file-{hashlib.sha256(f'{batch_id} {kind}'.encode()).hexdigest()[:24]}"


def _written(
    store: Store, batch: Batch, kind: str, results: Iterable[Result], now: Callable[[], float]
) -> str | None:
    """Return the id of the file; None: there is nothing to be in it."""
    rows = iter(results)
    first = next(rows, None)
    if first is None:
        return None
    created_s, name = int(now()), f"{batch.id}_{kind}.jsonl"
    file_id = file_id_of(batch.id, kind)
    ends_s = created_s + batch.files_s
    made = (batch.tenant, batch.key.id, OUTPUT_PURPOSE, name, 0, created_s, ends_s)
    upload = store.files.begin(File(file_id, *made))
    with contextlib.ExitStack() as undo:
        undo.callback(upload.drop)
        upload.write(result_line(batch.id, first))
        for result in rows:
            upload.write(result_line(batch.id, result))
        upload.done(name)
        undo.pop_all()
    return file_id

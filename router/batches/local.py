"""The embedded store: ``<state>/batches.db`` and ``<state>/files/``. All processes that have the
same state folder share it; one of them, whoever holds ``<state>/batches.lock``, sends the lines.

Killed at any point it loses no line and keeps one result of each. What was sent when the process
died is sent again, once what was set aside for it is given back.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from router.batches.forms import batch_of, batch_row
from router.batches.local_db import Db, refused_by_disk
from router.batches.local_files import GONE_S, REMEMBER, LocalFiles, paged
from router.batches.port import (
    ENDED,
    KEPT_S,
    MOST_BATCHES,
    Asked,
    Batch,
    Counts,
    File,
    Job,
    Line,
    Page,
    Result,
    TooManyBatches,
    gone_s,
)
from router.runtime import LOG

MOST_BYTES: Final = 100_000_000  # of one file
PUT_AT_ONCE: Final = 1000  # lines in one transaction: requests wait for it
READ_AT_ONCE: Final = 100  # results
REMOVE_AT_ONCE: Final = 500  # lines, results or batches


_SOME: Final = (
    "DELETE FROM {0} WHERE batch = ? AND number IN "
    "(SELECT number FROM {0} WHERE batch = ? ORDER BY number LIMIT ?)"
)
_REMEMBER: Final = REMEMBER.format("batches")
_SOME_LINES, _SOME_RESULTS = _SOME.format("lines"), _SOME.format("results")


class LocalBatches:
    """The port `Batches`."""

    def __init__(self, db: Db) -> None:
        self._db = db
        self._unread: set[str] = set()  # batches that the log has

    def add(self, batch: Batch, most: int = MOST_BATCHES) -> None:
        row = (batch.id, batch.tenant, batch.status in ENDED, batch.expires_s, batch_row(batch))
        with self._db.writing():
            asked = "SELECT count(*) FROM batches WHERE NOT over AND tenant = ?"
            if self._db.run(asked, (batch.tenant,)).fetchone()[0] >= most:
                raise TooManyBatches
            self._db.run(
                "INSERT INTO batches (id, tenant, over, expires_s, row) VALUES (?, ?, ?, ?, ?)", row
            )

    def find(self, batch_id: str) -> Batch | None:
        rows = self._db.rows("SELECT row FROM batches WHERE id = ?", batch_id)
        return batch_of(rows[0][0]) if rows else None

    def page(self, asked: Asked) -> Page[Batch]:
        rows, more = paged(self._db, "batches", "row", "tenant = ?", [asked.tenant], asked)
        return Page([batch_of(row[0]) for row in rows], more)

    def change(self, batch_id: str, to: Callable[[Batch], Batch]) -> Batch | None:
        with self._db.writing():
            found = self.find(batch_id)
            if found is None:
                return None
            batch = to(found)
            self._db.run(
                "UPDATE batches SET row = ?, over = ? WHERE id = ?",
                (batch_row(batch), batch.status in ENDED, batch_id),
            )
        return batch

    def reader_of(self, file: File) -> str | None:
        using = (one for one in self.unfinished() if one.tenant == file.tenant)
        return next((one.id for one in using if one.input_file_id == file.id), None)

    def unfinished(self) -> Sequence[Batch]:
        rows = self._db.rows("SELECT row FROM batches WHERE NOT over ORDER BY expires_s, n")
        return [batch_of(row[0]) for row in rows]

    def sweep(self, now_s: float) -> None:
        """Forget those that are long over, as the table on AWS does; their files went before."""
        with self._db.writing():
            self._db.run("DELETE FROM batches_gone WHERE at_s <= ?", (now_s - GONE_S,))
        rows = self._db.rows(
            "SELECT id, row FROM batches WHERE over AND expires_s <= ?", now_s - KEPT_S
        )
        gone = [name for name, row in rows if self._is_gone(name, row, now_s)]
        for begin in range(0, len(gone), REMOVE_AT_ONCE):
            with self._db.writing():
                some = gone[begin : begin + REMOVE_AT_ONCE]
                self._db.run_many(f"{_REMEMBER} WHERE id = ?", [(now_s, name) for name in some])
                self._db.run_many("DELETE FROM batches WHERE id = ?", [(name,) for name in some])
            self._db.let_others()

    def _is_gone(self, name: str, row: bytes, now_s: float) -> bool:
        """Tell it; one that nobody can read stays, and is told of once."""
        try:
            return gone_s(batch_of(row)) <= now_s
        except (ValueError, KeyError, TypeError) as exc:
            if name not in self._unread:
                LOG.error("batch %s can't be read (%s): it is kept", name, type(exc).__name__)
            self._unread.add(name)
            return False


class LocalQueue:
    """The port `Queue`."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, batch_id: str, lines: Iterable[Line]) -> None:
        rows: list[tuple[object, ...]] = []
        for line in lines:
            rows.append((batch_id, line.number, line.custom_id, line.offset, line.length))
            if len(rows) >= PUT_AT_ONCE:
                self._put(rows)
                rows = []
        self._put(rows)

    def take(self, batch_id: str, most: int, now_s: float, ids: Callable[[], str]) -> Sequence[Job]:
        with self._db.writing():
            found = self._db.run(
                "SELECT number, custom_id, begins, length, sends, failures FROM lines "
                "WHERE batch = ? AND request_id IS NULL AND not_before_s <= ? "
                "ORDER BY number LIMIT ?",
                (batch_id, now_s, most),
            ).fetchall()
            jobs = [Job(batch_id, Line(*row[:4]), ids(), row[4], row[5]) for row in found]
            self._db.run_many(
                "UPDATE lines SET request_id = ? WHERE batch = ? AND number = ?",
                [(job.request_id, batch_id, job.line.number) for job in jobs],
            )
        return jobs

    def died(self) -> Sequence[Job]:
        rows = self._db.rows(
            "SELECT batch, number, custom_id, begins, length, request_id, sends, failures "
            "FROM lines WHERE request_id IS NOT NULL"
        )
        return [Job(row[0], Line(*row[1:5]), *row[5:]) for row in rows]

    def later(self, job: Job, not_before_s: float, reason: str, *, failed: bool = False) -> None:
        with self._db.writing():
            self._db.run(
                "UPDATE lines SET request_id = NULL, not_before_s = ?, reason = ?, sends = ?, "
                "failures = failures + ? WHERE batch = ? AND number = ? AND request_id = ?",
                (
                    *(not_before_s, reason, job.sends + 1, failed),
                    *(job.batch_id, job.line.number, job.request_id),
                ),
            )

    def keep(self, job: Job, result: Result) -> bool:
        with self._db.writing():
            kept = self._keep(job.batch_id, [result]) == 1
            place = (job.batch_id, job.line.number)
            self._db.run("DELETE FROM lines WHERE batch = ? AND number = ?", place)
        return kept

    def end(self, batch_id: str, code: str, message: str) -> None:
        while self._end_some(batch_id, code, message):
            self._db.let_others()

    def _end_some(self, batch_id: str, code: str, message: str) -> bool:
        with self._db.writing():
            rows = self._db.run(
                f"{_SOME_LINES} RETURNING number, custom_id, reason",
                (batch_id, batch_id, REMOVE_AT_ONCE),
            ).fetchall()
            results = [
                Result(n, name, "", None, b"", code, message + (f" (last: {why})" if why else ""))
                for n, name, why in rows
            ]
            self._keep(batch_id, results)
        return bool(rows)

    def counts(self, batch_id: str) -> Counts:
        asked = "SELECT count(*), coalesce(sum(ok), 0) FROM results WHERE batch = ?"
        ((done, completed),) = self._db.rows(asked, batch_id)
        ((left,),) = self._db.rows("SELECT count(*) FROM lines WHERE batch = ?", batch_id)
        return Counts(left + done, completed, done - completed)

    def results(self, batch_id: str, *, ok: bool) -> Iterator[Result]:
        after = 0
        while True:
            rows = self._db.rows(
                "SELECT number, custom_id, request_id, status, body, code, message FROM results "
                "WHERE batch = ? AND number > ? AND ok = ? ORDER BY number LIMIT ?",
                *(batch_id, after, ok, READ_AT_ONCE),
            )
            if not rows:
                return
            yield from (Result(*row) for row in rows)
            after = rows[-1][0]

    def forget(self, batch_id: str) -> None:
        for some in (_SOME_LINES, _SOME_RESULTS):
            while self._forget_some(some, batch_id):
                self._db.let_others()

    def forget_ended(self) -> None:
        """Do it for all batches that are over: a process may have died as it ended one."""
        rows = self._db.rows(
            "SELECT id FROM batches WHERE over AND (EXISTS (SELECT 1 FROM lines WHERE batch = id) "
            "OR EXISTS (SELECT 1 FROM results WHERE batch = id))"
        )
        for row in rows:
            self.forget(row[0])

    def _forget_some(self, some: str, batch_id: str) -> bool:
        with self._db.writing():
            return self._db.run(some, (batch_id, batch_id, REMOVE_AT_ONCE)).rowcount > 0

    def _put(self, rows: list[tuple[object, ...]]) -> None:
        with self._db.writing():
            self._db.run_many(
                "INSERT OR IGNORE INTO lines (batch, number, custom_id, begins, length) "
                "VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def _keep(self, batch_id: str, results: Sequence[Result]) -> int:
        return self._db.run_many(
            "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(batch_id, one.number, one.custom_id, one.request_id, one.ok),
                    *(one.status, one.body, one.code, one.message),
                )
                for one in results
            ],
        ).rowcount


class LocalStore:
    """The port `Store`. Raises StoreUnavailable or StoreFull where the folder can't be used."""

    remote = False
    most_bytes = MOST_BYTES

    def __init__(self, state: Path, quota_bytes: int, now: Callable[[], float]) -> None:
        try:
            state.mkdir(parents=True, exist_ok=True)
            folder = state / "files"
            folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = os.open(state / "batches.lock", flags, 0o600)
        except OSError as exc:
            raise refused_by_disk(exc) from exc
        self._db = Db(state / "batches.db")
        self.files = LocalFiles(self._db, folder, quota_bytes, now)
        self.batches = LocalBatches(self._db)
        self.queue = LocalQueue(self._db)

    def leads(self) -> bool:
        """Tell whether it is this process that sends the lines: until it ends, however it does."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def sweep(self, now_s: float) -> int:
        removed = self.files.sweep(now_s)  # first: what was promised to be gone by then
        self.queue.forget_ended()
        self.batches.sweep(now_s)
        return removed

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

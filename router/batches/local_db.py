"""``<state>/batches.db``: its tables, and transactions that happen whole or not at all."""

import contextlib
import errno
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from router import broken_db, wal
from router.batches.port import StoreFull, StoreUnavailable

WAIT_S: Final = 5.0  # for a sibling's transaction
PAUSE_S: Final = 0.002
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,
    key_id TEXT NOT NULL, purpose TEXT NOT NULL, filename TEXT NOT NULL, bytes INTEGER NOT NULL,
    created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL, whole INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS files_of ON files (tenant, n);
CREATE TABLE IF NOT EXISTS files_gone (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, n INTEGER NOT NULL, at_s REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,
    over INTEGER NOT NULL, expires_s INTEGER NOT NULL, row BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batches_gone (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, n INTEGER NOT NULL, at_s REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batches_of ON batches (tenant, n);
CREATE INDEX IF NOT EXISTS batches_open ON batches (expires_s) WHERE NOT over;
CREATE INDEX IF NOT EXISTS batches_over ON batches (expires_s) WHERE over;
CREATE TABLE IF NOT EXISTS lines (
    batch TEXT NOT NULL, number INTEGER NOT NULL, custom_id TEXT NOT NULL,
    begins INTEGER NOT NULL, length INTEGER NOT NULL, sends INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0, not_before_s REAL NOT NULL DEFAULT 0,
    request_id TEXT, reason TEXT, PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lines_taken ON lines (batch) WHERE request_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS results (
    batch TEXT NOT NULL, number INTEGER NOT NULL, custom_id TEXT NOT NULL,
    request_id TEXT NOT NULL, ok INTEGER NOT NULL, status INTEGER, body BLOB NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, UNIQUE (batch, number)
) STRICT;
CREATE INDEX IF NOT EXISTS results_of ON results (batch, ok);
"""


class Db:
    """Any thread may use it, one at a time; other processes have their own.

    WAL with synchronous=NORMAL: what is committed survives the process's death at any point.
    Errors are told as the port has them: StoreFull, StoreUnavailable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one = threading.RLock()
        with self.translated():
            path.touch(mode=0o600)
            self._db = sqlite3.connect(
                path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            self.run = self._db.execute
            self.run_many = self._db.executemany
            try:
                wal.keep_log(self._db)
                self.run("PRAGMA synchronous=NORMAL")
                self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
            except BaseException:
                self._db.close()
                raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Do what is within as one change, seen by others whole or not at all."""
        with self._one, self.translated():
            self.run("BEGIN IMMEDIATE")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.DatabaseError):
                    if self._db.in_transaction:
                        self.run("ROLLBACK")
                raise

    def rows(self, asked: str, *values: object) -> list[tuple[Any, ...]]:
        with self._one, self.translated():
            return list(self.run(asked, values))

    def let_others(self) -> None:
        """Wait a moment between two of many transactions: a lock that is taken again at once is
        never anybody else's.
        """
        time.sleep(PAUSE_S)

    def close(self) -> None:
        with self._one:
            self._db.close()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # our bug
        except sqlite3.DatabaseError as exc:
            said = broken_db.why(self._path, exc)
            if broken_db.code(exc) == sqlite3.SQLITE_FULL:
                raise StoreFull(said) from exc
            raise StoreUnavailable(said) from exc
        except OSError as exc:
            raise refused_by_disk(exc) from exc


def refused_by_disk(exc: OSError) -> StoreFull | StoreUnavailable:
    """Return what an error of the file system means; no path of it names more than an id."""
    said = f"the state folder: {exc.strerror}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(said)
    return StoreUnavailable(said)

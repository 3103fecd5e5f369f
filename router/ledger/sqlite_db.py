"""One connection to ``sluice.db``: transactions that happen whole or not at all."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from router import broken_db, wal
from router.ledger.port import LedgerUnavailable
from router.ledger.sqlite_schema import SCHEMA

T = TypeVar("T")
OPEN_WAIT_S = 5.0  # nobody waits for an answer yet
CHECKPOINT_PAGES = 4000  # of 4 KiB: a pause to write back every few hundred requests
# What is our bug, not the store's state: it flies.
_OURS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)


class Database:
    """Any thread may use it, one at a time. A process opens its own, after it was forked.

    WAL with synchronous=NORMAL: what is committed survives the process's death at any point; at
    power loss the last commits may be gone, those before them are whole.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        """Open or create it; `wait_s`: how long to wait for another process's transaction.

        Once that was in vain nobody waits any more, until somebody gets in again: of the requests
        that come while the file is held for long, one holds the others up, not every one.
        """
        self._path = path
        self._wait_ms = round(wait_s * 1000)
        self._waited_in_vain = False
        self._one = threading.Lock()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = sqlite3.connect(
                path, timeout=OPEN_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self.run = self._db.execute
            path.chmod(0o600)
            try:
                wal.keep_log(self._db)
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
                self._db.execute("PRAGMA recursive_triggers=ON")  # REPLACE may not delete either
                self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
                self._wait_for(self._wait_ms)
            except BaseException:
                self._db.close()
                raise

    def write(self, work: Callable[[], T]) -> T:
        """Do the work in one transaction that no other process's can come between."""
        with self._one:
            run = self.run
            try:
                run("BEGIN IMMEDIATE")
                if self._waited_in_vain:
                    self._wait_for(self._wait_ms)
                done = work()
                run("COMMIT")
            except BaseException as exc:
                self._roll_back()
                if isinstance(exc, sqlite3.DatabaseError) and not isinstance(exc, _OURS):
                    if broken_db.code(exc) == sqlite3.SQLITE_BUSY and not self._waited_in_vain:
                        self._wait_for(0)
                    raise LedgerUnavailable(broken_db.why(self._path, exc)) from exc
                raise
            return done

    def read(self, work: Callable[[], T]) -> T:
        with self._one, self._translated():
            return work()

    def rows(self, asked: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Read as of now, on a connection of its own: a slow reader holds nobody up."""
        with self._translated():
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
                yield from db.execute(asked, values)

    def close(self) -> None:
        with self._one:
            self._db.close()

    def _roll_back(self) -> None:
        # A full disk has SQLite roll back by itself; a broken file may fail here once more.
        with contextlib.suppress(sqlite3.DatabaseError):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _wait_for(self, wait_ms: int) -> None:
        self.run(f"PRAGMA busy_timeout={wait_ms}")
        self._waited_in_vain = wait_ms != self._wait_ms

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _OURS:
            raise
        except (sqlite3.DatabaseError, OSError) as exc:
            raise LedgerUnavailable(broken_db.why(self._path, exc)) from exc

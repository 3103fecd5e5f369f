"""One connection to ``sluice.db``: transactions that happen whole or not at all."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from router.ledger.port import LedgerUnavailable
from router.ledger.sqlite_schema import SCHEMA

T = TypeVar("T")
CHECKPOINT_PAGES = 4000  # of 4 KiB: a pause to write back every few hundred requests
# What is our bug, not the store's state: it flies.
_OURS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)


class Database:
    """Any thread may use it, one at a time. A process opens its own, after it was forked.

    WAL with synchronous=NORMAL: what is committed survives the process's death at any point; at
    power loss the last commits may be gone, those before them are whole.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        """Open or create it; `wait_s`: how long to wait for another process's transaction."""
        self._path = path
        self._one = threading.Lock()
        with _translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = sqlite3.connect(
                path, timeout=wait_s, isolation_level=None, check_same_thread=False
            )
            path.chmod(0o600)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
                self._db.execute("PRAGMA recursive_triggers=ON")  # REPLACE may not delete either
                self._db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
            except BaseException:
                self._db.close()
                raise
        self.run = self._db.execute

    def write(self, work: Callable[[], T]) -> T:
        """Do the work in one transaction that no other process's can come between."""
        with self._one:
            run = self.run
            try:
                run("BEGIN IMMEDIATE")
                done = work()
                run("COMMIT")
            except BaseException as exc:
                self._roll_back()
                if isinstance(exc, sqlite3.DatabaseError) and not isinstance(exc, _OURS):
                    raise LedgerUnavailable(_why(exc)) from exc
                raise
            return done

    def read(self, work: Callable[[], T]) -> T:
        with self._one, _translated():
            return work()

    def rows(self, asked: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Read as of now, on a connection of its own: a slow reader holds nobody up."""
        with _translated():
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


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _OURS:
        raise
    except (sqlite3.DatabaseError, OSError) as exc:
        raise LedgerUnavailable(_why(exc)) from exc


def _why(exc: BaseException) -> str:
    return f"the ledger could not be used: {exc}"

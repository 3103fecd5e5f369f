"""How ``sluice.db`` is opened beside others: its write-ahead log."""

import sqlite3
import time
from typing import Final

from router import broken_db

WITHIN_S: Final = 5.0  # what sqlite3.connect has SQLite wait for everything else
EVERY_S: Final = 0.005


def keep_log(db: sqlite3.Connection) -> None:
    """Have the file keep a write-ahead log. Raises sqlite3.Error.

    SQLite waits for nobody here, whatever the connection's timeout: of several that open a new
    file at once, some would be told at once that it is locked.
    """
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if broken_db.code(exc) != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(EVERY_S)
        else:
            return

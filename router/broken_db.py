"""What is told of ``sluice.db`` when SQLite can't use it, and what to do if it is broken."""

import sqlite3
from pathlib import Path

_ADVICE = (
    "the file is broken, or none of Sluice's; stop what uses it, keep a copy of it and of what "
    "lies beside it (-wal, -shm), and go on as docs/ledger.md has it under `A broken file`"
)


def why(path: Path, exc: BaseException) -> str:
    """Return what is wrong with the file, and where it is broken what to do."""
    broken = code(exc) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return f"`{path}` can't be used: {exc}{f' ({_ADVICE})' if broken else ''}"


def code(exc: BaseException) -> int:
    """Return SQLite's primary code; 0: the error is none of SQLite's."""
    return int(getattr(exc, "sqlite_errorcode", None) or 0) & 0xFF

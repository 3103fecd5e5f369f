"""The store of API keys in ``<state>/sluice.db``. Only hashes are kept (router.key_rows)."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router import broken_db, wal
from router.identity import Key
from router.key_rows import (
    Ask,
    Cached,
    Ended,
    KeysUnreadable,
    Stored,
    UnknownKey,
    hash_of,
    key_of,
    new_id,
    new_text,
    rights_json,
)

FILE = "sluice.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, row TEXT NOT NULL, created TEXT NOT NULL,
    revoked TEXT, rotated TEXT, old_hash BLOB, old_until TEXT
) STRICT
"""
_SINCE_ROTATION = ("revoked TEXT", "rotated TEXT", "old_hash BLOB", "old_until TEXT")
_ASKED = "SELECT id, hash, row, created, revoked, rotated, old_hash, old_until FROM keys"


class KeyStore:
    """The port `Keys`. Raises KeysUnreadable if the file can't be used."""

    remote = False

    def __init__(self, state: Path, clock: Callable[[], float]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._path = state / FILE
        with self._translated():
            self._db = sqlite3.connect(self._path, isolation_level=None)
            try:
                self._path.chmod(0o600)
                wal.keep_log(self._db)
                self._db.execute(_SCHEMA)
                self._migrate()
            except BaseException:
                self._db.close()
                raise
        self._cached = Cached(self.get, clock)

    def known(self, text: str, at: str) -> Key | Ask | None:
        return self._cached.known(text, at)

    def find(self, text: str, at: str) -> Key | None:
        return self._cached.find(text, at)

    def create(self, key: Key, at: str) -> str:
        key_id = new_id()
        text = new_text(key_id)
        with self._translated():
            self._db.execute(
                "INSERT INTO keys (id, hash, row, created) VALUES (?, ?, ?, ?)",
                (key_id, hash_of(text), rights_json(key), at),
            )
        return text

    def all(self) -> list[Stored]:
        with self._translated():
            return [_stored(row) for row in self._db.execute(f"{_ASKED} ORDER BY created, id")]

    def get(self, key_id: str) -> Stored:
        with self._translated():
            found = self._db.execute(f"{_ASKED} WHERE id = ?", (key_id,)).fetchone()
        if found is None:
            raise UnknownKey(key_id)
        return _stored(found)

    def revoke(self, key_id: str, at: str) -> None:
        with self._translated(), self._alone():
            stored = self.get(key_id)
            if stored.revoked is not None:
                raise Ended(f"was revoked at {stored.revoked}")
            self._db.execute(
                "UPDATE keys SET revoked = ?, old_hash = NULL, old_until = NULL WHERE id = ?",
                (at, key_id),
            )

    def rotate(self, key_id: str, at: str, old_until: str | None = None) -> str:
        text = new_text(key_id)
        with self._translated(), self._alone():
            stored = self.get(key_id)
            stored.may_change(at)
            old = None if old_until is None else stored.hash
            self._db.execute(
                "UPDATE keys SET hash = ?, rotated = ?, old_hash = ?, old_until = ? WHERE id = ?",
                (hash_of(text), at, old, old_until, key_id),
            )
        return text

    def close(self) -> None:
        self._db.close()

    def _migrate(self) -> None:
        """Give a table of version 0.1 the columns that came later."""
        if not self._lacking():
            return
        with self._alone():  # of two processes that start at once, one finds it done
            for column in self._lacking():
                self._db.execute(f"ALTER TABLE keys ADD COLUMN {column}")

    def _lacking(self) -> list[str]:
        have = {row[1] for row in self._db.execute("PRAGMA table_info(keys)")}
        return [column for column in _SINCE_ROTATION if column.split()[0] not in have]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make what is done within one change, seen by others whole or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise KeysUnreadable(broken_db.why(self._path, exc)) from exc


def _stored(row: Sequence[Any]) -> Stored:
    key_id, kept_hash, written, created, revoked, rotated, old_hash, old_until = row
    key = key_of(key_id, written)
    return Stored(key, kept_hash, created, revoked, rotated, old_hash, old_until)

"""The store of API keys. Only hashes are kept.

A key is ``sk-sluice-<id>-<secret>``: the id is public and finds the row, the secret has 160 random
bits, so that one SHA-256 protects it as well as a slow hash would.

* the caller's    UnknownKey   no key has this id
                  Ended        the key is revoked or has expired: there is nothing left to change
* the machine's   sqlite3.Error   the store can't be read or written, or a row of it not understood
"""

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from policies.match import KEY_PREFIX
from router.identity import LIMITS, Key

FILE = "sluice.db"
PREFIX = KEY_PREFIX
REREAD_AFTER_S = 2.0  # how long a change of a key may take to be seen by a running router

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, row TEXT NOT NULL, created TEXT NOT NULL,
    revoked TEXT, rotated TEXT, old_hash BLOB, old_until TEXT
) STRICT
"""
_SINCE_ROTATION = ("revoked TEXT", "rotated TEXT", "old_hash BLOB", "old_until TEXT")
_ASKED = "SELECT id, hash, row, created, revoked, rotated, old_hash, old_until FROM keys"
_IN_ROW = tuple(field.name for field in fields(Key) if field.name != "id")


class UnknownKey(Exception):  # noqa: N818  (what it says)
    pass


class Ended(Exception):  # noqa: N818  (what it says)
    """Says how and when."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A key as it is kept. Times are RFC 3339 in UTC; `old_until`: the secret before the last
    rotation works until then.
    """

    key: Key
    hash: bytes
    created: str
    revoked: str | None
    rotated: str | None
    old_hash: bytes | None
    old_until: str | None

    def state(self, at: str) -> str:
        """Return `active`, `revoked` or `expired`."""
        if self.revoked is not None:
            return "revoked"
        expires = self.key.expires
        return "expired" if expires is not None and expires <= at else "active"

    def old_works(self, at: str) -> bool:
        return self.old_until is not None and at < self.old_until and self.revoked is None

    def opened_by(self, given: bytes, at: str) -> bool:
        """Tell whether this is the hash of a secret of the key's, compared in constant time."""
        if hmac.compare_digest(self.hash, given):
            return True
        old = self.old_hash
        return old is not None and self.old_works(at) and hmac.compare_digest(old, given)


_NEVER: tuple[float, None] = (float("-inf"), None)


class KeyStore:
    """Keys in ``<state>/sluice.db``. Reads are cached for REREAD_AFTER_S."""

    def __init__(self, state: Path, clock: Callable[[], float]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = state / FILE
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(_SCHEMA)
            self._migrate()
        except BaseException:
            self._db.close()
            raise
        self._clock = clock
        self._cache: dict[str, tuple[float, Stored]] = {}

    def create(self, key: Key, at: str) -> str:
        """Store the key under a new id and return its text, which is never seen again."""
        key_id = secrets.token_hex(4)
        text = _new_text(key_id)
        row = {name: getattr(key, name) for name in _IN_ROW}
        row = {k: v for k, v in row.items() if k not in LIMITS or v is not None}
        self._db.execute(
            "INSERT INTO keys (id, hash, row, created) VALUES (?, ?, ?, ?)",
            (key_id, hash_of(text), json.dumps(row), at),
        )
        return text

    def find(self, text: str, at: str) -> Key | None:
        """Return the key, or None if it is unknown, expired or revoked."""
        key_id, given = id_of(text), hash_of(text)
        read_at, stored = self._cache.get(key_id, _NEVER)
        fresh = self._clock() - read_at <= REREAD_AFTER_S
        if stored is None or not fresh or not stored.opened_by(given, at):
            stored = self._read(key_id)  # a secret that is new must not wait for the old to age
            if stored is None or not stored.opened_by(given, at):
                return None
        return stored.key if stored.state(at) == "active" else None

    def all(self) -> list[Stored]:
        """Return every key, in the order they were made."""
        return [_stored(row) for row in self._db.execute(f"{_ASKED} ORDER BY created, id")]

    def get(self, key_id: str) -> Stored:
        """Return the key; raise UnknownKey."""
        found = self._db.execute(f"{_ASKED} WHERE id = ?", (key_id,)).fetchone()
        if found is None:
            raise UnknownKey(key_id)
        return _stored(found)

    def revoke(self, key_id: str, at: str) -> None:
        """Let no secret of the key work any more; raise UnknownKey or Ended."""
        with self._alone():
            stored = self.get(key_id)
            if stored.revoked is not None:
                raise Ended(f"was revoked at {stored.revoked}")
            self._db.execute(
                "UPDATE keys SET revoked = ?, old_hash = NULL, old_until = NULL WHERE id = ?",
                (at, key_id),
            )

    def rotate(self, key_id: str, at: str, old_until: str | None = None) -> str:
        """Give the key a new secret and return its text; the last one works until `old_until`,
        any before that no more. Raise UnknownKey or Ended.
        """
        text = _new_text(key_id)
        with self._alone():
            stored = self.get(key_id)
            if stored.revoked is not None:
                raise Ended(f"was revoked at {stored.revoked}")
            if stored.state(at) == "expired":
                raise Ended(f"expired at {stored.key.expires}")
            old = None if old_until is None else stored.hash
            self._db.execute(
                "UPDATE keys SET hash = ?, rotated = ?, old_hash = ?, old_until = ? WHERE id = ?",
                (hash_of(text), at, old, old_until, key_id),
            )
        return text

    def close(self) -> None:
        self._db.close()

    def _read(self, key_id: str) -> Stored | None:
        try:
            stored = self.get(key_id)
        except UnknownKey:
            self._cache.pop(key_id, None)
            return None
        self._cache[key_id] = (self._clock(), stored)
        return stored

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


def id_of(text: str) -> str:
    """Return the public id of what may be a key, or an id, with or without its prefix."""
    return text.removeprefix(PREFIX).partition("-")[0]


def stamp(at: datetime) -> str:
    """Return a moment of UTC in the form that keys are compared in."""
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def _new_text(key_id: str) -> str:
    return f"{PREFIX}{key_id}-{secrets.token_hex(20)}"


def _stored(row: Sequence[Any]) -> Stored:
    key_id, kept_hash, written, created, revoked, rotated, old_hash, old_until = row
    try:
        rights = json.loads(written)
        rights = {k: tuple(v) if isinstance(v, list) else v for k, v in rights.items()}
        key = Key(id=key_id, **rights)
    except (ValueError, TypeError, AttributeError):
        said = f"key `{key_id}` is not of a form that this version reads"
        raise sqlite3.DataError(said) from None
    return Stored(key, kept_hash, created, revoked, rotated, old_hash, old_until)


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

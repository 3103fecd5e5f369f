"""The store of API keys. Only hashes are kept.

A key is ``sk-sluice-<id>-<secret>``: the id is public and finds the row, the secret has 160 random
bits, so that one SHA-256 protects it as well as a slow hash would.
"""

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from router.identity import Key

PREFIX = "sk-sluice-"
REREAD_AFTER_S = 2.0  # how long a change of a key may take to be seen by a running router

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, row TEXT NOT NULL, created TEXT NOT NULL
) STRICT
"""


class KeyStore:
    """Keys in ``<state>/sluice.db``. Reads are cached for REREAD_AFTER_S."""

    def __init__(self, state: Path, clock: Callable[[], float]) -> None:
        state.mkdir(parents=True, exist_ok=True)
        path = state / "sluice.db"
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(_SCHEMA)
        self._clock = clock
        self._cache: dict[str, tuple[float, bytes, Key]] = {}

    def create(self, key: Key, at: str) -> str:
        """Store the key under a new id and return its text, which is never seen again."""
        key_id, secret = secrets.token_hex(4), secrets.token_hex(20)
        text = f"{PREFIX}{key_id}-{secret}"
        row = {name: getattr(key, name) for name in Key.__slots__ if name != "id"}
        self._db.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?)", (key_id, _hash(text), json.dumps(row), at)
        )
        return text

    def find(self, text: str, at: str) -> Key | None:
        """Return the key, or None if it is unknown or expired."""
        key_id = text.removeprefix(PREFIX).partition("-")[0]
        cached = self._cache.get(key_id)
        if cached is None or self._clock() - cached[0] > REREAD_AFTER_S:
            cached = self._read(key_id)
        if cached is None or not hmac.compare_digest(cached[1], _hash(text)):
            return None
        key = cached[2]
        return None if key.expires is not None and key.expires <= at else key

    def close(self) -> None:
        self._db.close()

    def _read(self, key_id: str) -> tuple[float, bytes, Key] | None:
        found = self._db.execute("SELECT hash, row FROM keys WHERE id = ?", (key_id,)).fetchone()
        if found is None:
            self._cache.pop(key_id, None)
            return None
        row: dict[str, Any] = json.loads(found[1])
        row = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        entry = (self._clock(), bytes(found[0]), Key(id=key_id, **row))
        self._cache[key_id] = entry
        return entry


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

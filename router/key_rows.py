"""What every store of API keys keeps, and how keys are told apart. Only hashes are kept.

A key is ``sk-sluice-<id>-<secret>``: the id is public and finds the row, the secret has 160 random
bits, so that one SHA-256 protects it as well as a slow hash would.

* the caller's    UnknownKey      no key has this id
                  Ended           the key is revoked or has expired: there is nothing left to change
                  Overtaken       somebody else changed it in the same moment: nothing was changed
* the machine's   KeysUnreadable  the store can't be read or written, or a row of it not understood
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Protocol

from policies.match import KEY_PREFIX
from router.identity import LIMITS, Key

PREFIX = KEY_PREFIX
REREAD_AFTER_S = 2.0  # how long a change of a key may take to be seen by a running router

_IN_ROW = tuple(field.name for field in fields(Key) if field.name != "id")


class UnknownKey(Exception):  # noqa: N818  (what it says)
    pass


class Ended(Exception):  # noqa: N818  (what it says)
    """Says how and when."""


class Overtaken(Exception):  # noqa: N818  (what it says)
    """Says how and when."""


class KeysUnreadable(Exception):  # noqa: N818  (what it says)
    """Says where, and what is wrong with it."""


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

    def may_change(self, at: str) -> None:
        """Raise Ended where no secret of the key's can work any more."""
        if self.revoked is not None:
            raise Ended(f"was revoked at {self.revoked}")
        if self.state(at) == "expired":
            raise Ended(f"expired at {self.key.expires}")


class Keys(Protocol):
    """A store of keys. Every method but `known` may raise KeysUnreadable."""

    remote: bool  # whether calls wait for a network

    def known(self, text: str, at: str) -> "Key | Ask | None":
        """Return the same as `find` where what was read lately says it, else ASK; never waits."""

    def find(self, text: str, at: str) -> Key | None:
        """Return the key, or None if it is unknown, expired or revoked."""

    def create(self, key: Key, at: str) -> str:
        """Store the key under a new id and return its text, which is never seen again."""

    def all(self) -> list[Stored]:
        """Return every key, in the order they were made."""

    def get(self, key_id: str) -> Stored:
        """Return the key; raise UnknownKey."""

    def revoke(self, key_id: str, at: str) -> None:
        """Let no secret of the key work any more; raise UnknownKey or Ended."""

    def rotate(self, key_id: str, at: str, old_until: str | None = None) -> str:
        """Give the key a new secret and return its text; the last one works until `old_until`,
        any before that no more. Raise UnknownKey, Ended or Overtaken.
        """

    def close(self) -> None: ...


class Ask:
    """What was read of this key lately does not say whether it is good."""


ASK: Final = Ask()
_ID = re.compile(r"[0-9a-f]{8}")  # as `new_id` makes them
_NEVER: tuple[float, None] = (float("-inf"), None)


class Cached:
    """`known` and `find` over a store's `get`. `clock` is monotonic, in seconds."""

    def __init__(self, get: Callable[[str], Stored], clock: Callable[[], float]) -> None:
        self._get, self._clock = get, clock
        self._kept: dict[str, tuple[float, Stored]] = {}

    def known(self, text: str, at: str) -> Key | Ask | None:
        read_at, stored = self._kept.get(id_of(text), _NEVER)
        if stored is None or self._clock() - read_at > REREAD_AFTER_S:
            return ASK
        if not stored.opened_by(hash_of(text), at):
            return ASK  # a secret that is new must not wait for the old to age
        return stored.key if stored.state(at) == "active" else None

    def find(self, text: str, at: str) -> Key | None:
        found = self.known(text, at)
        if not isinstance(found, Ask):
            return found
        key_id = id_of(text)
        stored = self._read(key_id) if _ID.fullmatch(key_id) else None
        if stored is None or not stored.opened_by(hash_of(text), at):
            return None
        return stored.key if stored.state(at) == "active" else None

    def _read(self, key_id: str) -> Stored | None:
        read_at = self._clock()
        try:
            stored = self._get(key_id)
        except UnknownKey:
            self._kept.pop(key_id, None)
            return None
        self._kept[key_id] = (read_at, stored)
        return stored


def id_of(text: str) -> str:
    """Return the public id of what may be a key, or an id, with or without its prefix."""
    return text.removeprefix(PREFIX).partition("-")[0]


def stamp(at: datetime) -> str:
    """Return a moment of UTC in the form that keys are compared in."""
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def new_id() -> str:
    return secrets.token_hex(4)


def new_text(key_id: str) -> str:
    return f"{PREFIX}{key_id}-{secrets.token_hex(20)}"


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def rights_json(key: Key) -> str:
    row = {name: getattr(key, name) for name in _IN_ROW}
    return json.dumps({k: v for k, v in row.items() if k not in LIMITS or v is not None})


def key_of(key_id: str, rights: Any) -> Key:  # noqa: ANN401  (what a store has there)
    """Return the key of `rights_json`. Raises KeysUnreadable."""
    try:
        found: dict[str, Any] = json.loads(rights)
        found = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        return Key(id=key_id, **found)
    except (ValueError, TypeError, AttributeError):
        said = f"key `{key_id}` is not of a form that this version reads"
        raise KeysUnreadable(said) from None

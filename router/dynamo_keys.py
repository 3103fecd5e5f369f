"""API keys in the ledger's DynamoDB table: one item each, all in the partition `KEYS`.

`find` is one consistent GetItem, `all` a Query; every change holds only if the key is as it was
read. A change whose answer got lost is sent again by the client and then finds itself done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from router.identity import Key
from router.key_rows import (
    Ask,
    Cached,
    Ended,
    KeysUnreadable,
    Overtaken,
    Stored,
    UnknownKey,
    hash_of,
    key_of,
    new_id,
    new_text,
    rights_json,
)
from router.ledger.dynamo_table import Client, Item, Table, Unmet
from router.ledger.port import LedgerUnavailable

PARTITION = "KEYS"
_THERE = "attribute_exists(#pk) AND attribute_not_exists(#revoked)"


class DynamoKeys:
    """The port `Keys`; any thread may call it."""

    remote = True

    def __init__(self, client: Client, table: str, clock: Callable[[], float]) -> None:
        self._table = Table(client, table)
        self._cached = Cached(self.get, clock)

    def known(self, text: str, at: str) -> Key | Ask | None:
        return self._cached.known(text, at)

    def find(self, text: str, at: str) -> Key | None:
        return self._cached.find(text, at)

    def create(self, key: Key, at: str) -> str:
        while True:
            key_id = new_id()
            text = new_text(key_id)
            item = {"pk": PARTITION, "sk": key_id, "hash": hash_of(text).hex(), "created": at}
            try:
                with _translated():
                    self._table.put(
                        item | {"rights": rights_json(key)}, "attribute_not_exists(#pk)", {}
                    )
            except Unmet as unmet:
                if unmet.old[0].get("hash") != item["hash"]:
                    continue  # another key has this id
            return text

    def all(self) -> list[Stored]:
        with _translated():
            found = list(self._table.query("#pk = :pk", {"pk": PARTITION}))
        return sorted(map(_stored, found), key=lambda stored: (stored.created, stored.key.id))

    def get(self, key_id: str) -> Stored:
        with _translated():
            found = self._table.get((PARTITION, key_id))
        if not found:
            raise UnknownKey(key_id)
        return _stored(found)

    def revoke(self, key_id: str, at: str) -> None:
        change = "SET #revoked = :at REMOVE #old_hash, #old_until"
        try:
            with _translated():
                self._table.update((PARTITION, key_id), change, _THERE, {"at": at})
        except Unmet as unmet:
            old = unmet.old[0]
            if not old:
                raise UnknownKey(key_id) from None
            if old["revoked"] != at:
                raise Ended(f"was revoked at {old['revoked']}") from None

    def rotate(self, key_id: str, at: str, old_until: str | None = None) -> str:
        stored, text = self.get(key_id), new_text(key_id)
        stored.may_change(at)
        values = {"new": hash_of(text).hex(), "was": stored.hash.hex(), "at": at}
        change = "SET #hash = :new, #rotated = :at"
        if old_until is None:
            change += " REMOVE #old_hash, #old_until"
        else:
            change += ", #old_hash = :was, #old_until = :until"
            values["until"] = old_until
        try:
            with _translated():
                self._table.update(
                    (PARTITION, key_id), change, f"{_THERE} AND #hash = :was", values
                )
        except Unmet as unmet:
            old = unmet.old[0]
            if not old:
                raise UnknownKey(key_id) from None
            if "revoked" in old:
                raise Ended(f"was revoked at {old['revoked']}") from None
            if old["hash"] != values["new"]:
                said = f"was rotated at {old.get('rotated')} by somebody else"
                raise Overtaken(said) from None
        return text

    def close(self) -> None:
        """The client is the caller's."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as exc:
        raise KeysUnreadable(f"the table of keys can't be used: {exc.__cause__ or exc}") from exc


def _stored(item: Item) -> Stored:
    key = key_of(item["sk"], item.get("rights"))
    old_hash = item.get("old_hash")
    try:
        kept_hash = bytes.fromhex(item["hash"])
        old = None if old_hash is None else bytes.fromhex(old_hash)
    except (KeyError, TypeError, ValueError):
        said = f"key `{key.id}` is not of a form that this version reads"
        raise KeysUnreadable(said) from None
    return Stored(
        key,
        kept_hash,
        str(item.get("created", "")),
        item.get("revoked"),
        item.get("rotated"),
        old,
        item.get("old_until"),
    )

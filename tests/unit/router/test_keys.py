"""What only the store in a file has: its file, its older forms."""

import json
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from router.identity import Key
from router.key_rows import REREAD_AFTER_S, KeysUnreadable, hash_of
from router.keys import KeyStore

NOW = "2026-01-01T00:00:00.000Z"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    opened = KeyStore(tmp_path / "state", clock)
    yield opened
    opened.close()


def test_only_a_hash_is_kept(store, tmp_path):
    text = store.create(Key(id="", tenant="acme"), NOW)
    secret = text.rpartition("-")[2].encode()
    kept = b"".join(p.read_bytes() for p in (tmp_path / "state").iterdir())
    assert b"acme" in kept
    assert secret not in kept


def test_the_file_is_its_owners_alone(store, tmp_path):
    mode = (tmp_path / "state" / "sluice.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_change_is_seen_within_seconds(store, tmp_path, clock):
    text = store.create(Key(id="", tenant="acme"), NOW)
    assert store.find(text, NOW) is not None
    other = sqlite3.connect(tmp_path / "state" / "sluice.db")
    other.execute("DELETE FROM keys")
    other.commit()
    other.close()
    clock.now += REREAD_AFTER_S + 0.1
    assert store.find(text, NOW) is None


LATER = "2026-01-01T01:00:00.000Z"


# -- what lies there already -----------------------------------------------------------------------


@pytest.fixture
def old_state(tmp_path):
    """A store as version 0.1 made it, with one key."""
    state = tmp_path / "old"
    state.mkdir()
    text = f"sk-sluice-0123abcd-{'5' * 40}"
    row = {"tenant": "acme", "team": None, "tags": {}, "allowed_tags": [], "lanes": ["cpu"]}
    row |= {"models": None, "may": ["pin_model"], "expires": None, "admin": False}
    db = sqlite3.connect(state / "sluice.db")
    db.execute(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL, row TEXT NOT NULL, "
        "created TEXT NOT NULL) STRICT"
    )
    made = "2026-01-01T00:00:00+00:00"
    db.execute(
        "INSERT INTO keys VALUES (?, ?, ?, ?)", ("0123abcd", hash_of(text), json.dumps(row), made)
    )
    db.commit()
    db.close()
    return state, text


def test_keys_of_version_0_1_go_on_and_can_be_rotated_and_revoked(old_state, clock):
    state, text = old_state
    store = KeyStore(state, clock)
    assert store.find(text, NOW).lanes == ("cpu",)
    new = store.rotate("0123abcd", NOW, LATER)
    assert store.find(text, NOW) == store.find(new, NOW) is not None
    store.revoke("0123abcd", NOW)
    store.close()
    again = KeyStore(state, clock)
    assert again.find(new, NOW) is None
    again.close()


def test_an_old_store_is_migrated_once_by_whoever_comes_first(old_state, clock):
    state, text = old_state
    start = threading.Barrier(4)

    def open_it(_):
        start.wait()
        store = KeyStore(state, clock)
        found = store.find(text, NOW)
        store.close()
        return found.tenant

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_it, range(4))) == ["acme"] * 4


@pytest.mark.parametrize(
    "row", ['{"tenant": "acme", "from_the_future": 1}', "[]", "not json", "{}"]
)
def test_a_row_that_is_not_understood_opens_nothing(old_state, clock, row):
    state, text = old_state
    store = KeyStore(state, clock)
    other = sqlite3.connect(state / "sluice.db")
    other.execute("UPDATE keys SET row = ?", (row,))
    other.commit()
    other.close()
    with pytest.raises(KeysUnreadable, match="`0123abcd` is not of a form"):
        store.find(text, NOW)
    store.close()


def test_what_is_no_database_is_said_so_and_left_alone(tmp_path, clock):
    (tmp_path / "sluice.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(KeysUnreadable, match="not a database"):
        KeyStore(tmp_path, clock)
    assert (tmp_path / "sluice.db").read_bytes().startswith(b"something else")

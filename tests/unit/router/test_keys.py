import json
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from router.identity import Key
from router.key_rows import REREAD_AFTER_S, Ended, KeysUnreadable, UnknownKey, hash_of
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


def test_a_created_key_is_found_with_all_that_it_may_do(store):
    key = Key(
        id="",
        tenant="acme",
        team="搜索",
        tags={"data": "private"},
        allowed_tags=("run",),
        lanes=("cpu",),
        models=None,
        may=("pin_model", "best"),
        expires="2026-02-01T00:00:00.000Z",
        admin=True,
    )
    found = store.find(store.create(key, NOW), NOW)
    assert found.id
    assert {n: getattr(found, n) for n in Key.__slots__ if n != "id"} == {
        n: getattr(key, n) for n in Key.__slots__ if n != "id"
    }


def test_only_a_hash_is_kept(store, tmp_path):
    text = store.create(Key(id="", tenant="acme"), NOW)
    secret = text.rpartition("-")[2].encode()
    kept = b"".join(p.read_bytes() for p in (tmp_path / "state").iterdir())
    assert b"acme" in kept
    assert secret not in kept


def test_the_file_is_its_owners_alone(store, tmp_path):
    mode = (tmp_path / "state" / "sluice.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("given", ["", "nonsense", "sk-sluice-", "sk-sluice-00000000-x", "密钥"])
def test_an_unknown_key_is_nobody(store, given):
    assert store.find(given, NOW) is None


def test_the_right_id_with_a_wrong_secret_is_nobody(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    assert store.find(text[:-1] + ("0" if text[-1] != "0" else "1"), NOW) is None


def test_a_key_expires(store):
    text = store.create(Key(id="", tenant="a", expires="2026-01-01T00:00:00.001Z"), NOW)
    assert store.find(text, NOW) is not None
    assert store.find(text, "2026-01-01T00:00:00.001Z") is None


def test_a_change_is_seen_within_seconds(store, tmp_path, clock):
    text = store.create(Key(id="", tenant="acme"), NOW)
    assert store.find(text, NOW) is not None
    other = sqlite3.connect(tmp_path / "state" / "sluice.db")
    other.execute("DELETE FROM keys")
    other.commit()
    other.close()
    clock.now += REREAD_AFTER_S + 0.1
    assert store.find(text, NOW) is None


def test_two_processes_share_the_store(store, tmp_path, clock):
    second = KeyStore(tmp_path / "state", clock)
    text = second.create(Key(id="", tenant="acme"), NOW)
    second.close()
    assert store.find(text, NOW).tenant == "acme"


# -- revoked and rotated ---------------------------------------------------------------------------

LATER = "2026-01-01T01:00:00.000Z"


def id_in(text):
    return text.split("-")[2]


def secret_in(text):
    return text.split("-")[3]


def test_a_revoked_key_is_nobody_at_once_here_and_within_seconds_elsewhere(store, tmp_path, clock):
    text = store.create(Key(id="", tenant="acme"), NOW)
    running = KeyStore(tmp_path / "state", clock)
    assert running.find(text, NOW) is not None
    store.revoke(id_in(text), NOW)
    assert store.find(text, NOW) is None
    clock.now += REREAD_AFTER_S + 0.1
    assert running.find(text, NOW) is None
    running.close()


def test_a_revoked_key_stays_in_the_list_with_its_time(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    store.revoke(id_in(text), LATER)
    (stored,) = store.all()
    assert (stored.state(LATER), stored.revoked, stored.created) == ("revoked", LATER, NOW)


def test_a_key_is_revoked_once(store):
    text = store.create(Key(id="", tenant="acme"), NOW)
    store.revoke(id_in(text), NOW)
    with pytest.raises(Ended, match=f"was revoked at {NOW}"):
        store.revoke(id_in(text), LATER)
    assert store.get(id_in(text)).revoked == NOW


def test_an_unknown_key_is_neither_revoked_nor_rotated(store):
    for change in (store.revoke, store.rotate):
        with pytest.raises(UnknownKey, match="deadbeef"):
            change("deadbeef", NOW)


def test_a_rotated_key_keeps_its_id_and_rights_and_has_another_secret(store):
    old = store.create(Key(id="", tenant="acme", team="a", lanes=("cpu",), admin=True), NOW)
    before = store.find(old, NOW)
    new = store.rotate(id_in(old), LATER)
    assert id_in(new) == id_in(old)
    assert secret_in(new) != secret_in(old)
    assert store.find(new, LATER) == before
    assert store.find(old, LATER) is None
    assert store.get(id_in(old)).rotated == LATER


def test_a_running_store_takes_the_new_secret_at_once(store, tmp_path, clock):
    old = store.create(Key(id="", tenant="acme"), NOW)
    running = KeyStore(tmp_path / "state", clock)
    assert running.find(old, NOW) is not None
    new = store.rotate(id_in(old), NOW)
    assert running.find(new, NOW) is not None
    running.close()


def test_during_the_grace_both_secrets_work_and_then_only_the_new(store):
    old = store.create(Key(id="", tenant="acme"), NOW)
    new = store.rotate(id_in(old), NOW, LATER)
    before_the_end = "2026-01-01T00:59:59.999Z"
    assert store.find(old, before_the_end) == store.find(new, before_the_end) is not None
    assert store.find(old, LATER) is None
    assert store.find(new, LATER) is not None


def test_of_two_rotations_only_the_last_secret_has_a_grace(store):
    first = store.create(Key(id="", tenant="acme"), NOW)
    second = store.rotate(id_in(first), NOW, LATER)
    third = store.rotate(id_in(first), NOW, LATER)
    assert store.find(first, NOW) is None
    assert store.find(second, NOW) == store.find(third, NOW) is not None


def test_a_revocation_ends_the_grace_too(store):
    old = store.create(Key(id="", tenant="acme"), NOW)
    new = store.rotate(id_in(old), NOW, LATER)
    store.revoke(id_in(old), NOW)
    assert store.find(old, NOW) is store.find(new, NOW) is None


def test_what_has_ended_is_not_rotated(store):
    revoked = store.create(Key(id="", tenant="a"), NOW)
    store.revoke(id_in(revoked), NOW)
    expired = store.create(Key(id="", tenant="a", expires=LATER), NOW)
    with pytest.raises(Ended, match="was revoked at"):
        store.rotate(id_in(revoked), NOW)
    with pytest.raises(Ended, match="expired at"):
        store.rotate(id_in(expired), LATER)
    assert store.find(expired, NOW) is not None


def test_limits_come_back_as_they_were_given(store):
    key = Key(id="", tenant="a", requests_per_min=60, tokens_per_min=10_000, concurrent=4)
    found = store.find(store.create(key, NOW), NOW)
    assert (found.requests_per_min, found.tokens_per_min, found.concurrent) == (60, 10_000, 4)


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

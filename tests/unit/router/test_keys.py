import sqlite3
import stat

import pytest

from router.identity import Key
from router.keys import REREAD_AFTER_S, KeyStore

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

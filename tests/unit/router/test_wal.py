"""Many open a new file at once, and none is told that it is locked."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from router import wal

ROUNDS = 60  # of four: without the wait about one in fifty was refused


def test_those_who_open_a_new_file_at_once_all_keep_its_log(tmp_path):
    def open_it(path, together):
        together.wait()
        db = sqlite3.connect(path, isolation_level=None)
        wal.keep_log(db)
        (mode,) = db.execute("PRAGMA journal_mode").fetchone()
        db.close()
        return mode

    with ThreadPoolExecutor(4) as pool:
        for number in range(ROUNDS):
            path, together = tmp_path / f"{number}.db", threading.Barrier(4)
            made = sqlite3.connect(path)
            made.execute("CREATE TABLE t (a)")
            made.close()
            opened = [pool.submit(open_it, path, together) for _ in range(4)]
            assert [each.result() for each in opened] == ["wal"] * 4


def test_what_is_no_database_is_said_at_once(tmp_path):
    (tmp_path / "x.db").write_bytes(b"something else entirely" * 100)
    db = sqlite3.connect(tmp_path / "x.db")
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        wal.keep_log(db)
    db.close()


def test_a_file_that_stays_locked_is_told_after_a_while(tmp_path, monkeypatch):
    path = tmp_path / "x.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    db = sqlite3.connect(path, timeout=0.01)
    monkeypatch.setattr(wal, "WITHIN_S", 0.05)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        wal.keep_log(db)
    db.close()
    holder.close()

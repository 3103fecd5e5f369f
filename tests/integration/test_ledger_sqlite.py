"""The ledger's file: killed, crowded, full, locked, broken."""

import json
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_storm import storm
from ledger_support import LEASE, NOW, charge, scope, worst, wrong

from router.ledger.port import LedgerUnavailable, Once
from router.ledger.sqlite import SqliteLedger

CRASH = Path(__file__).parents[1] / "ledger_crash.py"
CRASH_EVERY = 2003  # bytes; `make prove-ledger` takes smaller steps


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path, wait_s=0.05)
    yield opened
    opened.close()


def test_a_process_killed_at_any_step_leaves_the_books_right(tmp_path):
    command = [sys.executable, CRASH, tmp_path, str(CRASH_EVERY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("violations") == []
    assert found["statements"] > 50
    assert all(steps > 20 for steps in found.values()), found


def test_sixty_four_threads_in_eight_processes_never_overspend(tmp_path):
    counts, spent, found = storm(str(tmp_path), processes=8, threads=8, operations=20_000)
    assert found == []
    assert counts["reserve"] > 5000
    assert counts["refused"] > 100
    assert spent["key"] == 15_000  # what refuses is spent to the last nano


def test_killed_processes_leave_the_books_right_for_the_others(tmp_path):
    _, _, found = storm(str(tmp_path), processes=4, threads=4, operations=4000, kills=3)
    assert found == []


def test_a_full_disk_refuses_and_loses_nothing(ledger):
    team = scope(soft=10**9)
    kept = ledger.reserve(worst("r0", 5), (team,), NOW, LEASE)
    pages = ledger._db.run("PRAGMA page_count").fetchone()[0]
    ledger._db.run(f"PRAGMA max_page_count={pages + 3}")
    taken = []

    def fill():
        rows = (worst(f"r{number + 1}", 7) for number in range(1000))
        taken.extend(ledger.reserve(row, (team,), NOW, LEASE) for row in rows)

    with pytest.raises(LedgerUnavailable, match="full"):
        fill()
    assert wrong(ledger) == []
    assert ledger.balance(team, NOW).reserved == 5 + 7 * len(taken)
    ledger._db.run("PRAGMA max_page_count=1000000")
    ledger.settle(kept, (charge("r0", 4),), NOW)
    assert ledger.balance(team, NOW).spent == 4
    assert wrong(ledger) == []


def test_a_locked_file_refuses_and_is_used_again(ledger, tmp_path):
    team = scope()
    kept = ledger.reserve(worst("r0", 5), (team,), NOW, LEASE)
    other = sqlite3.connect(tmp_path / "sluice.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for use in (
        lambda: ledger.reserve(worst("r1", 5), (team,), NOW, LEASE),
        lambda: ledger.settle(kept, (charge("r0", 5),), NOW),
        lambda: ledger.release(kept, NOW),
        lambda: ledger.expire(LEASE + 1),
        lambda: ledger.reserve(worst("r1", 5), (), NOW, LEASE, once=Once("k", "i", "b")),
    ):
        with pytest.raises(LedgerUnavailable, match="locked"):
            use()
    assert ledger.balance(team, NOW).reserved == 5  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    ledger.settle(kept, (charge("r0", 3),), NOW)
    assert ledger.balance(team, NOW).spent == 3


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "sluice.db").write_bytes(b"what is this? " * 1000)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        SqliteLedger(tmp_path)


def test_a_page_that_is_broken_is_told(ledger, tmp_path):
    ledger.reserve(worst("r0", 5), (scope(),), NOW, LEASE)
    ledger.close()
    path = tmp_path / "sluice.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(LedgerUnavailable, match="malformed"):
        SqliteLedger(tmp_path).reserve(worst("r1", 5), (scope(),), NOW, LEASE)


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailable):
        SqliteLedger(tmp_path / "file" / "state")


def test_rows_can_not_be_changed_or_removed(ledger, tmp_path):
    ledger.settle(ledger.reserve(worst("r0", 5), (), NOW, LEASE), (charge("r0", 5),), NOW)
    other = sqlite3.connect(tmp_path / "sluice.db")
    for change in ("UPDATE ledger_entries SET nano = 1", "DELETE FROM ledger_entries"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute(change)
    other.close()
    assert [row.nano for row in ledger.entries("", "9999")] == [5]


def test_no_row_breaks_the_sum_whoever_writes(ledger, tmp_path):
    ledger.reserve(worst("r0", 5), (scope(),), NOW, LEASE)
    other = sqlite3.connect(tmp_path / "sluice.db")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        other.execute("UPDATE ledger_scopes SET avail = avail + 1")
    other.close()


def test_only_the_owner_reads_the_file(ledger, tmp_path):
    assert stat.S_IMODE((tmp_path / "sluice.db").stat().st_mode) == 0o600


def test_a_report_may_read_while_requests_are_charged(ledger):
    for number in range(3):
        reserved = ledger.reserve(worst(f"r{number}", 5), (), NOW, LEASE)
        ledger.settle(reserved, (charge(f"r{number}", 5),), NOW)
    rows = ledger.entries("", "9999")
    first = next(rows)
    late = ledger.reserve(worst("r9", 5), (), NOW, LEASE)
    ledger.settle(late, (charge("r9", 5),), NOW)
    assert [row.request_id for row in (first, *rows)] == ["r0", "r1", "r2"]

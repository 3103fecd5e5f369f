"""A running router whose ledger is held, full or broken, and one that is started on such a file."""

import resource
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_support import wrong
from support import (
    DONE,
    ROLE,
    USAGE_EVENT,
    catalogue,
    chunk,
    fleet,
    plain,
    policy,
    sluice,
    stream_head,
    wait_until,
)

from router.ledger.sqlite import SqliteLedger

BUDGET = "budgets:\n  - {id: all, match: {}, usd: 1, per: day, when_spent: reject}\n"
WAIT_S = 5.0  # what a request waited for a held file when every one did


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy() + BUDGET)


def rows(router):
    """Return the rows, once nothing is wrong with the books and nothing is open."""
    ledger = SqliteLedger(router.state)
    try:
        books = ledger.books()
        assert wrong(ledger) == []
        return None if books.held else list(ledger.entries("2000", "2100"))
    finally:
        ledger.close()


def held(router):
    """Hold the file as another process does that writes, until ROLLBACK."""
    other = sqlite3.connect(router.state / "sluice.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def refused(answer):
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "ledger_unavailable"
    assert answer.headers["retry-after"] == "1"


def test_a_held_file_is_a_503_for_everybody_and_holds_only_the_first_up(router, upstream):
    assert router.chat().status_code == 200
    other = held(router)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(router.chat) for _ in range(40)]
        assert router.http.get("/healthz").status_code == 200
        for answer in answers:
            refused(answer.result())
    assert time.monotonic() - began < 4 * WAIT_S  # of the 25 s that it would take 8 at a time
    assert len(upstream.bodies) == 1
    other.execute("ROLLBACK")
    other.close()
    assert router.chat().status_code == 200
    wait_until(lambda: len(rows(router) or ()) == 2)


def test_a_file_held_for_a_moment_is_waited_for_even_after_one_that_was_held_long(router, upstream):
    other = held(router)
    refused(router.chat())
    other.execute("ROLLBACK")
    other.close()
    assert router.chat().status_code == 200

    def held_for_a_moment():
        other = held(router)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(router.chat)
            time.sleep(0.05)
            other.execute("ROLLBACK")
        other.close()
        return answer.result().status_code

    wait_until(lambda: held_for_a_moment() == 200)  # on a busy machine a moment may be long


def test_a_stream_goes_on_while_the_file_is_held_and_is_charged_afterwards(router, upstream):
    go_on = threading.Event()

    def script(body, send, gone):
        send(stream_head() + ROLE + chunk("one"))
        go_on.wait(30)
        send(chunk("two") + chunk(finish="stop") + USAGE_EVENT + DONE)
        return "close"

    upstream.script = script
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with router.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_bytes()
        text = next(pieces)
        other = held(router)
        refused(router.chat())
        go_on.set()
        text += b"".join(pieces)
    assert b"two" in text
    assert text.endswith(DONE)
    wait_until(lambda: "could not be settled" in router.log())
    other.execute("ROLLBACK")
    other.close()
    wait_until(lambda: rows(router))
    (row,) = rows(router)
    assert (row.kind, row.outcome, row.estimated, row.tokens_out) == ("charge", "ok", False, 3)


def test_what_is_owed_when_the_router_ends_is_charged_then(router, upstream):
    def script(body, send, gone):
        other.execute("BEGIN EXCLUSIVE")
        send(plain())

    upstream.script = script
    other = sqlite3.connect(
        router.state / "sluice.db", isolation_level=None, check_same_thread=False
    )
    assert router.chat().status_code == 200
    other.execute("ROLLBACK")
    other.close()
    router.process.terminate()
    router.process.wait(60)
    (row,) = rows(router)
    assert (row.kind, row.tokens_out) == ("charge", 3)


def test_a_full_disk_is_a_503_and_loses_nothing(router, upstream):
    assert router.chat().status_code == 200
    filled = threading.Event()

    def script(body, send, gone):
        limit_files(router, 4096)  # between reservation and settlement
        filled.set()
        send(plain())

    upstream.script = script
    assert router.chat().status_code == 200  # it is answered, and owed
    refused(router.chat())
    assert len(upstream.bodies) == 2
    assert router.http.get("/healthz").status_code == 200
    upstream.script = lambda body, send, gone: send(plain())
    limit_files(router, resource.RLIM_INFINITY)
    assert router.chat().status_code == 200
    wait_until(lambda: len(rows(router) or ()) == 3)
    assert {(row.kind, row.tokens_out) for row in rows(router)} == {("charge", 3)}


def limit_files(router, size):
    """Let no file of the router grow beyond: to write there fails as on a full disk."""
    hard = resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(router.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_file_that_breaks_while_the_router_runs_sends_nothing(router, upstream):
    assert router.chat().status_code == 200
    for name in ("sluice.db", "sluice.db-wal", "sluice.db-shm"):
        path = router.state / name
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
    answer = router.chat()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] in ("ledger_unavailable", "keys_unreadable")
    assert len(upstream.bodies) == 1
    assert router.http.get("/healthz").status_code == 200


GARBAGE = b"this was a database" * 500


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--port", "0"),
        ("keys", "create", "--tenant", "a"),
        ("keys", "list"),
        ("ledger", "report", "--by", "team"),
        ("ledger", "override", "all", "all", "--usd", "1", "--until", "1h"),
    ],
)
def test_a_broken_file_is_named_with_what_to_do_and_is_not_touched(tmp_path, command):
    path = tmp_path / "sluice.db"
    path.write_bytes(GARBAGE)
    done = sluice(*command, "--state", tmp_path)
    assert done.returncode == 1
    assert f"`{path}` can't be used: file is not a database (the file is broken" in done.stderr
    assert "docs/ledger.md" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == GARBAGE
    assert [found.name for found in tmp_path.iterdir() if "sluice" in found.name] == ["sluice.db"]


def test_a_broken_page_is_named_at_the_start(router, tmp_path):
    router.chat()
    router.process.terminate()
    router.process.wait(60)
    path = router.state / "sluice.db"
    whole = path.read_bytes()
    broken = whole[:4096] + b"\xff" * (len(whole) - 4096)
    path.write_bytes(broken)
    done = sluice("serve", "--port", "0", "--state", router.state)
    assert done.returncode == 1
    assert f"`{path}` can't be used: " in done.stderr
    assert "docs/ledger.md" in done.stderr
    assert path.read_bytes() == broken

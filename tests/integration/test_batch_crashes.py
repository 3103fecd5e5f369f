"""Batches through kill -9 and over several workers: no line is lost, none is answered twice."""

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import openai
import pytest
from support import Router, catalogue, fleet, plain, policy, process, wait_until

URL = "/v1/chat/completions"
LINES = 40
AT_ONCE = 4


class Slow:
    """An upstream that takes its time, and counts."""

    def __init__(self, upstream, seconds=0.1):
        self.seconds, self.asked, self._one = seconds, [], threading.Lock()

        def script(body, send, gone):
            with self._one:
                self.asked.append(body["messages"][0]["content"])
            time.sleep(self.seconds)
            send(plain())

        upstream.script = script


def begin(client):
    rows = [
        {
            "custom_id": f"line-{n}",
            "method": "POST",
            "url": URL,
            "body": {"model": "auto", "messages": [{"role": "user", "content": f"第{n}行"}]},
        }
        for n in range(LINES)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    source = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    return client.batches.create(input_file_id=source.id, endpoint=URL, completion_window="24h")


def client_of(router):
    return openai.OpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=3)


def whole(client, batch):
    """Wait for its end; return the custom ids of the output."""
    wait_until(lambda: client.batches.retrieve(batch.id).status == "completed", 60)
    done = client.batches.retrieve(batch.id)
    assert (done.request_counts.total, done.request_counts.failed) == (LINES, 0)
    rows = client.files.content(done.output_file_id).text.splitlines()
    assert len(rows) == LINES
    return [json.loads(row)["custom_id"] for row in rows]


@contextlib.contextmanager
def showing(router):
    """Have a failure within say how far the router's lines are: a stall is seen once in thousands
    of runs, and leaves nothing else.
    """
    try:
        yield
    except AssertionError as exc:
        asked = "SELECT number, request_id, sends, failures, not_before_s, reason FROM lines"
        with contextlib.closing(sqlite3.connect(router.state / "batches.db")) as db:
            exc.add_note(f"at {time.time()} these lines are left: {db.execute(asked).fetchall()}")
        exc.add_note(f"the router: {router.http.get('/readyz').text}\n{router.log()}")
        exc.add_note(router.http.get("/metrics").text)
        raise


def charges(state):
    with contextlib.closing(sqlite3.connect(state / "sluice.db")) as db:
        rows = db.execute("SELECT request_id, nano FROM ledger_entries").fetchall()
        held = db.execute("SELECT count(*) FROM ledger_held").fetchone()[0]
    return rows, held


@contextlib.contextmanager
def again(router, folder, *arguments):
    """Start a router anew on the state of one that was killed."""
    command = [sys.executable, "-m", "router.cli", "serve", "--state", router.state, "--port", "0"]
    files = ["--fleets", folder / "fleets.yaml", "--policy", folder / "policy.yaml"]
    with process(*command, *files, *arguments, log=folder / "again.log") as served:
        assert "listens on" in served.first_line
        other = Router(served.first_line.split()[3], router.key, router.state, folder / "again.log")
        other.process = served
        yield other
        other.http.close()


@pytest.mark.parametrize("after", [1, LINES // 2, LINES - 2])
def test_killed_at_any_point_it_goes_on_and_every_line_is_answered_once(
    start_router, upstream, tmp_path, after
):
    slow = Slow(upstream)
    options = ("--batch-at-once", str(AT_ONCE))
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), *options)
    batch = begin(client_of(router))
    with showing(router):
        wait_until(lambda: len(slow.asked) >= after)
    router.process.send_signal(signal.SIGKILL)
    router.process.wait()
    with again(router, tmp_path, *options) as second:
        assert whole(client_of(second), batch) == [f"line-{n}" for n in range(LINES)]
    assert len(slow.asked) <= LINES + AT_ONCE  # what was under way is sent again
    assert set(slow.asked) == {f"第{n}行" for n in range(LINES)}
    rows, held = charges(router.state)
    assert held == 0
    assert len(rows) == len({row[0] for row in rows}) == LINES  # each line is charged once


def test_ended_in_good_order_it_goes_on_where_it_was(start_router, upstream, tmp_path):
    slow = Slow(upstream)
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), "--batch-at-once", "4")
    batch = begin(client_of(router))
    wait_until(lambda: len(slow.asked) >= LINES // 2)
    router.process.send_signal(signal.SIGTERM)
    assert router.process.wait(120) == 0
    with again(router, tmp_path) as second:
        assert whole(client_of(second), batch) == [f"line-{n}" for n in range(LINES)]
    assert len(slow.asked) == LINES  # what was under way ended first


def test_of_several_workers_one_sends_and_another_takes_over(start_router, upstream):
    slow = Slow(upstream, 0.2)
    options = ("--batch-at-once", "2", "--workers", "2")
    router = start_router(catalogue(fleet("one", upstream.url)), policy(), *options)
    batch = begin(client_of(router))
    wait_until(lambda: len(slow.asked) >= 4)
    for _ in range(2):
        pid = leader(router)
        os.kill(pid, signal.SIGKILL)
        seen = len(slow.asked)
        wait_until(lambda seen=seen: len(slow.asked) > seen)
        assert leader(router) != pid
    assert whole(client_of(router), batch) == [f"line-{n}" for n in range(LINES)]
    assert len(slow.asked) <= LINES + 4
    rows, _ = charges(router.state)
    assert len(rows) == len({row[0] for row in rows}) == LINES


def leader(router):
    """Return the process that holds the lock, as the kernel has it."""
    inode = (router.state / "batches.lock").stat().st_ino

    def holder():
        for row in Path("/proc/locks").read_text().splitlines():
            words = row.split()
            if words[1] == "FLOCK" and words[5].endswith(f":{inode}") and int(words[4]) > 0:
                return int(words[4])
        return None

    wait_until(holder)
    return holder()

"""The router's own dispatcher over a real store; what asks the router is made up."""

import asyncio
import json
import threading
import time

import pytest

from router.batches import states
from router.batches.dispatcher import Dispatcher
from router.batches.hands import Hands
from router.batches.local import LocalStore
from router.batches.port import Batch, File, Line
from router.batches.schedule import Pace
from router.batches.verdict import Answer
from router.identity import Key

URL = "/v1/chat/completions"


class Desk:
    """Answers with these statuses, the last one for ever."""

    draining = False

    def __init__(self, *statuses):
        self.statuses, self.asked = list(statuses), []

    def new_id(self):
        return f"req_{time.monotonic_ns()}"

    async def who(self, batch):
        return batch.key

    async def ask(self, _key, job, _path, _body):
        self.asked.append(job.line.custom_id)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Answer(status, {}, b"{}")

    async def give_up(self, _request_id):
        return True


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path, 10**8, time.time)


def begin(store, count, name="1", **rights):
    rows = [
        {"custom_id": f"c{n}", "method": "POST", "url": URL, "body": {"model": "auto"}}
        for n in range(count)
    ]
    text = "\n".join(map(json.dumps, rows)).encode()
    now_s = int(time.time())
    file = File(f"file-{name}", "acme", "k", "batch", "", len(text), now_s, now_s + 10**6)
    upload = store.files.begin(file)
    upload.write(text)
    upload.done("in.jsonl")
    key = Key(id="k", tenant="acme", **rights)
    ends = now_s + 10**5
    store.batches.add(
        Batch(f"batch_{name}", key, True, file.id, URL, 10**5, {}, now_s, ends, 10**6)
    )


def run(store, desk, until, within_s=60.0, meanwhile=None):
    """Let it send until that is so."""

    async def play():
        hands = Hands()
        dispatcher = Dispatcher(store, desk, Pace(None, 8), time.time, time.monotonic, hands)
        dispatcher.start()
        beside = asyncio.create_task(meanwhile()) if meanwhile else None
        async with asyncio.timeout(within_s):
            while not until():  # noqa: ASYNC110  (it looks at files)
                await asyncio.sleep(0.01)
        told = await beside if beside else None
        await dispatcher.aclose()
        return told

    return asyncio.run(play())


def test_a_batch_goes_to_its_end(store):
    begin(store, 20)
    desk = Desk(200)
    run(store, desk, lambda: store.batches.find("batch_1").status == "completed")
    assert sorted(desk.asked) == sorted(f"c{n}" for n in range(20))


def test_a_spent_budget_is_not_asked_for_every_line(store):
    begin(store, 500)
    desk, began_s = Desk(402), time.monotonic()
    run(store, desk, lambda: time.monotonic() - began_s > 3)
    assert 1 <= len(desk.asked) <= 8


def test_a_line_that_could_not_be_written_down_for_a_bug_is_given_back(store):
    begin(store, 1)
    real, broken = store.queue.keep, ["once"]

    def keep(job, result):
        if broken:
            broken.pop()
            raise TypeError("a bug")
        return real(job, result)

    store.queue.keep = keep
    run(store, Desk(200), lambda: store.queue.counts("batch_1").left and not broken)
    state = LocalStore(store.files._folder.parent, 1, time.time)
    ((request_id, reason, failures),) = state._db.rows(
        "SELECT request_id, reason, failures FROM lines"
    )
    state.close()
    assert (request_id, reason, failures) == (None, "the router failed on this line", 1)


def test_the_event_loop_is_free_while_the_database_is_held(store):
    begin(store, 50)

    ticked, seen = threading.Event(), []

    def hold():
        with store._db.writing():
            seen.append(ticked.wait(20))

    async def meanwhile():
        holding = asyncio.create_task(asyncio.to_thread(hold))
        for _ in range(100):
            await asyncio.sleep(0.005)
        ticked.set()
        await holding

    run(store, Desk(200), lambda: bool(seen), meanwhile=meanwhile)
    assert seen == [True]


@pytest.mark.parametrize("what", ["end", "forget", "sweep"])
def test_ending_a_large_batch_holds_nobody_for_long(store, what):
    begin(store, 1)
    store.queue.put("batch_1", (Line(n, f"c{n}", n, 9) for n in range(1, 20_001)))
    if what == "sweep":
        store.batches.change("batch_1", states.refused((), 0))
    calls = {
        "end": lambda: store.queue.end("batch_1", "batch_cancelled", "x"),
        "forget": lambda: store.queue.forget("batch_1"),
        "sweep": lambda: store.sweep(time.time()),
    }

    async def play():
        doing, looks = asyncio.create_task(asyncio.to_thread(calls[what])), 0
        while not doing.done():
            await asyncio.to_thread(store.batches.unfinished)
            looks += 1
        return looks

    assert asyncio.run(play()) > 10  # in one transaction it would be about one
    assert not store._db.rows("SELECT 1 FROM lines LIMIT 1")
    store.close()

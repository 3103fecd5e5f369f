"""What sends batches on AWS, over moto's S3 and DynamoDB; fleets and keys are played."""

import asyncio
import itertools
import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from ledger_support import dynamo_client

from router.aws_api import Api, AwsFailed
from router.batches import states, work
from router.batches.aws import AwsStore
from router.batches.aws_chunks import Chunk, Span
from router.batches.pace import HIDDEN_S, STUCK_S, stuck_s
from router.batches.port import Batch, Counts, File, Line, Mistake, StoreUnavailable
from router.batches.schedule import Pace
from router.batches.sender import PREPARED, Sender, Sent
from router.batches.verdict import Answer
from router.identity import Key
from router.ledger.dynamo_table import definition
from router.s3 import Bucket
from router.workers.scheduler import Scheduler

NOW = 1_800_000_000
DAY = 86_400
URL = "/v1/chat/completions"
KEY = Key(id="k1", tenant="acme")
ROOM = 10**7
NUMBERS = itertools.count()


class Desk:
    """The router's part: `known` is what is known of the key, `answers` what a line is told."""

    draining = False

    def __init__(self, known=KEY, answers=None):
        self.known, self.answers = known, answers
        self.given_up = []
        self.asked = []

    def new_id(self):
        return f"req_{len(self.asked)}_{id(object())}"

    async def who(self, _batch):
        return self.known

    async def ask(self, _key, job, _path, _body):
        self.asked.append(job.line.number)
        if self.answers is not None:
            return await self.answers(job)
        return Answer(200, {}, b'{"paid":1}')

    async def give_up(self, request_id):
        self.given_up.append(request_id)
        return True


class Clock:
    def __init__(self):
        self.now_s = float(NOW)

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def aws():
    """Moto's address: one DynamoDB and one S3 for all tests of the module."""
    command = [sys.executable, Path(__file__).parents[1] / "dynamo_server.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running.stdout.readline().strip()
        running.stdin.close()
        running.wait(timeout=60)


@pytest.fixture
def store(aws, clock):
    name = f"batches-{next(NUMBERS)}"
    said = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": aws}
    said |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    dynamo_client(aws).call("CreateTable", definition(name))
    session = boto3.Session("test", "test", region_name="us-east-1")
    session.client("s3", endpoint_url=aws).create_bucket(Bucket=name)
    api, bucket = Api("dynamodb", None, said), Bucket(name, said)
    opened = AwsStore(api, name, bucket, most_bytes=ROOM, quota=ROOM, now=clock)
    yield opened
    opened.close()


def text_of(count, between=b""):
    row = {"method": "POST", "url": URL, "body": {"model": "auto", "messages": []}}
    rows = (json.dumps({"custom_id": f"c{n}", **row}).encode() for n in range(count))
    return b"\n".join(row + between for row in rows)


def batch(ends_s=NOW + DAY, name="1"):
    return Batch(
        f"batch_{name}",
        KEY,
        True,
        "file-1",
        URL,
        DAY,
        {},
        NOW,
        ends_s,
        DAY,
    )


def taken(store, most=10, now_s=NOW):
    return list(store.queue.take("batch_1", most, now_s, map(str, itertools.count()).__next__))


def added(store, text, **more):
    upload = store.files.begin(
        File("file-1", "acme", "k1", "batch", "", len(text), NOW, NOW + 10 * DAY)
    )
    upload.write(text)
    upload.done("in.jsonl")
    store.batches.add(batch(**more))


def sender_of(store, clock, desk=None, each=4, pace=None):
    return Sender(store, desk or Desk(), pace or Pace(None, 8), each, clock)


def stepped(sender, times=1):
    for _ in range(times):
        asyncio.run(sender.step("batch_1"))
    return sender.store.batches.find("batch_1")


# -- checking a batch ------------------------------------------------------------------------------


def test_a_file_of_many_blank_lines_is_put_into_the_queue(store, clock):
    added(store, text_of(90, b"\n" * 50))
    found = stepped(sender_of(store, clock))
    assert (found.status, found.counts) == ("in_progress", Counts(90))
    assert store.queue.counts("batch_1") == Counts(90)


def test_lines_whose_chunks_are_many_are_put_once(store):
    lines = [Line(1 + 51 * n, f"c{n}", n * 10, 9) for n in range(120)]
    for _ in range(2):
        store.queue.put("batch_1", lines)
    assert store.queue.counts("batch_1") == Counts(120)
    assert len(taken(store, 200)) == 120


def test_a_batch_that_nobody_could_check_in_time_expires(store, clock):
    added(store, text_of(2), ends_s=NOW + 3600)
    clock.now_s = NOW + 3600
    assert stepped(sender_of(store, clock)).status == "expired"


def test_a_batch_that_can_never_be_prepared_fails_and_says_so(store, clock):
    added(store, text_of(2))
    for _ in range(PREPARED):  # by functions that died of it
        store.batches.tried(store.batches.find("batch_1"))
    store.queue.put("batch_1", [Line(1, "c0", 0, 9)])  # that is how far they came
    found = stepped(sender_of(store, clock))
    assert (found.status, [one.code for one in found.mistakes]) == (
        "failed",
        ["preparation_failed"],
    )
    assert store.queue.counts("batch_1") == Counts()
    assert store.batches.unfinished() == []


def test_what_is_tried_less_often_is_prepared(store, clock):
    added(store, text_of(2))
    for _ in range(PREPARED - 1):
        store.batches.tried(store.batches.find("batch_1"))
    assert stepped(sender_of(store, clock)).status == "in_progress"


def test_tries_of_a_batch_that_is_over_are_not_counted(store):
    added(store, text_of(1))
    one = store.batches.find("batch_1")
    store.batches.change("batch_1", states.refused((), NOW))
    assert store.batches.tried(one) == 0


# -- sending lines ---------------------------------------------------------------------------------


ALL = Span("batch_1", 1, 50)
REVOKED = Mistake("key_revoked", "the key that made the batch is revoked")


def in_progress(store, clock, count):
    added(store, text_of(count))
    work.prepare(store, store.batches.find("batch_1"), clock)


async def until(over):
    while not over():  # noqa: ASYNC110  (what comes of threads sets no event)
        await asyncio.sleep(0.02)


def output_of(store):
    file_id = store.batches.find("batch_1").output_file_id
    return b"".join(store.files.read(store.files.find(file_id)))


@pytest.mark.parametrize("how", ["revoked", "cancelled"])
def test_what_is_under_way_as_a_batch_ends_is_kept_and_nothing_else_is_sent(store, clock, how):
    in_progress(store, clock, 60)
    go = asyncio.Event()

    async def slow(_job):
        await go.wait()
        return Answer(200, {}, b'{"paid":1}')

    desk = Desk(answers=slow)
    sender = sender_of(store, clock, desk)

    async def run():
        first = asyncio.create_task(sender.chunk(ALL, NOW + 800))
        await until(lambda: len(desk.asked) == 4)
        if how == "revoked":
            desk.known = REVOKED
            assert (await sender.chunk(Span("batch_1", 51, 100), NOW + 800)).kept == 0
        else:
            store.batches.change("batch_1", states.cancelled_by_caller(NOW))
        assert not await sender.step("batch_1")
        assert store.batches.find("batch_1").status in ("in_progress", "cancelling")
        go.set()
        assert (await first).kept == 4
        assert await sender.step("batch_1")

    asyncio.run(run())
    found = store.batches.find("batch_1")
    assert (found.status, found.counts) == (
        "failed" if how == "revoked" else "cancelled",
        Counts(60, 4, 56),
    )
    assert found.mistakes == ((REVOKED,) if how == "revoked" else ())
    assert output_of(store).count(b'"paid":1') == 4
    assert len(desk.asked) == 4


def test_a_result_that_came_too_late_is_not_counted(store, clock):
    in_progress(store, clock, 1)

    async def late(_job):
        store.queue.end("batch_1", "batch_cancelled", "over")
        return Answer(200, {}, b"{}")

    assert asyncio.run(sender_of(store, clock, Desk(answers=late)).chunk(ALL, NOW + 800)) == Sent()


def test_lines_under_way_end_before_a_store_that_failed_is_told(store, clock):
    """The table is gone for one look at a chunk's lines, while one of them is under way."""
    in_progress(store, clock, 4)
    client = store.queue._table._client
    calls, broken = client.call, []

    async def slow(job):
        if job.line.number == 1:
            broken.append(1)
        else:
            await until(lambda: broken == [1, 2])
        return Answer(200, {}, b"{}")

    class Faulty:
        def call(self, operation, body):
            if operation == "Query" and "BLINES" in json.dumps(body) and broken == [1]:
                broken.append(2)
                raise AwsFailed("throttled")
            return calls(operation, body)

    store.queue._table._client = Faulty()

    async def run():
        with pytest.raises(StoreUnavailable):
            await sender_of(store, clock, Desk(answers=slow), each=2).chunk(ALL, NOW + 800)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert store.queue.counts("batch_1") == Counts(4, 2, 0)


def test_what_is_not_done_when_the_functions_time_is_over_is_given_back(store, clock):
    in_progress(store, clock, 2)

    async def never(_job):
        clock.now_s = NOW + 900
        await asyncio.sleep(60)

    desk = Desk(answers=never)

    async def run():
        await sender_of(store, clock, desk).chunk(ALL, NOW + 800, NOW + 0.5)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert len(desk.given_up) == 2
    assert len(taken(store, now_s=NOW + 900)) == 2


def test_lines_that_no_function_could_send_get_a_clear_error(store, clock):
    in_progress(store, clock, 2)
    sender = sender_of(store, clock)
    told = asyncio.run(sender.refuse(ALL, "deadline_too_long", "a rule lets it take too long"))
    assert told == Sent(2, 2)
    assert store.chunks.of("batch_1") == []
    found = stepped(sender)
    assert (found.status, found.counts) == ("completed", Counts(2, 0, 2))


# -- what is put on the queue each minute ----------------------------------------------------------


def test_a_chunk_that_was_worked_on_before_it_was_noted_as_queued_comes_again(store, clock):
    in_progress(store, clock, 2)
    sent = []
    sender = sender_of(store, clock, Desk(known=None))  # for now nobody can tell whose key it is

    def send(messages):
        sent.extend(messages)
        for message in messages:  # a function is quicker than the scheduler's next call
            asyncio.run(sender.chunk(ALL, clock.now_s + 800))
            assert message == {"batch": "batch_1", "first": 1, "last": 50}

    scheduler = Scheduler(store, Pace(None, 8), send, clock)
    for _ in range(3):
        clock.now_s += 60
        scheduler.minute()
    assert len(sent) == 3


@pytest.mark.parametrize(
    ("left_s", "window_s", "after_s"),
    [
        (72 * 3600, None, STUCK_S),
        (8 * 3600, None, 2 * 3600),
        (72 * 3600, 8 * 3600, 2 * 3600),
        (3600, None, HIDDEN_S + 60),
        (10, None, HIDDEN_S + 60),
    ],
)
def test_a_chunk_whose_message_is_lost_comes_again_in_time(left_s, window_s, after_s):
    assert stuck_s(left_s, window_s) == after_s


def test_the_scheduler_counts_from_the_deadline(store, clock):
    added(store, text_of(1), ends_s=NOW + 3600)
    work.prepare(store, store.batches.find("batch_1"), clock)
    Scheduler(store, Pace(None, 8), lambda _: None, clock).minute()
    (chunk,) = store.chunks.of("batch_1")
    assert chunk == Chunk(ALL, NOW + HIDDEN_S + 60, queued=True)


def test_a_file_that_cant_be_removed_holds_nothing_up(store, clock, caplog):
    in_progress(store, clock, 1)
    for name in ("a", "b"):
        upload = store.files.begin(File(f"file-{name}", "acme", "k1", "batch", "", 1, NOW, NOW + 5))
        upload.write(b"x")
        upload.done(name)
    clock.now_s = NOW + 60
    bucket, sent = store.files.bucket, []
    delete = bucket.delete

    class Faulty:
        """S3 as it refuses one object."""

        def delete(self, key):
            if key == "files/file-a":
                raise AwsFailed("AccessDenied")
            delete(key)

    store.files._bucket = Faulty()
    did = Scheduler(store, Pace(None, 8), sent.extend, clock).minute()
    assert did == {"steps": 0, "chunks": 1, "removed": 1}
    assert len(sent) == 1
    assert "1 files could not be removed" in caplog.text


def test_a_sweep_that_fails_as_a_whole_holds_nothing_up(store, clock):
    in_progress(store, clock, 1)
    client = store.queue._table._client
    calls = client.call

    class Faulty:
        def call(self, operation, body):
            if operation == "Query" and '"BDUE"' in json.dumps(body):
                raise AwsFailed("throttled")
            return calls(operation, body)

    store.files._table._client = Faulty()
    did = Scheduler(store, Pace(None, 8), lambda _: None, clock).minute()
    assert did == {"steps": 0, "chunks": 1, "removed": 0}

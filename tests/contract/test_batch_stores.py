"""What every store of files and batches does alike: one suite over the table of stores."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from ledger_support import dynamo_client

from router.aws_api import Api
from router.batches import states, work
from router.batches.aws import AwsStore
from router.batches.aws_chunks import Span
from router.batches.aws_files import AwsFiles
from router.batches.aws_lines import LEASE_S
from router.batches.forms import batch_of, batch_row
from router.batches.local import REMOVE_AT_ONCE, LocalStore
from router.batches.local_files import UNFINISHED_S
from router.batches.port import (
    Asked,
    Batch,
    Counts,
    File,
    Line,
    Mistake,
    QuotaSpent,
    Result,
    StoreUnavailable,
    TooManyBatches,
)
from router.identity import Key
from router.ledger.dynamo_table import definition
from router.s3 import Bucket

NOW = 1_800_000_000
DAY = 86_400
URL = "/v1/chat/completions"
QUOTA = 10_000


class Clock:
    def __init__(self):
        self.now_s = float(NOW)

    def __call__(self):
        return self.now_s


def on_disk(request, clock):
    return LocalStore(request.getfixturevalue("tmp_path"), QUOTA, clock)


@pytest.fixture(scope="module")
def aws():
    """Moto's address: one DynamoDB and one S3 for all tests of the module."""
    server = Path(__file__).parents[1] / "dynamo_server.py"
    command = [sys.executable, server]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield running.stdout.readline().strip()
        running.stdin.close()
        running.wait(timeout=60)


def on_aws(request, clock):
    address, name = request.getfixturevalue("aws"), f"batches-{next(NUMBERS)}"
    said = remote_environment(request)
    api = Api("dynamodb", None, said)
    dynamo_client(address).call("CreateTable", definition(name))
    session = boto3.Session("test", "test", region_name="us-east-1")
    session.client("s3", endpoint_url=address).create_bucket(Bucket=name)
    bucket = Bucket(name, said)
    return AwsStore(api, name, bucket, most_bytes=QUOTA, quota=QUOTA, now=clock)


NUMBERS = itertools.count()
STORES = {"local": on_disk, "aws": on_aws}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=STORES)
def store(request, clock):
    opened = STORES[request.param](request, clock)
    yield opened
    opened.close()


def file(name="1", most=1000, *, tenant="acme", purpose="batch", ends=NOW + DAY):
    return File(f"file-{name}", tenant, "k1", purpose, "", most, NOW, ends)


def put(store, name="1", text=b"hello", **more):
    upload = store.files.begin(file(name, **more))
    upload.write(text)
    return upload.done("in.jsonl")


def batch(name="1", tenant="acme", source="file-1"):
    key = Key(id="k1", tenant=tenant, tags={"a": "b"}, lanes=("cpu",))
    ends = NOW + DAY
    return Batch(f"batch_{name}", key, True, source, URL, DAY, {"为": "夜"}, NOW, ends, DAY)


def lines(count=3):
    return [Line(n, f"行-{n}", n * 10, 9) for n in range(1, count + 1)]


def ids():
    numbers = itertools.count()
    return lambda: f"req_{next(numbers)}"


def taken(store, most=10, now_s=NOW, name="1"):
    return list(store.queue.take(f"batch_{name}", most, now_s, ids()))


def result(job, status=200, body=b'{"a":1}'):
    return Result(job.line.number, job.line.custom_id, job.request_id, status, body)


# -- files -----------------------------------------------------------------------------------------


def test_a_file_is_seen_when_it_is_whole_and_not_before(store):
    upload = store.files.begin(file())
    upload.write(b"ab")
    assert store.files.find("file-1") is None
    upload.write(b"cd")
    whole = upload.done("名.jsonl")
    assert (whole.bytes, whole.filename) == (4, "名.jsonl")
    assert store.files.find("file-1") == whole
    assert b"".join(store.files.read(whole)) == b"abcd"
    assert b"".join(store.files.read(whole, 1, 2)) == b"bc"
    upload.drop()  # as its sender's connection closes
    assert store.files.find("file-1") == whole


def test_what_is_dropped_leaves_nothing(store):
    upload = store.files.begin(file(most=QUOTA))
    upload.write(b"ab")
    upload.drop()
    assert store.files.find("file-1") is None
    put(store, "2", most=QUOTA)  # the quota is free again


def test_a_quota_counts_what_is_being_written_and_is_a_tenants_own(store):
    upload = store.files.begin(file("1", QUOTA - 10))
    with pytest.raises(QuotaSpent) as told:
        store.files.begin(file("2", 11))
    assert (told.value.used, told.value.most) == (QUOTA - 10, QUOTA)
    put(store, "3", tenant="other", most=QUOTA)
    upload.write(b"abc")
    upload.done("a")  # less came than was said
    put(store, "2", most=QUOTA - 3)
    put(store, "4", purpose="batch_output", most=QUOTA)  # what was paid for is kept


def test_removed_is_removed_once(store):
    kept = put(store)
    assert store.files.remove(kept)
    assert not store.files.remove(kept)
    assert store.files.find("file-1") is None


def test_a_file_is_gone_when_it_expires_and_swept_then(store, clock):
    put(store, "1", ends=NOW + 10)
    other = put(store, "2")
    clock.now_s = NOW + 10
    assert store.files.find("file-1") is None
    assert [row.id for row in store.files.page(Asked("acme", 10)).rows] == ["file-2"]
    assert store.sweep(clock.now_s) == 1
    assert b"".join(store.files.read(other)) == b"hello"


def test_an_upload_that_nobody_finishes_gives_its_quota_back(store, clock):
    upload = store.files.begin(file(most=QUOTA))
    clock.now_s = NOW + UNFINISHED_S
    store.sweep(clock.now_s)
    put(store, "2", most=QUOTA)
    upload.drop()


def test_pages_are_a_tenants_in_order(store):
    for name in "1234":
        put(store, name, purpose="batch_output" if name == "2" else "batch")
    put(store, "5", tenant="other")

    def names(**more):
        page = store.files.page(Asked("acme", 2, **more))
        return [row.id[-1] for row in page.rows], page.more

    assert names() == (["4", "3"], True)
    assert names(after="file-3") == (["2", "1"], False)
    assert names(oldest_first=True) == (["1", "2"], True)
    assert names(oldest_first=True, after="file-2") == (["3", "4"], False)
    assert names(purpose="batch_output") == (["2"], False)
    assert names(after="file-5") == ([], False)
    assert names(after="file-9") == ([], False)


@pytest.mark.parametrize("oldest_first", [True, False])
def test_pages_go_on_after_a_file_that_was_removed_or_has_expired(tmp_path, clock, oldest_first):
    store = LocalStore(tmp_path, QUOTA, clock)
    for name in "12345":
        put(store, name, ends=NOW + 10 if name == "2" else NOW + DAY)
    first = store.files.page(Asked("acme", 2, None, oldest_first)).rows
    for one in first:
        store.files.remove(one)
    clock.now_s += 20
    store.files.sweep(clock.now_s)
    again = [store.files.page(Asked("acme", 9, after.id, oldest_first)) for after in first]
    names = ["3", "4", "5"] if oldest_first else ["3", "1"]
    assert [one.id for one in again[1].rows] == [f"file-{name}" for name in names]
    gone = store.files.page(Asked("acme", 9, "file-2", oldest_first=True))
    assert [one.id[-1] for one in gone.rows] == (["3", "4", "5"] if oldest_first else ["3"])
    assert store.files.page(Asked("other", 9, first[0].id, oldest_first)).rows == []
    store.close()


# -- batches ---------------------------------------------------------------------------------------


def test_a_batch_is_kept_as_it_is(store):
    made = replace(
        batch(),
        counts=Counts(3, 1, 1),
        mistakes=(Mistake("code", "说", 3, "body"),),
        times={"in_progress": NOW},
    )
    store.batches.add(made)
    assert store.batches.find("batch_1") == made
    assert batch_of(batch_row(made)) == made
    assert store.batches.find("batch_2") is None


def test_a_change_is_made_to_what_is_there(store):
    store.batches.add(batch())
    store.batches.change("batch_1", states.cancelled_by_caller(NOW + 1))
    store.batches.change("batch_1", states.validated(3, NOW + 2))  # too late: it no longer fits
    found = store.batches.find("batch_1")
    assert (found.status, dict(found.times)) == ("cancelling", {"cancelling": NOW + 1})
    assert store.batches.change("batch_9", states.finalizing(NOW)) is None


def test_those_that_are_not_over_come_by_their_deadlines(store):
    for name, ends in (("1", 300), ("2", 100), ("3", 200)):
        store.batches.add(replace(batch(name), expires_s=NOW + ends))
    store.batches.change("batch_3", states.refused((), NOW))
    assert [one.id for one in store.batches.unfinished()] == ["batch_2", "batch_1"]


def test_a_tenant_has_only_so_many_that_are_not_over(store):
    for name in "12":
        store.batches.add(batch(name), 2)
    with pytest.raises(TooManyBatches):
        store.batches.add(batch("3"), 2)
    assert store.batches.find("batch_3") is None
    store.batches.add(batch("4", tenant="other"), 2)
    for _ in range(2):  # the second time it is over
        store.batches.change("batch_1", states.refused((), NOW))
    store.batches.add(batch("3"), 2)
    with pytest.raises(TooManyBatches):
        store.batches.add(batch("5"), 2)


def test_a_file_is_read_by_its_batches_until_they_are_over(store):
    source = put(store)
    assert store.batches.reader_of(source) is None
    store.batches.add(batch(source="file-2"))
    store.batches.add(batch("2"))
    assert store.batches.reader_of(source) == "batch_2"
    store.batches.change("batch_2", states.refused((), NOW))
    assert store.batches.reader_of(source) is None


# -- lines -----------------------------------------------------------------------------------------


def test_a_line_is_taken_by_one(store):
    store.queue.put("batch_1", lines())
    store.queue.put("batch_1", lines())  # gone on with after it was broken off
    first = taken(store, 2)
    assert [job.line for job in first] == lines()[:2]
    assert [job.line.number for job in taken(store)] == [3]
    assert taken(store) == []
    assert store.queue.counts("batch_1") == Counts(3, 0, 0)


def test_a_line_that_is_given_back_comes_again_then_with_another_key(store):
    store.queue.put("batch_1", lines(1))
    (job,) = taken(store)
    store.queue.later(job, NOW + 5, "503 overloaded", failed=True)
    assert taken(store, now_s=NOW + 4.9) == []
    (again,) = taken(store, now_s=NOW + 5)
    assert (again.sends, again.failures) == (1, 1)
    assert job.once() != again.once()


def test_the_first_result_of_a_line_is_kept_and_no_other(store):
    store.queue.put("batch_1", lines(2))
    one, two = taken(store)
    assert store.queue.keep(one, result(one))
    assert not store.queue.keep(one, result(one, 500))
    store.queue.later(one, NOW, "too late")
    assert store.queue.keep(two, result(two, 400))
    assert taken(store) == []
    assert store.queue.counts("batch_1") == Counts(2, 1, 1)
    assert list(store.queue.results("batch_1", ok=True)) == [result(one)]
    assert list(store.queue.results("batch_1", ok=False)) == [result(two, 400)]


def test_results_come_by_their_lines_numbers(store):
    store.queue.put("batch_1", lines(250))
    for job in reversed(taken(store, 250)):
        store.queue.keep(job, result(job))
    numbers = [one.number for one in store.queue.results("batch_1", ok=True)]
    assert numbers == list(range(1, 251))


def died(store, clock):
    """Return the lines of those who died; on AWS a message tells of them, once their time is up."""
    if isinstance(store, AwsStore):
        assert not store.queue.died()
        clock.now_s = NOW + LEASE_S
        return store.queue.within(Span("batch_1", 1, 50)).died()
    return store.queue.died()


def test_what_a_dead_sender_had_is_known_by_its_request(store, clock):
    store.queue.put("batch_1", lines())
    job, done, _ = taken(store)
    store.queue.keep(done, result(done))
    left = {dead.line.number: dead.request_id for dead in died(store, clock)}
    assert left == {1: job.request_id, 3: "req_2"}
    for dead in died(store, clock):
        store.queue.later(dead, NOW, "the router ended")
    assert not died(store, clock)
    assert [again.line.number for again in taken(store)] == [1, 3]


def test_at_the_end_every_line_has_a_result_with_its_last_reason(store):
    store.queue.put("batch_1", lines())
    done, sent = taken(store, 2)
    store.queue.keep(done, result(done))
    store.queue.later(sent, NOW + 9, "503 overloaded")
    for _ in range(2):
        store.queue.end("batch_1", "batch_expired", "not in time")
    bad = list(store.queue.results("batch_1", ok=False))
    assert [(one.number, one.status, one.code) for one in bad] == [
        (2, None, "batch_expired"),
        (3, None, "batch_expired"),
    ]
    assert "503 overloaded" in bad[0].message
    assert store.queue.counts("batch_1") == Counts(3, 1, 2)
    store.queue.forget("batch_1")
    assert store.queue.counts("batch_1") == Counts()


# -- whole batches, broken off at any point --------------------------------------------------------


def source_of(count=3):
    row = b'{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"n":%d}}\n'
    return b"".join(row % (n, n) for n in range(count))


def test_a_batch_is_prepared_once_however_often_it_is_begun(store, clock):
    put(store, text=source_of())
    store.batches.add(batch())
    store.queue.put("batch_1", lines(1))  # as one that died in the middle of it left
    for _ in range(2):
        work.prepare(store, store.batches.find("batch_1"), clock)
    assert store.batches.find("batch_1").counts == Counts(3)
    assert store.queue.counts("batch_1") == Counts(3)


def test_a_body_is_read_where_its_line_lies(store, clock):
    source = put(store, text=source_of())
    store.batches.add(batch())
    work.prepare(store, batch(), clock)
    bodies = [work.line_body(store, source, job) for job in taken(store)]
    assert bodies == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_an_input_file_that_is_gone_fails_the_batch(store, clock):
    store.batches.add(batch())
    work.prepare(store, batch(), clock)
    found = store.batches.find("batch_1")
    assert (found.status, found.mistakes) == ("failed", (work.GONE,))


def test_files_that_are_made_again_are_the_same_files(store, clock):
    store.batches.add(batch())
    store.batches.change("batch_1", states.validated(2, NOW))
    store.queue.put("batch_1", lines(2))
    one, two = taken(store)
    store.queue.keep(one, result(one))
    store.queue.keep(two, result(two, 500))

    class DiesError(Exception):
        pass

    class Broken:
        """The batches of a process that is killed before it can say that the files are made."""

        def change(self, batch_id, to):
            raise DiesError

    class Half:
        files, queue, batches = store.files, store.queue, Broken()

    with pytest.raises(DiesError):
        work.finish(Half, store.batches.find("batch_1"), clock, "completed")
    work.finish(store, store.batches.find("batch_1"), clock, "completed")
    page = store.files.page(Asked("acme", 10))
    made = store.batches.find("batch_1")
    assert {row.id for row in page.rows} == {made.output_file_id, made.error_file_id}
    assert (made.status, made.counts) == ("completed", Counts(2, 1, 1))
    output = store.files.find(made.output_file_id)
    assert b"".join(store.files.read(output)).count(b"\n") == 1
    assert store.queue.counts("batch_1") == Counts()


# -- what is over long ago -------------------------------------------------------------------------


@pytest.mark.parametrize(("files_s", "days"), [(DAY, 31), (90 * DAY, 90)])
def test_a_batch_is_forgotten_when_it_is_long_over_and_so_are_its_files(
    tmp_path, clock, files_s, days
):
    store = LocalStore(tmp_path, QUOTA, clock)
    store.batches.add(replace(batch(), files_s=files_s))
    store.batches.add(batch("2"))  # never over: it is not swept
    store.batches.change("batch_1", states.refused((), NOW))
    clock.now_s = NOW + DAY + days * DAY - 1
    store.sweep(clock.now_s)
    assert store.batches.find("batch_1").status == "failed"
    clock.now_s += 1
    store.sweep(clock.now_s)
    assert store.batches.find("batch_1") is None
    assert [one.id for one in store.batches.page(Asked("acme", 9)).rows] == ["batch_2"]
    store.close()


def late(store, clock):
    """Expire a batch 40 days after it was made, as a router does that was down so long."""
    store.batches.add(replace(batch(), files_s=30 * DAY))
    store.batches.change("batch_1", states.validated(1, NOW))
    store.queue.put("batch_1", lines(1))
    clock.now_s = NOW + 40 * DAY
    work.finish(store, store.batches.find("batch_1"), clock, "expired", work.EXPIRED)
    return store.batches.find("batch_1").error_file_id


def test_a_batch_that_ended_long_after_its_deadline_stays_as_long_as_its_files(tmp_path, clock):
    store = LocalStore(tmp_path, QUOTA, clock)
    errors = late(store, clock)
    clock.now_s = NOW + 71 * DAY - 1
    store.sweep(clock.now_s)
    assert store.files.find(errors) is None
    assert store.batches.find("batch_1").status == "expired"
    clock.now_s += 1
    store.sweep(clock.now_s)
    assert store.batches.find("batch_1") is None
    store.close()


def test_a_batch_that_nobody_can_read_stops_no_sweep_and_is_told_of_once(tmp_path, clock, caplog):
    store = LocalStore(tmp_path, QUOTA, clock)
    put(store)
    for name in "123":
        store.batches.add(batch(name))
        store.batches.change(f"batch_{name}", states.refused((), NOW))
    broken = b'{"v":9}'
    with store._db.writing():
        store._db.run("UPDATE batches SET row = ? WHERE id = 'batch_2'", (broken,))
    clock.now_s = NOW + 40 * DAY
    assert store.sweep(clock.now_s) == 1
    store.sweep(clock.now_s)
    assert store._db.rows("SELECT id, row FROM batches") == [("batch_2", broken)]
    told = ["batch batch_2 can't be read (KeyError): it is kept"]
    assert [record.getMessage() for record in caplog.records] == told
    store.close()


@pytest.mark.parametrize("oldest_first", [True, False])
def test_pages_go_on_after_a_batch_that_was_forgotten(tmp_path, clock, oldest_first):
    store = LocalStore(tmp_path, QUOTA, clock)
    for name in "1234":
        store.batches.add(batch(name))
    for name in "23":
        store.batches.change(f"batch_{name}", states.refused((), NOW))
    clock.now_s = NOW + 40 * DAY
    store.sweep(clock.now_s)
    for after in ("batch_2", "batch_3"):
        page = store.batches.page(Asked("acme", 9, after, oldest_first))
        assert [one.id for one in page.rows] == ["batch_4" if oldest_first else "batch_1"]
        assert store.batches.page(Asked("other", 9, after, oldest_first)).rows == []
    clock.now_s += 2 * DAY
    store.sweep(clock.now_s)
    assert store._db.rows("SELECT id FROM batches_gone") == []
    store.close()


def test_more_batches_than_go_at_once_are_forgotten_in_one_sweep(tmp_path, clock):
    store = LocalStore(tmp_path, QUOTA, clock)
    for name in range(REMOVE_AT_ONCE + 1):
        store.batches.add(batch(name))
        store.batches.change(f"batch_{name}", states.refused((), NOW))
    store.sweep(NOW + 40 * DAY)
    assert store.batches.page(Asked("acme", 9)).rows == []
    store.close()


# -- what only the one on AWS does -----------------------------------------------------------------


@pytest.fixture
def remote(request, clock):
    store = on_aws(request, clock)
    yield store
    store.close()


def test_a_file_of_many_parts_is_the_file_that_was_sent(remote):
    text = b"".join(b"%07d\n" % n for n in range(2_200_000))
    upload = remote.files.begin(file(most=0, purpose="batch_output"))
    for at in range(0, len(text), 1 << 20):
        upload.write(text[at : at + (1 << 20)])
    whole = upload.done("out.jsonl")
    assert whole.bytes == len(text)
    assert b"".join(remote.files.read(whole)) == text
    assert b"".join(remote.files.read(whole, 8 * 2_000_000, 7)) == b"2000000"


def test_a_file_of_many_parts_that_is_broken_off_leaves_nothing(remote):
    upload = remote.files.begin(file(most=0, purpose="batch_output"))
    upload.write(b"x" * (9 << 20))
    upload.drop()
    assert remote.files.find("file-1") is None


def test_chunks_are_due_when_their_lines_are_and_gone_with_the_last_result(remote):
    remote.queue.put("batch_1", lines(120))
    spans = [chunk.span for chunk in remote.chunks.of("batch_1")]
    assert [(span.first, span.last) for span in spans] == [(1, 50), (51, 100), (101, 150)]
    last = remote.chunks.of("batch_1")[-1]
    remote.chunks.queued(last, NOW + 100)
    assert remote.chunks.of("batch_1")[-1] == replace(last, due_s=NOW + 100, queued=True)
    queue = remote.queue.within(last.span)
    jobs = queue.take("batch_1", 50, NOW, ids())
    assert [job.line.number for job in jobs] == list(range(101, 121))
    for job in jobs[1:]:
        queue.keep(job, result(job))
    queue.later(jobs[0], NOW + 30, "503 overloaded")
    remote.chunks.worked_on(last.span, queue.open_times("batch_1"))
    assert remote.chunks.of("batch_1")[-1] == replace(last, due_s=NOW + 30)
    (again,) = queue.take("batch_1", 50, NOW + 30, ids())
    queue.keep(again, result(again))
    remote.chunks.worked_on(last.span, queue.open_times("batch_1"))
    assert [chunk.span for chunk in remote.chunks.of("batch_1")] == spans[:2]


def test_dynamodb_takes_all_that_is_left_of_a_batch_31_days_after_its_deadline(remote, clock):
    remote.batches.add(batch())
    remote.batches.change("batch_1", states.validated(2, NOW))
    remote.queue.put("batch_1", lines(2))
    for job in taken(remote):
        remote.queue.keep(job, result(job))
    work.finish(remote, remote.batches.find("batch_1"), clock, "completed")
    remote.sweep(NOW + 2 * DAY)
    table = remote.batches._table
    left = [item for item in table.scan() if item["pk"] != "BQUOTA#acme"]  # a tenant's own
    assert {item["pk"] for item in left} == {"BATCH#batch_1", "BATCHES#acme"}
    assert {item["gone_s"] for item in left} == {NOW + DAY + 31 * DAY}


def test_dynamodb_keeps_a_batch_that_ended_long_after_its_deadline(remote, clock):
    late(remote, clock)
    left = {item["pk"]: item.get("gone_s") for item in remote.batches._table.scan()}
    until_s = NOW + 71 * DAY
    assert (left["BATCH#batch_1"], left["BATCHES#acme"]) == (until_s, until_s)


def test_a_step_of_a_batch_is_begun_by_one(remote):
    remote.batches.add(batch())
    one = remote.batches.find("batch_1")
    assert remote.batches.begin_step(one, "prepare", NOW, NOW + 60)
    assert not remote.batches.begin_step(one, "prepare", NOW + 1, NOW + 61)
    assert remote.batches.begin_step(one, "cancel", NOW + 1, NOW + 61)
    remote.batches.not_yet(one)
    assert remote.batches.begin_step(one, "cancel", NOW + 1, NOW + 61)
    assert remote.batches.begin_step(one, "cancel", NOW + 61, NOW + 121)


def test_a_table_or_bucket_that_is_gone_is_told_without_what_was_in_it(remote):
    remote.queue._table._client.call("DeleteTable", {"TableName": remote.queue._table.name})
    with pytest.raises(StoreUnavailable, match="the table can't be used"):
        remote.batches.find("batch_1")


def test_a_bucket_that_is_none_is_told_without_what_was_sent(request, clock, remote):
    files = AwsFiles(remote.queue._table, Bucket("nowhere", remote_environment(request)), clock, 99)
    upload = files.begin(file(most=9))
    upload.write(b"secret")
    with pytest.raises(StoreUnavailable, match="S3 can't be used: NoSuchBucket"):
        upload.done("a")


def remote_environment(request):
    address = request.getfixturevalue("aws")
    said = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    return said | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

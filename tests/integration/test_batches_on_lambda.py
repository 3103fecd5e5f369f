"""Batches on AWS: a router on Lambda takes them, scheduler and dispatcher run under Lambda's own
emulator, S3, SQS and DynamoDB are moto's, the fleets are emulated ones over HTTP.

The test stands in for EventBridge (a minute passes when it says so) and for Lambda's reading of the
queue: it takes messages, invokes the function and deletes what it did not give back.
"""

import contextlib
import json
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rie import function
from support import catalogue, fleet, plain, policy, wait_until
from worker_support import KEYS, TABLE, held_against, measured, playing_aws

from backends.base import Seen
from router import load_items
from router.batches import states
from router.batches.aws import AwsStore
from router.load_items import LoadItem
from router.s3 import Bucket

BUCKET, QUEUE, DEAD = "sluice-test-batches", "sluice-test-batches", "sluice-test-batches-failed"
RECEIPTS = "sluice-test-receipts"
ROLE = "arn:aws:iam::123456789012:role/r"
HIDDEN_S = 3
TRIES = 2
ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
EMULATED = """version: 1
models: [{{id: llama-4-scout, context_tokens: 4000}}]
fleets:
  - {{id: p5-scout, model: llama-4-scout, lane: batch, engine: emulated, kind: emulated,
      url: "{emulator}/p5-scout/v1", instance: p5.48xlarge, region: us-east-1,
      replicas: {{min: 1, max: 1, concurrency_each: 64}}, profile: p5.48xlarge/llama-4-scout}}
"""


class Stage:
    """What a stage has for batches; `config`: what is in a bundle's."""

    def __init__(self, aws, config, tmp_path):
        self.aws, self.config, self._folder = aws, config, tmp_path
        s3, sqs = aws.client("s3"), aws.client("sqs")
        s3.create_bucket(Bucket=BUCKET)
        s3.create_bucket(Bucket="lake")
        aws.client("firehose").create_delivery_stream(
            DeliveryStreamName=RECEIPTS,
            S3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::lake"},
        )
        self.dead = sqs.create_queue(QueueName=DEAD)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": TRIES}
        attributes = {"VisibilityTimeout": str(HIDDEN_S), "RedrivePolicy": json.dumps(redrive)}
        self.queue = sqs.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"]
        self.s3, self.sqs = s3, sqs
        self.environment = {
            **aws.environment,
            "SLUICE_BATCHES": BUCKET,
            "SLUICE_QUEUE": self.queue,
            "SLUICE_RECEIPTS": RECEIPTS,
            "SLUICE_AT_ONCE": "20",
            "SLUICE_FLEETS": str(config / "fleets.yaml"),
            "SLUICE_STATE": str(tmp_path / "state-of-lambda"),
        }

    @contextlib.contextmanager
    def workers(self, **more):
        """Run the scheduler and the dispatcher."""
        told = self.environment | more
        with (
            function("router.workers.scheduler.handler", told, self._folder) as scheduler,
            function("router.workers.dispatcher.handler", told, self._folder, 900) as dispatcher,
        ):
            yield Workers(self, scheduler, dispatcher)

    def messages(self):
        """Take what is visible, as Lambda does."""
        return self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get(
            "Messages", []
        )

    def put_aside(self):
        return self.sqs.receive_message(QueueUrl=self.dead).get("Messages", [])


class Workers:
    def __init__(self, stage, scheduler, dispatcher):
        self.stage, self.scheduler, self.dispatcher = stage, scheduler, dispatcher

    def minute(self):
        """Let a minute pass: what is due is put on the queue, and worked on. Return what was."""
        due = self.scheduler.invoke({})
        while messages := self.stage.messages():
            for message in messages:
                self.give(message)
        return due

    def give(self, message):
        """Invoke the dispatcher as Lambda does for one message."""
        record = {"messageId": message["MessageId"], "body": message["Body"]}
        answer = self.dispatcher.invoke({"Records": [record]})
        if answer == {"batchItemFailures": []}:
            receipt = message["ReceiptHandle"]
            self.stage.sqs.delete_message(QueueUrl=self.stage.queue, ReceiptHandle=receipt)
        return answer

    def until(self, over, minutes=12):
        """Let minutes pass until the batch is over; return it."""
        for _ in range(minutes):
            self.minute()
            batch = over()
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return batch
        raise AssertionError(f"{batch}\n{self.scheduler.log()}\n{self.dispatcher.log()}")


@pytest.fixture
def aws(tmp_path, monkeypatch):
    with playing_aws(tmp_path) as played:
        said = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
        for name, value in {**KEYS, **said, "AWS_ENDPOINT_URL": played.address}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLUICE_STAGE", "test")
        yield played


@pytest.fixture
def stage(aws, tmp_path):
    config = tmp_path / "config"
    config.mkdir()
    return Stage(aws, config, tmp_path)


class Caller:
    """Who has batches made, of a router on Lambda."""

    def __init__(self, router):
        self.http, self.router = router.http, router

    def batch(self, *texts, hours=24):
        rows = [
            {
                "custom_id": f"row-{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "auto", "max_tokens": 20, "messages": [
                    {"role": "user", "content": text}]},
            }
            for n, text in enumerate(texts)
        ]  # fmt: skip
        text = "\n".join(json.dumps(row) for row in rows).encode()
        sent = self.http.post(
            "/v1/files", files={"file": ("in.jsonl", text)}, data={"purpose": "batch"}
        )
        assert sent.status_code == 200, sent.text
        asked = {
            "input_file_id": sent.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": f"{hours}h",
        }
        made = self.http.post("/v1/batches", json=asked)
        assert made.status_code == 200, made.text
        return made.json()["id"]

    def shown(self, batch_id):
        return self.http.get(f"/v1/batches/{batch_id}").json()

    def lines(self, file_id):
        content = self.http.get(f"/v1/files/{file_id}/content")
        assert content.status_code == 200, content.text
        return [json.loads(line) for line in content.text.splitlines()]


@pytest.fixture
def start(stage, start_router):
    """Start a router of the stage over these fleets."""

    def started(fleets, text):
        (stage.config / "fleets.yaml").write_text(fleets)
        (stage.config / "policy.yaml").write_text(text)
        router = start_router(
            fleets, text, "--router-on", "lambda", "--ledger", f"dynamodb:{TABLE}",
            "--receipts", f"firehose:{RECEIPTS}", "--batches", f"s3:{BUCKET}",
        )  # fmt: skip
        return Caller(router)

    return started


@pytest.fixture
def caller(start, upstream):
    """A caller whose batches one fleet answers, which a test lets do as it likes."""
    upstream.answers(plain())
    return start(catalogue(fleet("one", upstream.url)), policy())


def charges(stage):
    return list(stage.aws.ledger.entries(*ALWAYS))


def test_a_batch_is_answered_by_emulated_fleets_and_charged_once_a_line(stage, start, emulator):
    rules = "  - {id: nightly, when: {service_class: deferrable}, use: batch}\n"
    text = policy(baseline="llama-4-scout@p5-scout", rules=rules)
    caller = start(EMULATED.format(emulator=emulator), text)
    batch_id = caller.batch(*(f"What is {n} plus {n}?" for n in range(120)))
    assert caller.shown(batch_id)["status"] == "validating"
    stage.aws.forget()
    with stage.workers() as workers:
        batch = workers.until(lambda: caller.shown(batch_id))
        assert batch["status"] == "completed", batch
        assert batch["request_counts"] == {"total": 120, "completed": 120, "failed": 0}
        calls = [call for call in stage.aws.calls() if "lake" not in call["resource"]]
        measured("dispatcher", workers.dispatcher)
        measured("scheduler", workers.scheduler)
        lines = [m[3] for m in workers.dispatcher.metrics() if m[2] == "BatchLines"]
        assert sum(lines) == 120
        assert "What is" not in workers.dispatcher.log() + workers.scheduler.log()
    rows = caller.lines(batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == [f"row-{n}" for n in range(120)]
    assert all(row["response"]["status_code"] == 200 for row in rows)
    assert batch["error_file_id"] is None
    entries = charges(stage)
    assert len(entries) == 120
    assert {entry.service_class for entry in entries} == {"deferrable"}
    assert calls


def test_what_each_of_them_asks_for_is_what_its_role_allows(stage, caller):
    batch_id = caller.batch("hi", "ho")
    with stage.workers() as workers:
        stage.aws.forget()
        workers.scheduler.invoke({})
        held_against("scheduler", stage.aws.calls())
        (message,) = stage.messages()
        stage.aws.forget()
        workers.give(message)
        workers.scheduler.invoke({})
        (message,) = stage.messages()
        workers.give(message)
        workers.scheduler.invoke({})
        (message,) = stage.messages()
        workers.give(message)
        wanted = ("dynamodb", "s3", "firehose")
        calls = [call for call in stage.aws.calls() if call["service"] in wanted]
        held_against("dispatcher", [call for call in calls if "lake" not in call["resource"]])
    assert caller.shown(batch_id)["status"] == "completed"


def window(begins_in_minutes, minutes):
    """Return a window that opens in so many minutes."""
    begins = datetime.now(UTC) + timedelta(minutes=begins_in_minutes)
    ends = begins + timedelta(minutes=minutes)
    return f"{begins:%H:%M}-{ends:%H:%M}@UTC"


def test_outside_the_window_nothing_is_put_on_the_queue_and_inside_it_is(stage, caller, upstream):
    batch_id = caller.batch("hi")
    with stage.workers(SLUICE_WINDOW=window(120, 60)) as workers:
        assert workers.minute() == {"steps": 1, "chunks": 0, "removed": 0}
        assert caller.shown(batch_id)["status"] == "in_progress"
        for _ in range(2):
            assert workers.minute() == {"steps": 0, "chunks": 0, "removed": 0}
    assert upstream.bodies == []
    with stage.workers(SLUICE_WINDOW=window(-60, 120)) as workers:
        assert workers.until(lambda: caller.shown(batch_id))["status"] == "completed"


ASLEEP = """  - {{id: asleep, model: m, lane: batch, engine: vllm, kind: openai_http, url: "{url}",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b,
     replicas: {{min: 0, max: 1, concurrency_each: 8}},
     wake: {{seconds: 2, min_run_seconds: 60}}}}
"""


def seen(stage, replicas):
    """Let the observer have seen so many replicas of the fleet that sleeps."""
    states_seen = (Seen("up"),) if replicas else ()
    item = LoadItem("asleep", int(time.time() * 1000), states_seen, replicas=replicas)
    load_items.write(stage.aws.table, [item])


def test_lines_wait_for_a_fleet_that_sleeps_and_go_to_no_dearer_lane(
    stage, start, upstream, second_upstream
):
    upstream.answers(plain())
    second_upstream.answers(plain())
    nightly = "  - {id: nightly, when: {service_class: deferrable}, use: batch}\n"
    rules = f"{nightly}  - {{id: all, use: cpu}}\n"
    fleets = catalogue(ASLEEP.format(url=upstream.url), fleet("dear", second_upstream.url))
    caller = start(fleets, policy(baseline="m@dear", rules=rules))
    batch_id = caller.batch("hi", "ho")
    with stage.workers() as workers:
        workers.minute()
        for _ in range(2):
            seen(stage, 0)
            workers.minute()
        assert caller.shown(batch_id)["request_counts"] == {
            "total": 2, "completed": 0, "failed": 0,
        }  # fmt: skip
        assert "a wake-up is asked for" in workers.dispatcher.log()
        assert charges(stage) == []

        def done():
            seen(stage, 1)
            workers.minute()
            return caller.shown(batch_id)["status"] == "completed"

        wait_until(done, 60)
    assert (len(upstream.bodies), len(second_upstream.bodies)) == (2, 0)
    assert {entry.fleet for entry in charges(stage)} == {"asleep"}


def store_of(stage):
    return AwsStore(
        stage.aws.api, TABLE, Bucket(BUCKET, stage.aws.environment), most_bytes=10**6, quota=10**9
    )


def added(stage, caller, texts, ends_in_s):
    """Add a batch with a nearer deadline than the API takes."""
    store = store_of(stage)
    batch = store.batches.find(caller.batch(*texts))
    near = replace(batch, id=f"{batch.id}near", expires_s=int(time.time()) + ends_in_s)
    store.batches.add(near)
    store.batches.change(batch.id, states.cancelled_by_caller(time.time()))
    return near.id


def test_a_deadline_that_presses_opens_the_window(stage, caller):
    batch_id = added(stage, caller, ["hi"], 280)
    with stage.workers(SLUICE_WINDOW=window(120, 60)) as workers:
        assert workers.until(lambda: caller.shown(batch_id))["status"] == "completed"


def test_a_batch_that_has_expired_is_closed_with_its_error_lines(stage, caller, upstream):
    upstream.answers(plain({"error": {"message": "no"}}, 503, "retry-after: 600\r\n"))
    batch_id = added(stage, caller, ["hi", "ho"], 12)
    with stage.workers() as workers:
        workers.minute()
        workers.minute()
        ends_s = store_of(stage).batches.find(batch_id).expires_s
        assert caller.shown(batch_id)["status"] == "in_progress" or time.time() >= ends_s
        time.sleep(max(0.0, ends_s - time.time()))
        batch = workers.until(lambda: caller.shown(batch_id))
    assert batch["status"] == "expired"
    rows = caller.lines(batch["error_file_id"])
    assert [row["error"]["code"] for row in rows] == ["batch_expired"] * 2
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}


def kill(lambda_):
    """End the handler's process as a machine's end would."""
    os.kill(int(lambda_._process().name), signal.SIGKILL)


def leases_over(stage, batch_id):
    """Let the time pass in which a function that lives would have ended."""
    for item in list(stage.aws.table.query("#pk = :pk", {"pk": f"BLINES#{batch_id}"})):
        if "lease_s" in item:
            stage.aws.table.update(
                (item["pk"], item["sk"]), "SET #lease_s = :then", "#version >= :none",
                {"then": 1, "none": 0},
            )  # fmt: skip


def test_a_function_that_dies_between_sending_and_writing_leaves_one_result_and_one_charge(
    stage, caller, upstream
):
    asked = threading.Event()

    def script(body, send, gone):
        asked.set()
        gone(60)
        return "close"

    upstream.script = script
    batch_id = caller.batch("hi")
    with stage.workers() as workers:
        workers.minute()
        workers.scheduler.invoke({})
        (message,) = stage.messages()
        giving = threading.Thread(target=workers.give, args=(message,))
        giving.start()
        assert asked.wait(60)
        kill(workers.dispatcher)
        giving.join(60)
    assert caller.shown(batch_id)["request_counts"]["completed"] == 0
    leases_over(stage, batch_id)
    upstream.answers(plain())
    with stage.workers() as workers:
        wait_until(lambda: any(map(workers.give, stage.messages())), 30)  # hidden no more
        batch = workers.until(lambda: caller.shown(batch_id))
    assert batch["status"] == "completed"
    (row,) = caller.lines(batch["output_file_id"])
    assert row["response"]["status_code"] == 200
    (entry,) = charges(stage)
    assert (entry.kind, entry.outcome) == ("charge", "ok")
    assert list(stage.aws.ledger.expire(time.time() + 100_000).alerts) == []
    assert len(charges(stage)) == 1


def test_a_message_that_is_none_of_ours_is_put_aside_and_holds_nothing_up(stage, caller):
    stage.sqs.send_message(QueueUrl=stage.queue, MessageBody='{"nonsense": "secret"}')
    batch_id = caller.batch("hi")
    with stage.workers() as workers:
        assert workers.until(lambda: caller.shown(batch_id))["status"] == "completed"

        def aside():
            for message in stage.messages():
                assert workers.give(message)["batchItemFailures"]
            return bool(stage.put_aside())

        wait_until(aside, 60)
        assert "secret" not in workers.dispatcher.log()


def test_a_batch_that_is_cancelled_before_it_is_sent_is_closed(stage, caller, upstream):
    batch_id = caller.batch("hi")
    with stage.workers(SLUICE_WINDOW=window(120, 60)) as workers:
        workers.minute()
        assert caller.http.post(f"/v1/batches/{batch_id}/cancel").json()["status"] == "cancelling"
        batch = workers.until(lambda: caller.shown(batch_id))
    assert batch["status"] == "cancelled"
    assert upstream.bodies == []


def test_a_file_that_lambda_would_not_take_is_refused_with_what_it_takes(caller):
    text = b"x" * 4_600_000
    sent = caller.http.post("/v1/files", files={"file": ("a", text)}, data={"purpose": "batch"})
    assert sent.status_code == 413
    assert "larger than 4,500,000 bytes: split it" in sent.json()["error"]["message"]


def test_a_policy_that_lets_a_line_outlast_the_function_gives_its_lines_a_clear_error(
    start, stage, upstream
):
    rules = "  - {id: long, use: cpu, limits: {deadline_ms: 900000}}\n"
    caller = start(catalogue(fleet("one", upstream.url)), policy(rules=rules))
    batch_id = caller.batch("hi")
    with stage.workers() as workers:
        batch = workers.until(lambda: caller.shown(batch_id))
    (row,) = caller.lines(batch["error_file_id"])
    assert row["error"]["code"] == "deadline_too_long"
    assert "900,000 ms" in row["error"]["message"]
    assert upstream.bodies == []

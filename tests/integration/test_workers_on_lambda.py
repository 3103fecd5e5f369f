"""Each worker's handler under Lambda's own emulator, against AWS's services as moto plays them.

What each one asked AWS for must be what tests/data/calls says, which roles are held against;
SLUICE_WRITE_CALLS=1 writes it anew.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from ledger_support import alert, charge, limit, worst
from rie import function

from router import load_items, price_item
from router.aws_api import Api
from router.ledger.dynamo import DynamoLedger
from router.ledger.fleet_time import FleetTime

TABLE, ROWS, REGION = "sluice-test", "sluice-test-rows", "us-east-1"
CALLS = Path(__file__).parents[1] / "data" / "calls"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:told"
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/i:1"
ROLE = "arn:aws:iam::123456789012:role/r"
MINUTE = FleetTime("asked", "2026-11-21T10:00:00Z", 60.0, 1, 10, "observed", False)
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


class Aws:
    """Moto, and what it was asked for."""

    def __init__(self, address, calls):
        self.address, self._calls = address, calls
        self.environment = {
            **KEYS,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": address,
            "SLUICE_STAGE": "test",
            "SLUICE_TABLE": TABLE,
            "SLUICE_NAMESPACE": "Sluice",
        }
        self.api = Api("dynamodb", None, self.environment)
        self.ledger = DynamoLedger(self.api, TABLE)
        self.table = self.ledger.table

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.address, region_name=REGION,
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip

    def forget(self):
        self._calls.write_text("")

    def calls(self):
        lines = self._calls.read_text().splitlines()
        return [json.loads(line) for line in sorted(set(lines))]


@pytest.fixture
def aws(tmp_path):
    calls = tmp_path / "calls.jsonl"
    server = Path(__file__).parents[1] / "dynamo_server.py"
    with subprocess.Popen(
        [sys.executable, server, "0", TABLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "SLUICE_TEST_CALLS": str(calls)},
    ) as running:  # fmt: skip
        try:
            yield Aws(running.stdout.readline().strip(), calls)
        finally:
            running.stdin.close()
            running.wait(timeout=10)


def held_against(worker, calls):
    """Compare with what is written down, or write it down."""
    path = CALLS / f"{worker}.json"
    if os.environ.get("SLUICE_WRITE_CALLS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(calls, indent=1) + "\n")
    assert calls == json.loads(path.read_text())


def measured(worker, lambda_):
    used = f"{lambda_.cpu_ms():.0f} ms CPU, {lambda_.peak_mb():.0f} MB"
    print(f"\n{worker}: {lambda_.durations_ms()} ms, {used}")  # noqa: T201 (-s shows it)


def test_the_sweeper_charges_what_ran_out_and_finds_the_books_in_order(aws, tmp_path):
    aws.ledger.adopt({"soft": limit(1000, None, (0.5, 1.0))}, "hash", 1.0)
    for number in range(3):
        aws.ledger.reserve(worst(f"r{number}", 200), (alert(),), 1.0, 2.0)
    aws.forget()
    with function("router.workers.sweeper.handler", aws.environment, tmp_path) as lambda_:
        assert lambda_.invoke({}) == {"leases": 3, "violations": 0}
        assert lambda_.invoke({}) == {"leases": 0, "violations": 0}
        assert lambda_.metrics() == [("Sluice", "test", "LedgerViolations", 0)] * 2
        held_against("sweeper", aws.calls())
        measured("sweeper", lambda_)
    assert [row.kind for row in aws.ledger.entries("2000", "2100")] == ["expired"] * 3


def test_a_worker_without_its_settings_says_which_one_is_missing(aws, tmp_path):
    del aws.environment["SLUICE_TABLE"]
    with function("router.workers.sweeper.handler", aws.environment, tmp_path) as lambda_:
        told = lambda_.invoke({})
    assert told["errorType"] == "ValueError"
    assert (
        "`SLUICE_TABLE` is not set (valid: the name of the ledger's table)" in told["errorMessage"]
    )


def record_of(number, name, old, new):
    """Return a stream's record of an item before and after; None: there was none."""
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": str(number), "eventName": name, "eventSource": "aws:dynamodb",
        "dynamodb": {"SequenceNumber": str(number),
                     **{key: image for key, image in images.items() if image is not None}},
    }  # fmt: skip


def items(aws):
    return aws.api.call("Scan", {"TableName": TABLE})["Items"]


def spent(aws, nano):
    """Charge a request in the budget `soft`; return the changes that made, as a stream has them."""
    before = {(item["pk"]["S"], item["sk"]["S"]): item for item in items(aws)}
    reserved = aws.ledger.reserve(worst("r1", nano), (alert(),), 1.0, 2.0)
    aws.ledger.settle(reserved, [charge("r1", nano)], 1.0)
    aws.ledger.add_fleet_time([MINUTE])
    return [
        record_of(100 + n, "MODIFY" if key in before else "INSERT", before.get(key), item)
        for n, (key, item) in enumerate(sorted({(i["pk"]["S"], i["sk"]["S"]): i
                                                for i in items(aws)}.items()))
        if before.get(key) != item
    ]  # fmt: skip


def test_the_streams_rows_come_to_the_lake_and_its_thresholds_to_the_topic(aws, tmp_path):
    s3, sns, sqs = aws.client("s3"), aws.client("sns"), aws.client("sqs")
    s3.create_bucket(Bucket="lake")
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=ROWS,
        S3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::lake"},
    )
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:told"
    )
    aws.ledger.adopt({"soft": limit(1000, None, (0.5, 1.0))}, "hash", 1.0)
    records = spent(aws, 600)
    aws.forget()
    told = {"SLUICE_ROWS": ROWS, "SLUICE_TOPIC": topic}
    with function("router.workers.stream.handler", aws.environment | told, tmp_path) as lambda_:
        assert lambda_.invoke({"Records": records}) == {"batchItemFailures": []}
        assert lambda_.metrics() == [("Sluice", "test", "BudgetAlerts", 1)]
        held_against("stream", aws.calls())
        measured("stream", lambda_)
        aws.client("firehose").delete_delivery_stream(DeliveryStreamName=ROWS)
        again = lambda_.invoke({"Records": records})
    rows = [r for r in records if r["dynamodb"]["NewImage"]["pk"]["S"][0] in "EF"]
    assert [failure["itemIdentifier"] for failure in again["batchItemFailures"]] == [
        row["dynamodb"]["SequenceNumber"] for row in rows
    ]
    (key,) = [found["Key"] for found in s3.list_objects_v2(Bucket="lake")["Contents"]]
    lines = s3.get_object(Bucket="lake", Key=key)["Body"].read().splitlines()
    assert [json.loads(line)["row_of"] for line in lines] == ["entries", "fleet_time"]
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    message = json.loads(message["Body"])
    assert message["Subject"] == "sluice: budget soft has spent 50% (team=search)"
    assert json.loads(message["Message"]) == {
        "budget": "soft", "value": "team=search", "period": "2026-11",
        "ends": "2026-12-01T00:00:00Z", "share": 0.5, "spent_usd": 6e-7, "usd": 1e-6,
    }  # fmt: skip


FLEETS = """version: 1
models:
  - {{id: m, context_tokens: 4096, abilities: [json], languages: [en]}}
fleets:
  - {{id: asked, model: m, lane: cpu, engine: llama.cpp, kind: openai_http, url: {url},
     instance: c8g.xlarge, region: us-east-1, fallback_usd_per_mtok: 1,
     replicas: {{min: 1, max: 1, concurrency_each: 4, scale_out_at: 0.7}}}}
  - {{id: endpoint, model: m, lane: cpu, engine: sagemaker, kind: sagemaker, endpoint: ours,
     instance: ml.c8g.xlarge, region: us-east-1, usd_per_hour: 0.2, fallback_usd_per_mtok: 1,
     replicas: {{min: 1, max: 4, concurrency_each: 4, scale_out_at: 0.7}}}}
"""


@pytest.fixture
def fleets(tmp_path, closed_port):
    path = tmp_path / "fleets.yaml"
    path.write_text(FLEETS.format(url=f"http://127.0.0.1:{closed_port}/v1"))
    return path


def test_the_observer_looks_once_at_an_idle_system_and_writes_what_it_saw(aws, fleets, tmp_path):
    sagemaker = aws.client("sagemaker")
    container = {"Image": IMAGE}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[{"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 2,
                             "InstanceType": "ml.c5.xlarge"}],
    )  # fmt: skip
    sagemaker.create_endpoint(EndpointName="ours", EndpointConfigName="c")
    aws.forget()
    told = {"SLUICE_FLEETS": str(fleets), "SLUICE_STATE": str(tmp_path / "state")}
    with function("router.workers.observer.handler", aws.environment | told, tmp_path) as lambda_:
        looked = {"looks": 1, "requests": 0, "down": ["asked"]}
        assert lambda_.invoke({"time": "2026-11-21T10:00:00Z"}) == looked
        assert lambda_.invoke({}) == looked
        held_against("observer", aws.calls())
        measured("observer", lambda_)
        down = [m[3] for m in lambda_.metrics() if m[2] == "FleetsDown"]
        lags = [m[3] for m in lambda_.metrics() if m[2] == "ObserverLagMs"]
        assert down == [1, 1]
        assert lags[0] > lags[1] > 0
        assert "fleet asked is down" in lambda_.log()
    seen = {item.fleet: item for item in load_items.read(aws.table)}
    assert [each.state for each in seen["asked"].seen] == ["down"]
    assert (seen["endpoint"].seen[0].state, seen["endpoint"].replicas) == ("up", 2)
    rows = {row.fleet: row for row in aws.ledger.fleet_times("2000", "2100")}
    assert (rows["endpoint"].replicas, rows["endpoint"].source) == (2, "observed")
    assert rows["endpoint"].seconds == 60


def test_the_price_worker_writes_what_the_list_says(aws, fleets, tmp_path, price_list):
    aws.forget()
    told = {"SLUICE_FLEETS": str(fleets), "AWS_ENDPOINT_URL_PRICING": price_list}
    with function("router.workers.prices.handler", aws.environment | told, tmp_path) as lambda_:
        assert lambda_.invoke({}) == {"prices": 2, "written": True, "problems": 1}
        assert lambda_.metrics() == [("Sluice", "test", "PricesAgeDays", 0)]
        assert "ml.c8g.xlarge in us-east-1: not in the list" in lambda_.log()
        pricing = {"service": "pricing", "operation": "GetProducts", "resource": "*"}
        held_against("prices", [*aws.calls(), pricing])
        measured("prices", lambda_)
    assert "usd_per_hour: 0.1055" in price_item.read(aws.table).text

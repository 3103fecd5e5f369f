"""Each worker's handler under Lambda's own emulator, against AWS's services as moto plays them.

What each one asked AWS for must be what tests/data/calls says, which roles are held against;
SLUICE_WRITE_CALLS=1 writes it anew.
"""

import json
import time

import pytest
from ledger_support import alert, charge, limit, worst
from rie import function
from wake_support import FLEET, HEAD, fleets_of, make_service, state_of
from worker_support import TABLE, held_against, measured, playing_aws

from router import load_items, price_item, wake_items
from router.ledger.fleet_time import FleetTime
from router.wake_items import WakeItem

ROWS = "sluice-test-rows"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:told"
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/i:1"
ROLE = "arn:aws:iam::123456789012:role/r"
MINUTE_EVENT = {"source": "aws.events", "detail-type": "Scheduled Event"}
MINUTE = FleetTime("asked", "2026-11-21T10:00:00Z", 60.0, 1, 10, "observed", False)
RUNS = 'kind: openai_http, url: "%s", runs: {on: ecs, weights: "s3://models/m/"}'


@pytest.fixture
def aws(tmp_path):
    with playing_aws(tmp_path) as played:
        yield played


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


def test_the_observer_writes_how_full_a_fleet_on_ecs_is(aws, upstream, tmp_path):
    ecs = aws.client("ecs")
    make_service(ecs, aws.client("application-autoscaling"))
    ecs.update_service(cluster="sluice-test", service="sluice-test-lane", desiredCount=1)
    body = b"vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    upstream.pages["/metrics"] = head + body
    path = tmp_path / "fleets.yaml"
    path.write_text(HEAD + FLEET.format(id="lane", lane="cpu", more=RUNS % upstream.url))
    told = {"SLUICE_FLEETS": str(path), "SLUICE_STATE": str(tmp_path / "state")}
    environment = aws.environment | told
    with function("router.workers.observer.handler", environment, tmp_path, 8) as lambda_:
        assert lambda_.invoke({})["down"] == []
        lines = [metric for metric in lambda_.metrics() if "InUse" in metric]
        assert lines
        assert set(lines) == {("Sluice", "test", "lane", "InUse", 75.0)}
    (item,) = load_items.read(aws.table)
    assert (item.seen[0].state, item.replicas) == ("up", 1)
    assert ("ecs", "DescribeServices") in {(c["service"], c["operation"]) for c in aws.calls()}


def asked_records(aws):
    """Return the stream's records of the item that asks for a fleet: it is written, and deleted."""
    (item,) = wake_items_of(aws)
    records = [record_of(200, "INSERT", None, item), record_of(201, "REMOVE", item, None)]
    for record in records:
        record["dynamodb"]["Keys"] = {"pk": item["pk"], "sk": item["sk"]}
    return records


def wake_items_of(aws):
    return [item for item in items(aws) if item["pk"]["S"] == "WAKE"]


def test_the_waker_wakes_as_the_stream_asks_and_lets_go_each_minute(aws, tmp_path):
    ecs, scaling = aws.client("ecs"), aws.client("application-autoscaling")
    make_service(ecs, scaling)
    path = tmp_path / "fleets.yaml"
    path.write_text(fleets_of("http://127.0.0.1:9/v1"))
    now_s = int(time.time())
    asked, over = (WakeItem("lane", at_s, at_s + 900, 3) for at_s in (now_s, now_s - 900))
    wake_items.ask(aws.table, asked, 300)
    records = asked_records(aws)
    aws.forget()
    told = {"SLUICE_FLEETS": str(path)}
    with function("router.workers.waker.handler", aws.environment | told, tmp_path) as lambda_:
        assert lambda_.invoke({"Records": records}) == {"batchItemFailures": []}
        assert state_of(ecs, scaling) == {"least": 1, "most": 4, "wanted": 1}
        assert lambda_.invoke(MINUTE_EVENT) == {"let_go": 0, "failed": 0}
        wake_items.delete(aws.table, asked)
        wake_items.ask(aws.table, over, 300)
        assert lambda_.invoke(MINUTE_EVENT) == {"let_go": 1, "failed": 0}
        assert state_of(ecs, scaling) == {"least": 0, "most": 4, "wanted": 1}
        assert wake_items_of(aws) == []
        assert lambda_.metrics() == [("Sluice", "test", "WakeUps", 1)]
        held_against("waker", of_the_waker(aws.calls()))
        measured("waker", lambda_)


def of_the_waker(calls):
    """Leave out what the test itself asks for."""
    return [call for call in calls if call["operation"] not in ("PutItem", "Scan")]


def test_what_the_waker_can_not_do_comes_again_and_is_told_of(aws, tmp_path):
    ecs, scaling = aws.client("ecs"), aws.client("application-autoscaling")
    remove = make_service(ecs, scaling)
    path = tmp_path / "fleets.yaml"
    path.write_text(fleets_of("http://127.0.0.1:9/v1"))
    now_s = int(time.time())
    wake_items.ask(aws.table, WakeItem("lane", now_s, now_s + 900, 3), 300)
    records = asked_records(aws)
    remove()
    again = {"batchItemFailures": [{"itemIdentifier": "200"}]}
    told = {"SLUICE_FLEETS": str(path)}
    with function("router.workers.waker.handler", aws.environment | told, tmp_path) as lambda_:
        assert lambda_.invoke({"Records": records}) == again
        assert "fleet lane can't be woken: it has no scalable target" in lambda_.log()
        del records[0]["dynamodb"]["NewImage"]["at_s"]
        assert lambda_.invoke({"Records": records}) == again
        assert "the wake item of lane can't be read: KeyError" in lambda_.log()
        wake_items.ask(aws.table, WakeItem("lane", now_s + 400, now_s, 3), 300)
        assert lambda_.invoke(MINUTE_EVENT) == {"let_go": 0, "failed": 1}
        assert (
            "fleet lane, whose time is over: it can't be let go of: it has no scalable target"
            in lambda_.log()
        )
        aws.api.call("DeleteTable", {"TableName": TABLE})
        assert lambda_.invoke(MINUTE_EVENT) == {"let_go": 0, "failed": 1}
        assert "who is to be let go of can't be read" in lambda_.log()
        assert lambda_.metrics() == [("Sluice", "test", "WakeFailures", 1)] * 4


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

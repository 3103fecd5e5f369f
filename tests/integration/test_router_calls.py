"""What a router on Lambda asks AWS for, read from the wire while it serves and settles.

It must be what tests/data/calls/router.json says, which the router's role is held against
(tests/infra/test_iam.py); SLUICE_WRITE_CALLS=1 writes it anew.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import yaml
from appconfig_server import BY_ID, AppConfig
from ledger_support import dynamo_client
from support import ANSWER, catalogue, fleet, plain, policy, wait_until

from router.ledger.dynamo import DynamoLedger

TABLE, RECEIPTS, REGION = "sluice-test", "sluice-test-receipts", "us-east-1"
CALLS = Path(__file__).parents[1] / "data" / "calls" / "router.json"
ROLE = "arn:aws:iam::123456789012:role/r"
ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
OF_APPCONFIG = {
    ("POST", "/configurationsessions"): "StartConfigurationSession",
    ("GET", "/configuration"): "GetLatestConfiguration",
}
BUDGETS = """budgets:
  - {id: all, match: {}, usd: 1, per: day, when_spent: reject, alert_at: [0.000001, 1.0]}
"""


@pytest.fixture
def calls(tmp_path):
    return tmp_path / "calls.jsonl"


@pytest.fixture
def moto(calls, monkeypatch):
    """Moto's address, which is all of AWS to the processes of the test but AppConfig."""
    server = Path(__file__).parents[1] / "dynamo_server.py"
    with subprocess.Popen(
        [sys.executable, server, "0", TABLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "SLUICE_TEST_CALLS": str(calls)},
    ) as running:  # fmt: skip
        address = running.stdout.readline().strip()
        said = {
            "AWS_REGION": REGION, "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null", "SLUICE_STAGE": "test",
        }  # fmt: skip
        for name, value in said.items():
            monkeypatch.setenv(name, value)
        yield address
        running.stdin.close()
        running.wait(timeout=60)


@pytest.fixture
def appconfig(moto, monkeypatch):
    fake = AppConfig()
    fake.content = json.dumps(yaml.safe_load(policy() + BUDGETS)).encode()
    monkeypatch.setenv("AWS_ENDPOINT_URL_APPCONFIGDATA", fake.url)
    yield fake
    fake.stop()


@pytest.fixture
def receipts(moto):
    """The stream that receipts go to."""
    asked = {"endpoint_url": moto, "region_name": REGION}
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("s3", **asked, **keys).create_bucket(Bucket="lake")
    boto3.client("firehose", **asked, **keys).create_delivery_stream(
        DeliveryStreamName=RECEIPTS,
        S3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::lake"},
    )


def recorded(calls, appconfig):
    """Return each call once, in order."""
    of_moto = [json.loads(line) for line in calls.read_text().splitlines()]
    of_appconfig = [
        {
            "service": "appconfig",
            "operation": OF_APPCONFIG[method, urlsplit(target).path],
            "resource": "*",
        }
        for method, target, _, _ in appconfig.asked
    ]
    ours = {"dynamodb", "firehose"}
    found = [call for call in of_moto if call["service"] in ours] + of_appconfig
    return [json.loads(text) for text in sorted({json.dumps(call) for call in found})]


def test_a_router_asks_for_what_its_role_allows(
    start_router, upstream, moto, appconfig, receipts, calls
):
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    upstream.script = lambda body, send, gone: send(plain({**ANSWER, "usage": usage}))
    calls.write_text("")  # what the test itself asked for
    router = start_router(
        catalogue(fleet("one", upstream.url)), None, "--policy", BY_ID, "--router-on", "lambda",
        "--ledger", f"dynamodb:{TABLE}", "--receipts", f"firehose:{RECEIPTS}",
        "--metrics", "emf:Sluice",
    )  # fmt: skip
    for _ in range(2):
        assert router.chat("hi", max_tokens=10).status_code == 200
    wait_until(lambda: "PutRecord" in calls.read_text())
    upstream.script = lambda body, send, gone: send(plain({"error": {}}, status=400))
    assert router.chat("hi", max_tokens=10).status_code == 400  # nothing is charged, all given back
    assert "DeleteItem" in calls.read_text()
    seen = recorded(calls, appconfig)
    ledger = DynamoLedger(dynamo_client(moto), TABLE)
    assert {row.kind for row in ledger.entries(*ALWAYS)} == {"charge"}
    if os.environ.get("SLUICE_WRITE_CALLS"):
        CALLS.write_text(json.dumps(seen, indent=1) + "\n")
    assert seen == json.loads(CALLS.read_text())

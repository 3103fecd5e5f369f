"""What the tests of workers share: AWS as moto plays it, what it was asked for, and a catalogue of
two fleets that workers look after: one can be asked, one is SageMaker's.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import boto3

from router.aws_api import Api
from router.ledger.dynamo import DynamoLedger

FLEETS = """version: 1
models:
  - {{id: m, context_tokens: 4096, abilities: [json], languages: [en]}}
fleets:
  - {{id: asked, model: m, lane: cpu, engine: vllm, kind: openai_http, url: {url},
     instance: c8g.xlarge, region: us-east-1, fallback_usd_per_mtok: 1,
     replicas: {{min: 1, max: 1, concurrency_each: 4, scale_out_at: 0.7}}}}
  - {{id: c8g-qwen3, model: m, lane: cpu, engine: vllm, kind: sagemaker, endpoint: ours,
     instance: ml.c8g.xlarge, region: us-east-1, usd_per_hour: 0.2, fallback_usd_per_mtok: 1,
     replicas: {{min: 0, max: 4, concurrency_each: 4, scale_out_at: 0.7}},
     wake: {{seconds: 60, min_run_seconds: 60}}}}
"""

TABLE, REGION = "sluice-test", "us-east-1"
CALLS = Path(__file__).parent / "data" / "calls"
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


@contextlib.contextmanager
def playing_aws(folder):
    """Start moto, as all of AWS that a worker calls, with the ledger's table."""
    calls = folder / "calls.jsonl"
    server = Path(__file__).parent / "dynamo_server.py"
    with subprocess.Popen(
        [sys.executable, server, "0", TABLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, "SLUICE_TEST_CALLS": str(calls)},
    ) as running:  # fmt: skip
        try:
            yield Aws(running.stdout.readline().strip(), calls)
        finally:
            running.stdin.close()
            running.wait(timeout=60)


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

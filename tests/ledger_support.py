"""What the ledger's tests share: rows, scopes, a moment to begin at."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from router.aws_api import Api, Limits
from router.ledger.audit import violations
from router.ledger.entry import Entry, stamp
from router.ledger.port import Limit, Scope

NOW = 1_795_255_200.0  # 2026-11-21T10:00:00Z
ENDS = "2026-12-01T00:00:00Z"
LEASE = NOW + 90


def worst(request_id, nano, at_s=NOW):
    at = stamp(at_s)
    return Entry(
        request_id=request_id,
        n=0,
        kind="expired",
        at=at,
        period_at=at,
        key="ab12cd34",
        tenant="acme",
        team="search",
        tags=(("app", "mail"),),
        task="classify",
        tier="simple",
        language="en",
        service_class="standard",
        policy="0123456789abcdef",
        rule="cheap-first",
        model="qwen3-0.6b",
        fleet="c8g-qwen3",
        instance="c8g.xlarge",
        region="us-east-1",
        outcome="lost",
        last=True,
        tokens_in=None,
        tokens_cached=None,
        tokens_out=None,
        tokens_reasoning=None,
        nano=nano,
        nano_marginal=None,
        nano_average=None,
        nano_baseline=None,
        nano_router=0,
        service_ms=0.0,
        capacity=4,
        nano_hour=159_520_000,
        estimated=True,
        emulated=False,
        reserved_nano=nano,
        overrun_nano=0,
        receipt=None,
    )


def charge(request_id, nano, n=0, at_s=NOW, **more):
    row = replace(worst(request_id, nano, at_s), n=n, kind="charge", outcome="ok", estimated=False)
    return replace(row, **({"tokens_in": 200, "tokens_out": 50, "service_ms": 800.0} | more))


def scope(budget="team", soft=1000, hard=-1, on_spent="reject", value="team=search", **more):
    hard = soft if hard == -1 else hard
    more = {"period": "2026-11", "ends": ENDS, **more}
    return Scope(budget, value, soft_nano=soft, hard_nano=hard, on_spent=on_spent, **more)


def alert(budget="soft", soft=1000, alert_at=(0.5, 1.0), **more):
    return scope(budget, soft, None, "alert", alert_at=alert_at, **more)


def limit(soft, hard=-1, alert_at=()):
    return Limit(soft, soft if hard == -1 else hard, alert_at)


def wrong(ledger):
    return list(violations(ledger.books()))


def dynamo_client(address):
    """Return our client of the test server, which serves one after the other: 64 wait long."""
    return Api("dynamodb", "us-east-1", aws_environment(address), Limits(read_s=60))


def aws_environment(address):
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


class Watched:
    """A client with something done before each call, and after it."""

    def __init__(self, client, before=lambda _: None, after=lambda _: None):
        self.client, self.before, self.after = client, before, after

    def call(self, operation, body):
        self.before(operation)
        answer = self.client.call(operation, body)
        self.after(operation)
        return answer


@contextlib.contextmanager
def dynamo_process():
    """Run moto's server, one request at a time; yield it and its address."""
    here = Path(__file__).parent / "dynamo_server.py"
    with subprocess.Popen(
        [sys.executable, here], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.stdin.close()
            running.wait(timeout=60)


@contextlib.contextmanager
def dynamo_server():
    """Run it; yield its address."""
    with dynamo_process() as (_, address):
        yield address

"""A router as on Lambda decides by what an observer wrote into the ledger's table."""

import asyncio
import time

import httpx
import pytest
from ledger_support import aws_environment, dynamo_client
from support import catalogue, fleet, plain, policy

from backends.base import SEEN_FOR_S, Seen
from router import load_items
from router.entry import build
from router.ledger.dynamo_table import Table, definition
from router.load_items import LoadItem
from router.load_reader import LoadReader
from router.prober import Prober
from router.settings import Settings


@pytest.fixture
def table(address):
    client = dynamo_client(address)
    client.call("CreateTable", definition("sluice"))
    yield Table(client, "sluice")
    client.call("DeleteTable", {"TableName": "sluice"})


@pytest.fixture
def app(address, table, upstream, tmp_path):
    fleets, policy_at = tmp_path / "fleets.yaml", tmp_path / "policy.yaml"
    fleets.write_text(catalogue(fleet("one", upstream.url)))
    policy_at.write_text(policy())
    upstream.script = [plain("hi")] * 3
    found = build(
        Settings(
            tmp_path / "state", fleets, policy_at, auth="none", ledger="dynamodb:sluice",
            router_on="lambda", environment={**aws_environment(address), "AWS_REGION": "us-east-1"},
        )
    )  # fmt: skip
    yield found
    found.treasury.ledger.close()
    found.feedback.labels.close()


def loads(app, count=1):
    """Ask for a receipt so many times; return the fleet's load as each has it."""

    async def main():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            answers = [await client.post("/v1/route", json=body) for _ in range(count)]
        await app.prober.aclose()
        await app.runtime.aclose()
        return [answer.json()["load"]["one"] for answer in answers]

    return asyncio.run(main())


def test_the_first_request_knows_what_the_observer_saw(app, table):
    at_ms = round(time.time() * 1000)
    seen = (Seen("up", 3, 1, 4),)
    load_items.write(table, [LoadItem("one", at_ms, seen, 9), LoadItem("gone", at_ms)])
    assert isinstance(app.prober, LoadReader)
    (load,) = loads(app)
    assert (load["in_flight"], load["queued"], load["stale"]) == (4, 1, False)


def test_what_the_observer_saw_too_long_ago_is_unknown(app, table):
    at_ms = round((time.time() - SEEN_FOR_S - 1) * 1000)
    load_items.write(table, [LoadItem("one", at_ms, (Seen("up", 3, 1, 4),), 9)])
    (load,) = loads(app)
    assert (load["in_flight"], load["queued"], load["stale"]) == (0, None, True)


def test_without_a_table_to_read_it_probes_by_itself(tmp_path, upstream):
    fleets, policy_at = tmp_path / "fleets.yaml", tmp_path / "policy.yaml"
    fleets.write_text(catalogue(fleet("one", upstream.url)))
    policy_at.write_text(policy())
    app = build(Settings(tmp_path / "s", fleets, policy_at, auth="none", router_on="lambda"))
    assert isinstance(app.prober, Prober)
    app.treasury.ledger.close()
    app.feedback.labels.close()

"""From a request that a sleeping fleet missed to the request that it serves: router, item, waker,
ECS (moto's) and observer. Only the stream between item and waker is the test's.
"""

import asyncio
import threading
import time
from dataclasses import replace

import boto3
import httpx
import pytest
from appconfig_server import PLACE
from botocore.exceptions import BotoCoreError, ClientError
from ledger_support import Watched, aws_environment
from support import START_S, catalogue, fleet, plain, policy
from wake_support import FLEET, STAGE, TOO_SOON, make_service, state_of

from backends import files
from router import wake_items
from router.entry import build
from router.ledger.dynamo_table import Table
from router.load_reader import LoadReader
from router.metrics import Metrics
from router.settings import Settings, worker
from router.waking import Wakes, WakeTable
from router.workers.endpoints import describing
from router.workers.observer import Observer, watching
from router.workers.waker import Waker

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
LOADING = plain({}, 503)
FAR_S = 120.0


class Stage:
    """A router as on Lambda, in a loop of the test's, and what works beside it."""

    def __init__(self, address, ledger, folder, *, frozen=True):
        self.ledger, self.folder, self.in_use = ledger, folder, []
        environment = {**aws_environment(address), "AWS_REGION": "us-east-1"}
        place = {"ledger": f"dynamodb:{ledger.table.name}", "router_on": "lambda"}
        given = folder / "state", folder / "fleets.yaml", folder / "policy.yaml"
        self.app = build(
            Settings(*given, auth="none", environment=environment, frozen=frozen, **place)
        )
        told = {"SLUICE_STAGE": STAGE, "SLUICE_TABLE": ledger.table.name,
                "SLUICE_FLEETS": str(given[1]), "SLUICE_STATE": str(folder / "worker")}  # fmt: skip
        watched, describe = watching(worker(told), ledger), describing(STAGE)
        tell = lambda name, percent: self.in_use.append((name, percent))  # noqa: E731  (short)
        self.observer = Observer(ledger, watched, describe, tell)
        aws = lambda name, _: boto3.client(name, endpoint_url=address, **KEYS)  # noqa: E731
        self.ecs, self.scaling = aws("ecs", ""), aws("application-autoscaling", "")
        fleets = {one.id: one for one in files.catalogue(given[1]).fleets if one.runs is not None}
        failures = BotoCoreError, ClientError
        self.waker = Waker(ledger.table, STAGE, fleets, aws, failures)

    async def post(self, path):
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sluice") as client:
            body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
            return await client.post(path, json={**body, "max_tokens": 5})

    async def served_by(self):
        answer = await self.post("/v1/chat/completions")
        assert answer.status_code == 200
        return answer.headers["x-sluice-fleet"]

    async def looked(self):
        """Let the observer look once; return what routers then think of the fleet that sleeps."""
        await self.observer.minute(time.time())
        looked_s = time.monotonic()
        while self.app.prober._read_s < looked_s:  # it reads when it is asked, each 3 s
            assert time.monotonic() < looked_s + FAR_S
            await self.post("/v1/route")
            await asyncio.sleep(0.05)
        return (await self.post("/v1/route")).json()["load"]["lane"]["state"]

    async def aclose(self):
        await self.app.prober.aclose()
        await self.app.treasury.aclose()
        await self.app.wakes.aclose()
        await self.app.runtime.aclose()
        self.app.treasury.ledger.close()
        self.app.feedback.labels.close()


@pytest.fixture
def stage(address, ledger, upstream, second_upstream, tmp_path, monkeypatch):
    for name, value in aws_environment(address).items():
        monkeypatch.setenv(name, value)
    runs = 'runs: {on: ecs, weights: "s3://models/m/"}'
    large = FLEET.format(
        id="lane", lane="accelerator", more=f'kind: openai_http, url: "{upstream.url}", {runs}'
    )
    (tmp_path / "fleets.yaml").write_text(catalogue(large, fleet("small", second_upstream.url)))
    (tmp_path / "policy.yaml").write_text(policy(baseline="m@lane", rules=TOO_SOON))
    clients = [boto3.client(n, endpoint_url=address, **KEYS) for n in ("ecs", SCALING)]
    remove = make_service(*clients)
    yield lambda **more: Stage(address, ledger, tmp_path, **more)
    remove()


SCALING = "application-autoscaling"


def run(stage, story):
    async def main():
        try:
            await story(stage)
        finally:
            await stage.aclose()

    asyncio.run(main())


def test_a_request_wakes_a_fleet_and_others_serve_until_it_is_ready(stage, upstream):
    upstream.pages["/metrics"] = upstream.pages["/health"] = LOADING

    async def story(it):
        assert await it.looked() == "cold"
        assert state_of(it.ecs, it.scaling)["wanted"] == 0

        assert await it.served_by() == "small"
        (asked,) = wake_items.read(it.ledger.table)
        assert (asked.fleet, asked.requests, asked.until_s - asked.at_s) == ("lane", 1, 900)

        assert await it.looked() == "waking"  # though nobody woke it yet
        assert await it.served_by() == "small"
        assert wake_items.read(it.ledger.table) == [asked]

        assert it.waker.asked(asked)
        assert state_of(it.ecs, it.scaling) == {"least": 1, "most": 4, "wanted": 1}
        assert await it.looked() == "waking"  # its task runs, and loads the model
        assert await it.served_by() == "small"
        assert it.in_use == []

        upstream.pages.clear()
        upstream.pages["/metrics"] = metrics(1)
        assert await it.looked() == "ready"
        assert it.in_use == [("lane", 25.0)]
        assert await it.served_by() == "lane"

    run(stage(), story)


@pytest.mark.parametrize(("made", "reads"), [(True, True), (False, False)])
def test_on_fargate_a_stages_router_reads_who_sleeps_where_the_stage_makes_fleets(
    address, ledger, upstream, appconfig, tmp_path, made, reads
):
    runs = ', runs: {on: ecs, weights: "s3://models/m/"}' if made else ""
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", upstream.url, more=runs)))
    appconfig.content = policy().encode()
    environment = {**appconfig.environment(), "AWS_REGION": "us-east-1"}
    environment["AWS_ENDPOINT_URL_DYNAMODB"] = address
    settings = Settings(
        tmp_path / "state", tmp_path / "fleets.yaml", auth="none", environment=environment,
        ledger=f"dynamodb:{ledger.table.name}", router_on="fargate", appconfig=PLACE,
    )  # fmt: skip
    app = build(settings)
    assert isinstance(app.prober, LoadReader) is reads
    app.treasury.ledger.close()
    app.feedback.labels.close()


def metrics(running):
    body = b"vllm:num_requests_running %d\nvllm:num_requests_waiting 0\n" % running
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def slowly(it, wait):
    """Give the router a table that takes its time to take what asks for a fleet."""

    def before(operation):
        if operation == "PutItem":
            wait()

    table = Table(Watched(it.ledger.table._client, before=before), it.ledger.table.name)
    it.app = replace(it.app, wakes=Wakes(Metrics(), table=WakeTable(table, time.time)))


@pytest.mark.parametrize("frozen", [True, False])
def test_the_item_is_written_by_the_last_byte_where_the_router_is_frozen_then(stage, frozen):
    async def story(it):
        assert await it.looked() == "cold"
        answered = threading.Event()
        slowly(it, (lambda: time.sleep(0.7)) if frozen else (lambda: answered.wait(START_S)))
        assert await it.served_by() == "small"
        assert len(wake_items.read(it.ledger.table)) == frozen
        answered.set()
        await it.app.wakes.finished()
        assert len(wake_items.read(it.ledger.table)) == 1

    run(stage(frozen=frozen), story)

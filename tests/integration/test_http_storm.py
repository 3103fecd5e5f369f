"""A thousand callers at once, over sockets, on a budget for a hundred; nobody overspends it, not
even with the router killed in the middle. The fleet is an emulated p5, which answers at its pace.
"""

import asyncio
import contextlib
import json
import resource
import sys
from collections import Counter
from urllib.parse import urlsplit

import pytest
from ledger_support import wrong
from support import policy, process

from backends import open_files
from router.ledger.sqlite import SqliteLedger

CALLERS = 1000
MONEY_FOR = 100  # requests
FEW_FILES = 1024  # what shells and services give a process; the hard limit is higher
WITHIN_S = 300  # a bound, so that a hang is an error
# The emulated model goes on to the limit, so that what is used is nearly what was set aside: what
# is not are the bytes of the prompt that turn out to be fewer tokens.
BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 200,
    "ignore_eos": True,
}
FLEETS = """
version: 1
models: [{{id: llama-4-scout, context_tokens: 4000}}]
fleets:
  - {{id: p5-scout, model: llama-4-scout, lane: accelerator, engine: emulated, kind: emulated,
      url: "{emulator}/p5-scout/v1", instance: p5.48xlarge, region: us-east-1,
      replicas: {{min: 1, max: 1, concurrency_each: 1076}}, profile: p5.48xlarge/llama-4-scout}}
"""


@pytest.fixture
def few_files():
    """Start routers as they usually are: with few files allowed to be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * CALLERS:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def fleets():
    command = [sys.executable, "-m", "backends.engines.emulator", "--port", "0"]
    with process(*command, "--time-scale", "0.5") as running:
        yield FLEETS.format(emulator=running.first_line.split()[-1])


@pytest.fixture
def start(few_files, fleets, start_router):
    """Start a router with this much money; return it with what a request sets aside and costs."""

    def with_budget(usd):
        budget = f"  - {{id: all, match: {{}}, usd: {usd:.12f}, per: month, when_spent: reject}}\n"
        only = policy("accelerator", "llama-4-scout@p5-scout", defaults=", limits: {attempts: 1}")
        return start_router(fleets, only + "budgets:\n" + budget)

    probe = with_budget(1)
    receipt = probe.receipt(probe.http.post("/v1/chat/completions", json=BODY))
    worst, used = receipt["reservation"]["usd"], receipt["charge"]["usd"]
    assert 0.9 * worst < used < worst
    limit = round(worst * (MONEY_FOR + 0.5), 12)
    return with_budget(limit), Money(limit, worst, used)


class Money:
    """In nano-USD: what the budget has, and what one request sets aside and uses."""

    def __init__(self, limit, worst, used):
        self.limit, self.worst, self.used = (round(usd * 1e9) for usd in (limit, worst, used))


class Caller:
    """One connection, open before anybody asks; `answers` are the statuses it was given."""

    def __init__(self, router):
        at = urlsplit(router.url)
        self.where, self.key = (at.hostname, at.port), router.key
        self.reader = self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(*self.where)

    async def ask(self):
        """Return the status, or None where the connection broke."""
        body = json.dumps(BODY).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: sluice\r\nconnection: close\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        answer = b""
        with contextlib.suppress(ConnectionError):
            self.writer.write(head.encode() + body)
            answer = await self.reader.read()
        with contextlib.suppress(ConnectionError):
            self.writer.close()
            await self.writer.wait_closed()
        return int(answer.split(b" ", 2)[1]) if b"\r\n\r\n" in answer else None


async def connected(router, number=CALLERS):
    callers = [Caller(router) for _ in range(number)]
    for begin in range(0, number, 100):  # a queue of connections is as long as the system says
        await asyncio.gather(*(caller.connect() for caller in callers[begin : begin + 100]))
    return callers


def books(router, *, ended=False):
    """Return the rows and what the budget has spent, once nothing is wrong with them."""
    ledger = SqliteLedger(router.state)
    try:
        if ended:
            ledger.expire(4e9)  # what a killed router had set aside is charged in full
        rows = list(ledger.entries("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"))
        (scope,) = ledger.books().scopes.values()
        assert wrong(ledger) == []
    finally:
        ledger.close()
    assert sum(row.nano for row in rows) == scope.spent
    assert scope.reserved == 0
    assert len({row.request_id for row in rows}) == len(rows)
    return rows, scope.spent


def enough(money, rows, spent):
    """Whoever was refused had less left than one request sets aside: what the others gave back
    later, the worst case less what they used, came too late for it.
    """
    unused = money.worst + len(rows) * (money.worst - money.used)
    return money.limit - unused <= spent <= money.limit and spent > 0.9 * money.limit


async def storm(router, number):
    """Have so many ask at once, once all are connected; count what they are answered."""
    async with asyncio.timeout(WITHIN_S):
        callers = await connected(router, number)
        return Counter(await asyncio.gather(*(caller.ask() for caller in callers)))


async def storm_until_killed(router, first):
    """Have the rest ask, and kill the router, when one of the first has its answer."""
    async with asyncio.timeout(WITHIN_S):
        callers = await connected(router)
        asking = [asyncio.create_task(caller.ask()) for caller in callers[:first]]
        assert await next(asyncio.as_completed(asking)) == 200
        asking += [asyncio.create_task(caller.ask()) for caller in callers[first:]]
        await asyncio.sleep(0)  # they are sent, and the router has not read them all
        router.process.kill()
        return Counter(await asyncio.gather(*asking))


def test_a_thousand_callers_at_once_spend_the_budget_and_no_more(start):
    router, money = start
    open_files.allow_many()
    statuses = asyncio.run(storm(router, CALLERS))
    assert set(statuses) == {200, 402}
    rows, spent = books(router)
    assert len(rows) == statuses[200] >= MONEY_FOR
    assert spent == statuses[200] * money.used
    assert enough(money, rows, spent)


def test_a_router_killed_amid_a_thousand_callers_and_its_successor_spend_no_more(start):
    router, money = start
    open_files.allow_many()
    before = asyncio.run(storm_until_killed(router, first=60))
    assert set(before) <= {200, 402, None}
    assert before[None] > CALLERS / 2  # it was killed in the middle
    files = router.state.parent
    with process(
        sys.executable, "-m", "router.cli", "serve", "--state", router.state,
        "--port", urlsplit(router.url).port, "--fleets", files / "fleets.yaml",
        "--policy", files / "policy.yaml", log=files / "second.log",
    ):  # fmt: skip
        after = asyncio.run(storm(router, before[None]))
    assert set(after) <= {200, 402}  # 402 alone where what it had begun took all that was left
    rows, spent = books(router, ended=True)
    # Whoever was answered is charged; so is what the killed one had begun, and no other.
    assert before[200] + after[200] <= len(rows) <= MONEY_FOR + before[200] + after[200]
    assert enough(money, rows, spent)

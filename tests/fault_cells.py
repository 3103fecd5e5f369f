"""Plays the cells of the fault matrix: one request each, by the official SDK, on fleets of its own.

What came over the wire is kept beside what the SDK made of it. `play` runs many cells at once;
what the router wrote down of them is read by `Played`.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
from support import wait_until

from backends.engines.emulated_fault import OF_A_FLEET
from router.ledger.audit import violations
from router.ledger.sqlite import SqliteLedger

AT_ONCE = 10  # cells: two cores have to answer well within the time-outs
SPARE = "spare"
PROMPT = "Why is the sky blue?"
ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
CONTENT = re.compile(rb'"delta":\{"content":"(?!")')


@dataclass(frozen=True)
class Cell:
    """One way in which a fault meets a request. `expected` is a word of the matrix."""

    fault: str
    when: str
    outcome: str
    charged: str
    stream: bool
    left: bool
    expected: str
    fleet: str
    max_tokens: int

    @property
    def way(self):
        return ("stream" if self.stream else "plain") + (", a lane left" if self.left else ", none")

    @property
    def name(self):
        return f"{self.fault.replace(' ', '_')}-{self.when}-{self.way.replace(', ', '-')}".replace(
            " ", "_"
        )

    @property
    def while_it_runs(self):
        """A state of the fleet that begins in the middle of the answer."""
        return self.when == "mid" and self.fault.split()[0] in OF_A_FLEET

    def body(self):
        return {
            "model": "auto",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": self.max_tokens,
            "stream": self.stream,
        }


@dataclass
class Seen:
    """What the caller got: bytes as they came, and what the SDK gave or raised."""

    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    raw: bytes = b""
    ended_well: bool = False
    text: str = ""
    raised: Exception | None = None

    @property
    def events(self):
        return [event for event in self.raw.split(b"\n\n") if event]

    @property
    def content_events(self):
        return sum(CONTENT.search(event) is not None for event in self.events)

    @property
    def usd(self):
        """The cost as the caller was told it, text; None: it wasn't."""
        said = re.search(rb": x-sluice-cost-usd ([0-9.]+)\n\n", self.raw)
        return said[1].decode() if said else self.headers.get("x-sluice-cost-usd")


class Kept(httpx.AsyncByteStream):
    """An answer's bytes, kept as they pass; what the SDK leaves is read to its end."""

    def __init__(self, stream, seen):
        self._parts, self._stream, self._seen = stream.__aiter__(), stream, seen

    async def __aiter__(self):
        async for part in self._parts:
            self._seen.raw += part
            yield part
        self._seen.ended_well = True

    async def aclose(self):
        with contextlib.suppress(httpx.HTTPError):
            async for part in self._parts:
                self._seen.raw += part
            self._seen.ended_well = True
        await self._stream.aclose()


class Wire(httpx.AsyncBaseTransport):
    def __init__(self, inner, seen):
        self._inner, self._seen = inner, seen

    async def handle_async_request(self, request):
        response = await self._inner.handle_async_request(request)
        self._seen.status, self._seen.headers = response.status_code, response.headers
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=Kept(response.stream, self._seen),
            extensions=response.extensions,
        )


class Emulation:
    """An emulator's own side: faults, and what it did."""

    def __init__(self, url, http):
        self.url, self._http = url, http

    async def put(self, fleet, fault):
        answer = await self._http.post(f"{self.url}/{fleet}/faults", json={"fault": fault})
        answer.raise_for_status()

    async def struck(self, fleet):
        """How many requests the fault has met; None: it is a state, which counts none."""
        return (await self._http.get(f"{self.url}/{fleet}/faults")).json().get("struck")

    async def says(self, fleet, body):
        """What the fleet answers to this body when nothing is wrong."""
        url = f"{self.url}/{fleet}/v1/chat/completions"
        asked = {**body, "model": "llama-4-scout", "stream": False, "ignore_eos": True}
        answer = await self._http.post(url, json=asked)
        return answer.raise_for_status().json()["choices"][0]["message"]["content"]

    async def healed(self, fleet):
        """End the fault; return what still runs."""
        await self._http.delete(f"{self.url}/{fleet}/faults")
        return await self.running(fleet)

    async def running(self, fleet):
        text = (await self._http.get(f"{self.url}/{fleet}/metrics")).text
        return sum(
            int(line.split()[-1])
            for line in text.splitlines()
            if line.startswith(("vllm:num_requests_running", "vllm:num_requests_waiting"))
        )


@dataclass
class Asked:
    """A cell that was played. `says`: what its fleet and the spare one would answer."""

    cell: Cell
    seen: Seen
    says: dict
    struck: int | None
    route: dict  # the receipt that the next request would have


async def play(cells, router, first, spare, at_once=AT_ONCE):
    """Play every cell; return what came of them."""
    gate = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(timeout=30) as http,
        httpx.AsyncHTTPTransport(verify=False, limits=limits) as inner,
    ):
        first, spare = Emulation(first, http), Emulation(spare, http)

        async def one(cell):
            async with gate:
                body = cell.body()
                says = {
                    cell.fleet: await first.says(cell.fleet, body),
                    SPARE: await spare.says(SPARE, body),
                }
                if not cell.while_it_runs:
                    await first.put(cell.fleet, cell.fault)
                seen = await ask(cell, router, inner, first)
                route = await http.post(
                    f"{router.url}/v1/route", json=body, headers=headers(router, cell)
                )
                return Asked(cell, seen, says, await first.struck(cell.fleet), route.json())

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(cell)) for cell in cells]
        asked = [task.result() for task in tasks]
        left = [cell.fleet for cell in cells if await first.healed(cell.fleet)]
        left += [SPARE] if await spare.running(SPARE) else []
    return asked, left


def headers(router, cell):
    return {**router.headers(), "x-sluice-tags": f"cell={cell.fleet}"}


async def ask(cell, router, inner, emulation):
    """Ask by the SDK, and strike while it is answered where the cell says so."""
    seen, spoke = Seen(), asyncio.Event()
    client = openai.AsyncOpenAI(
        base_url=f"{router.url}/v1",
        api_key=router.key,
        max_retries=0,
        http_client=httpx.AsyncClient(transport=Wire(inner, seen), timeout=60),
    )
    striking = asyncio.create_task(strike(cell, emulation, spoke))
    try:
        got = await client.chat.completions.create(
            **cell.body(),
            extra_body={"ignore_eos": True},
            extra_headers={"x-sluice-tags": f"cell={cell.fleet}"},
        )
        if not cell.stream:
            seen.text = got.choices[0].message.content
            return seen
        async with got:
            async for chunk in got:
                for choice in chunk.choices:
                    if choice.delta.content:
                        spoke.set()
                        seen.text += choice.delta.content
    except openai.OpenAIError as exc:
        seen.raised = exc
    finally:
        striking.cancel()
    return seen


async def strike(cell, emulation, spoke):
    if not cell.while_it_runs:
        return
    if cell.stream:
        await spoke.wait()
    else:
        while not await emulation.running(cell.fleet):  # noqa: ASYNC110  (another process's state)
            await asyncio.sleep(0.01)
    await emulation.put(cell.fleet, cell.fault)


# -- what the router wrote down, and what is left of it --------------------------------------------


class Played:
    """Receipts and books of a router, read once all is over."""

    def __init__(self, router, asked, generating):
        self.router, self.asked, self.generating = router, asked, generating

    @functools.cached_property
    def receipts(self):
        wait_until(lambda: len(self.router.receipts()) >= len(self.asked))
        return {receipt["id"]: receipt for receipt in self.router.receipts()}

    @functools.cached_property
    def books(self):
        ledger = SqliteLedger(self.router.state)
        try:
            books = ledger.books()
            assert list(violations(books)) == []
            assert books.held == []
            return books, list(ledger.entries(*ALWAYS))
        finally:
            ledger.close()

    def receipt(self, asked):
        return self.receipts[asked.seen.headers["x-sluice-request-id"]]

    def rows(self, asked):
        wanted = asked.seen.headers["x-sluice-request-id"]
        return [row for row in self.books[1] if row.request_id == wanted]

    def scope(self, asked):
        """The budget of this cell alone; None: nothing was ever set aside in it."""
        named = f"cell={asked.cell.fleet}"
        return next((s for s in self.books[0].scopes.values() if named in s.name), None)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  (a name may go while it is listed)


def connections(pid, port):
    """Count this process's open connections to a port of the loopback."""
    own = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(path.readlink()))
        except FileNotFoundError:
            continue
    address = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}:{port:04X}"
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2] == address and f"socket:[{line[9]}]" in own for line in lines)


def resident_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def in_flight(router):
    """The fleets that the router says are busy."""
    lines = router.http.get("/metrics").text.splitlines()
    return [n for n in lines if n.startswith("sluice_in_flight{") and not n.endswith(" 0.0")]


def error_in(event):
    return json.loads(event.removeprefix(b"data: ")).get("error")

"""Sends the lines of batches: a chunk for each message of the queue, within the router's own app.

A line goes the way of any request of its batch's key: policy, budgets, ledger, receipts. A message
that names no lines asks for a batch's next step (router.batches.sender). What can't be done now is
due again in the table, and the message is done with; a function that dies leaves its message, which
comes again once it is hidden no more, and after five times is put aside.
"""

import asyncio
import functools
import shutil
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from router import entry
from router.app import App
from router.batch_desk import BatchDesk
from router.batches.aws_chunks import Span
from router.batches.pace import LONGEST_MS, hands
from router.batches.port import StoreFull, StoreUnavailable
from router.batches.sender import Sender, Sent
from router.http import Message
from router.settings import FIREHOSE, LAMBDA, Settings, WorkerSettings, needed
from router.workers.batch_settings import pace_of, store_of
from router.workers.kit import Answer, Event, Kit, opened

SPARE_S: Final = 30.0  # of the function's time, beyond the longest line: to write down what it gave
OWN: Final = ("profiles", "prices.yaml")  # of the bundle's config, as `--state` has them


class Malformed(ValueError):  # noqa: N818  (it reads as what it says)
    """No message of ours."""


@dataclass(slots=True)
class Dispatcher:
    """`loop` runs while a message is worked on; between them all stands still."""

    app: App
    sender: Sender
    loop: asyncio.AbstractEventLoop

    def work_on(self, body: str, ends_s: float) -> Sent:
        """Do what a message asks for. Raises Malformed, StoreUnavailable or StoreFull."""
        return self.loop.run_until_complete(self._work_on(body, ends_s))

    async def _work_on(self, body: str, ends_s: float) -> Sent:
        asked = _read(body)
        if isinstance(asked, str):
            await self.sender.step(asked)
            return Sent()
        rules = self.app.runtime.generation.world.policy.rules
        longest_ms = max(rule.settings.limits.deadline_ms for rule in rules)
        if longest_ms > LONGEST_MS:  # no line could be begun, however often it was tried
            return await self.sender.refuse(asked, "deadline_too_long", too_long(longest_ms))
        over_s = ends_s - SPARE_S / 2
        try:
            return await self.sender.chunk(asked, ends_s - longest_ms / 1000 - SPARE_S, over_s)
        finally:
            await self.app.finished()


def too_long(longest_ms: int) -> str:
    """Return why no line can be sent under a policy one of whose rules takes this long."""
    said = f"a rule of the policy lets a request take {longest_ms:,} ms, and the function that "
    return f"{said}sends batches ends after 15 minutes: deadline_ms at most {LONGEST_MS:,}"


def _read(body: str) -> str | Span:
    """Return the batch, or its lines, that a message names."""
    try:
        asked = orjson.loads(body)
        if set(asked) == {"batch"}:
            return str(asked["batch"])
        return Span(str(asked["batch"]), int(asked["first"]), int(asked["last"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise Malformed("a message that is none of ours") from None


def router_settings(settings: WorkerSettings) -> Settings:
    """Return what a router of the stage is started with, which has no server."""
    environment = settings.environment
    stream = needed(environment.get("SLUICE_RECEIPTS"), "SLUICE_RECEIPTS", "a Firehose stream")
    config = settings.fleets.parent
    auth, policy = config / "auth.yaml", environment.get("SLUICE_APPCONFIG")
    return Settings(
        state=settings.state,
        fleets=settings.fleets,
        policy=None if policy else config / "policy.yaml",
        auth_config=auth if auth.exists() else None,
        ledger=f"dynamodb:{settings.table}",
        router_on=LAMBDA,
        environment=environment,
        receipts=f"{FIREHOSE}:{stream}",
        appconfig=f"appconfig:{policy}" if policy else None,
        frozen=True,
    )


def _bring(own: Sequence[str], config: Path, state: Path) -> None:
    """Bring the user's own profiles and prices where a router looks for them, as run.sh does."""
    state.mkdir(parents=True, exist_ok=True)
    for name in own:
        if (config / name).is_dir():
            shutil.copytree(config / name, state / name, dirs_exist_ok=True)
        elif (config / name).exists():
            shutil.copy(config / name, state / name)


def started(app: App, loop: asyncio.AbstractEventLoop) -> None:
    """Let the app live on this loop, as a server would, until the process ends."""
    begun, ends = asyncio.Event(), asyncio.Event()
    told = [{"type": "lifespan.startup"}]

    async def receive() -> Message:
        if not told:
            await ends.wait()
        return told.pop()

    async def send(_message: Message) -> None:
        begun.set()

    living: Coroutine[Any, Any, None] = app({"type": "lifespan"}, receive, send)
    task = loop.create_task(living)

    async def until_begun() -> None:
        waiting = asyncio.ensure_future(begun.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()  # why it could not begin

    loop.run_until_complete(until_begun())


@functools.cache
def _open() -> tuple[Kit, Dispatcher]:
    kit = opened("dispatcher")
    settings = kit.settings
    pace = pace_of(settings.environment)
    _bring(OWN, settings.fleets.parent, settings.state)
    app = entry.build(router_settings(settings))
    loop = asyncio.new_event_loop()
    started(app, loop)
    _, each = hands(pace.at_once)
    sender = Sender(store_of(settings), BatchDesk(app), pace, each, time.time)
    return kit, Dispatcher(app, sender, loop)


def handler(event: Event, context: Any) -> Answer:  # noqa: ANN401 (Lambda's context)
    kit, dispatcher = _open()
    failed: list[dict[str, str]] = []
    with kit.told():
        for record in event["Records"]:
            ends_s = time.time() + context.get_remaining_time_in_millis() / 1000
            if not _done(kit, dispatcher, record["body"], ends_s):
                failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def _done(kit: Kit, dispatcher: Dispatcher, body: str, ends_s: float) -> bool:
    try:
        sent = dispatcher.work_on(body, ends_s)
    except (StoreFull, StoreUnavailable, Malformed) as exc:
        kit.log.error("the message comes again: %s", exc)  # noqa: TRY400  (one line)
        return False
    kit.count("BatchLines", sent.kept)
    kit.count("BatchLinesFailed", sent.failed)
    return True

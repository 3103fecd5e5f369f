"""Alerts of budgets and canaries: each goes to the log, and to a webhook or an SNS topic if there
is one. Never on a request's path.

What is sent is ``{"budget", "value", "period", "ends", "share", "spent_usd", "usd"}``, or of a
canary what ``router.canaries`` says of it; where it is not taken it is sent again, TRIES times in
all.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from backends.cost import NANO
from router.finops.money import exact
from router.ledger.port import Alert
from router.runtime import LOG
from router.sns import Topic
from router.webhook import Webhook

WAITING: Final = 1_000  # alerts; more are logged only
TRIES: Final = 5
FIRST_WAIT_S: Final = 1.0  # doubled after every try
CLOSE_S: Final = 5.0  # what a router that ends gives to what still waits
Message = Mapping[str, object]


class Target(Protocol):
    """Who is told beside the log."""

    async def send(self, message: Mapping[str, object]) -> str | None:
        """Send it once; return why it was not taken, or None."""

    async def aclose(self) -> None: ...


def target_of(where: str) -> Target:
    """Open the webhook of a URL or the topic of an ARN. ValueError: it is neither; MissingPart."""
    return Topic(where) if where.startswith("arn:") else Webhook(where)


class Alerts:
    """`target` None: alerts are logged only."""

    def __init__(
        self,
        target: Target | None,
        *,
        first_wait_s: float = FIRST_WAIT_S,
        close_s: float = CLOSE_S,
    ) -> None:
        self._target = target
        self._queue: asyncio.Queue[tuple[str, Message] | None] = asyncio.Queue()  # None: the end
        self._first_wait_s, self._close_s = first_wait_s, close_s
        self._closing = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None

    def __call__(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            said = "budget %s (%s, %s): %.0f %% of %s is spent"
            usd, share = exact(alert.soft_nano), alert.share * 100
            LOG.warning(said, alert.budget, alert.value, alert.period, share, usd)
            self.tell(f"the alert of budget {alert.budget}", message_of(alert))

    def tell(self, what: str, message: Message) -> None:
        """Send a message, by and by; `what` it is, should that fail. The log has it already."""
        if self._target is None:
            return
        if self._queue.qsize() >= WAITING:
            LOG.error("%s was not sent: too many wait", what)
        else:
            self._queue.put_nowait((what, message))

    def start(self) -> None:
        if self._target is not None:
            sending = self._send_all(self._target)
            self._sender = asyncio.get_running_loop().create_task(sending)

    async def finished(self) -> None:
        """Return once nothing waits to be sent any more."""
        await self._queue.join()

    async def aclose(self) -> None:
        """Send what waits, once each, as far as CLOSE_S goes, and end."""
        if self._sender is None or self._target is None:
            return
        self._closing.set()
        self._queue.put_nowait(None)
        _, unfinished = await asyncio.wait({self._sender}, timeout=self._close_s)
        if unfinished:
            self._sender.cancel()
            await asyncio.wait(unfinished)
            # The end is still in the queue, and the one that was being sent is not.
            LOG.error("%d alerts were not sent: the router ended", self._queue.qsize())
        await self._target.aclose()

    async def _send_all(self, target: Target) -> None:
        while (waiting := await self._queue.get()) is not None:
            what, message = waiting
            failed = await self._send(target, message)
            if failed is not None:
                LOG.error("%s could not be sent: %s", what, failed)
            self._queue.task_done()

    async def _send(self, target: Target, message: Message) -> str | None:
        """Send it until it is taken; return why it wasn't. At the end there is one try left."""
        wait_s = self._first_wait_s
        for tries_left in reversed(range(TRIES)):
            last = self._closing.is_set() or not tries_left
            failed = await target.send(message)
            if failed is None or last:
                break
            try:
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()
            except TimeoutError:
                wait_s *= 2
        return failed


def message_of(alert: Alert) -> Mapping[str, object]:
    """Return what is sent of an alert."""
    return {
        "budget": alert.budget,
        "value": alert.value,
        "period": alert.period,
        "ends": alert.ends,
        "share": alert.share,
        "spent_usd": alert.spent_nano / NANO,
        "usd": alert.soft_nano / NANO,
    }

"""Budget alerts: each goes to the log, and to a webhook if there is one. Never on a request's path.

A webhook gets ``{"budget", "value", "period", "ends", "share", "spent_usd", "usd"}`` by POST and
answers 2xx; else it is tried again, TRIES times in all.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import orjson

from backends.base import BackendError
from backends.cost import NANO
from backends.http1 import Client
from router.ledger.port import Alert
from router.runtime import LOG

WAITING: Final = 1_000  # alerts; more are logged only
TRIES: Final = 5
FIRST_WAIT_S: Final = 1.0  # doubled after every try
TIMEOUT_S: Final = 10.0


class Alerts:
    """`url` None: alerts are logged only. Raises ValueError for a URL that can't be called."""

    def __init__(self, url: str | None, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        headers = {"content-type": "application/json"}
        self._client = None if url is None else Client(url, headers)
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(WAITING)
        self._first_wait_s = first_wait_s
        self._sender: asyncio.Task[None] | None = None

    def __call__(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            said = "budget %s (%s, %s): %.0f %% of $%.2f is spent"
            usd, share = alert.soft_nano / NANO, alert.share * 100
            LOG.warning(said, alert.budget, alert.value, alert.period, share, usd)
            if self._client is not None:
                try:
                    self._queue.put_nowait(alert)
                except asyncio.QueueFull:
                    LOG.error("an alert of budget %s was not sent: too many wait", alert.budget)

    def start(self) -> None:
        if self._client is not None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def aclose(self) -> None:
        """Send what waits, once each, and end."""
        if self._sender is None or self._client is None:
            return
        self._sender.cancel()
        await asyncio.gather(self._sender, return_exceptions=True)
        while not self._queue.empty():
            await self._sent(self._queue.get_nowait())
        await self._client.aclose()

    async def _send_all(self) -> None:
        while True:
            alert = await self._queue.get()
            wait_s = self._first_wait_s
            for _ in range(TRIES):
                if await self._sent(alert):
                    break
                await asyncio.sleep(wait_s)
                wait_s *= 2
            else:
                LOG.error("the alert of budget %s could not be sent", alert.budget)

    async def _sent(self, alert: Alert) -> bool:
        assert self._client is not None
        try:
            answer = await self._client.request("POST", "", _body(alert), timeout_s=TIMEOUT_S)
            await answer.body()
        except BackendError:
            return False
        return 200 <= answer.status < 300  # noqa: PLR2004  (2xx)


def _body(alert: Alert) -> bytes:
    return orjson.dumps(
        {
            "budget": alert.budget,
            "value": alert.value,
            "period": alert.period,
            "ends": alert.ends,
            "share": alert.share,
            "spent_usd": alert.spent_nano / NANO,
            "usd": alert.soft_nano / NANO,
        }
    )

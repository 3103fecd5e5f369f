"""The decision stream as a Firehose stream: each receipt is one record, a line of JSON.

It is sent in a thread, in parallel with the settlement, and once beyond what the client itself
tries again. What can't be sent is lost, told and counted: a receipt is no charge.
"""

import base64
from collections.abc import Callable
from typing import Final

from router.aws_api import Api, AwsFailed
from router.faults import MissingPart
from router.runtime import LOG
from router.teller import Teller

MOST_BYTES: Final = 1000 * 1024  # of a record


class FirehoseReceipts:
    """`lost` counts receipts that could not be sent."""

    def __init__(self, api: Api, stream: str, lost: Callable[[], None]) -> None:
        self._api, self._stream, self._lost = api, stream, lost
        self._teller = Teller(remote=True, what="Firehose")

    def append(self, _at: str, line: bytes) -> None:
        """Begin to send the receipt; an event loop must run."""
        self._teller.later(lambda: self._put(line), self._count)

    async def finished(self) -> None:
        """Return once every receipt is sent, or lost."""
        await self._teller.finished()

    async def aclose(self) -> None:
        await self._teller.aclose()
        self._api.close()

    def _put(self, line: bytes) -> bool:
        if len(line) >= MOST_BYTES:
            LOG.error("a receipt of %d bytes is too long for Firehose", len(line))
            return False
        record = {"Data": base64.b64encode(line + b"\n").decode()}
        try:
            self._api.call("PutRecord", {"DeliveryStreamName": self._stream, "Record": record})
        except (AwsFailed, MissingPart) as exc:
            LOG.error("a receipt could not be sent to Firehose: %s", exc)
            return False
        return True

    def _count(self, sent: bool) -> None:
        if not sent:
            self._lost()

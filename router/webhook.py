"""A webhook that is told by POST, and answers 2xx."""

from collections.abc import Mapping
from typing import Final

import orjson

from backends.base import BackendError
from backends.http1 import Client

TIMEOUT_S: Final = 10.0


class Webhook:
    """Raises ValueError for a URL that can't be called. The URL may be a secret: it is not told."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, {"content-type": "application/json"})

    async def send(self, message: Mapping[str, object]) -> str | None:
        """Send it once; return why it was not taken, or None."""
        body = orjson.dumps(message)
        try:
            answer = await self._client.request("POST", "", body, timeout_s=TIMEOUT_S)
            await answer.body()
        except BackendError as exc:
            return str(exc)
        return None if 200 <= answer.status < 300 else f"it answered {answer.status}"  # noqa: PLR2004  (2xx)

    async def aclose(self) -> None:
        await self._client.aclose()

"""Equal replicas behind several urls: they take turns."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence

from backends.base import Unreachable
from backends.connection import Response, left
from backends.http1 import Client
from backends.urls import Target

REST_S = 1.0  # a url that could not be reached is asked last for so long

Lines = Callable[[Target], bytes]


class Pool:
    """One client for each url; one that can't be reached gives its turn to the next."""

    def __init__(
        self, urls: Sequence[str], headers: Mapping[str, str], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._clients = [Client(url, headers, tls=tls) for url in urls]
        self.rest_until = [0.0] * len(self._clients)
        self._next = -1

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        whole: bool,
        timeout_s: float | None,
        lines: Lines | None = None,
    ) -> Response:
        """Return what the first that can be reached answers. Raises Unreachable if none can be.

        `lines` makes the headers of this request for the url that it is sent to.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        failure = Unreachable("no url")
        for i in self._turn(began):
            client = self._clients[i]
            try:
                return await client.request(
                    "POST",
                    path,
                    body,
                    lines=b"" if lines is None else lines(client.target),
                    whole=whole,
                    timeout_s=left(timeout_s, loop.time() - began),
                )
            except Unreachable as exc:
                self.rest_until[i] = loop.time() + REST_S
                failure = exc
        raise failure

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    def _turn(self, now: float) -> Sequence[int]:
        """Return every url once: the next in turn first, those that rest last."""
        n = len(self._clients)
        if n == 1:
            return (0,)
        self._next = (self._next + 1) % n
        turn = [(self._next + i) % n for i in range(n)]
        return sorted(turn, key=lambda i: self.rest_until[i] > now)

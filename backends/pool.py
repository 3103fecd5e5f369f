"""Equal replicas behind several urls: ``Replicas`` say which is asked first."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from backends.base import Unreachable
from backends.connection import Response, left
from backends.http1 import Client
from backends.replicas import Replicas
from backends.urls import Target

Lines = Callable[[Target], bytes]


class Pool:
    """One client for each url; one that can't be reached leaves the request to the next.

    `places` are the streams that one url carries at once; None: nobody knows. An answer with one of
    the statuses of `another` does the same, where another url is left.
    """

    def __init__(
        self,
        urls: Sequence[str],
        headers: Mapping[str, str],
        *,
        tls: ssl.SSLContext | None = None,
        places: int | None = None,
        another: frozenset[int] = frozenset(),
    ) -> None:
        self._clients = [Client(url, headers, tls=tls) for url in urls]
        self.replicas = Replicas(urls, places)
        self._another = another

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        whole: bool,
        timeout_s: float | None,
        prefix: bytes = b"",
        lines: Lines | None = None,
    ) -> Response:
        """Return what the first that can be reached answers. Raises Unreachable if none can be.

        `lines` makes the headers of this request for the url that it is sent to. It counts at its
        url until its answer is whole, broken or closed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        failure = Unreachable("no url")
        order = self.replicas.in_order(prefix, began)
        for i in order:
            client = self._clients[i]
            self.replicas.started(i)
            try:
                response = await client.request(
                    "POST",
                    path,
                    body,
                    lines=b"" if lines is None else lines(client.target),
                    whole=whole,
                    timeout_s=left(timeout_s, loop.time() - began),
                )
            except Unreachable as exc:
                self.replicas.ended(i)
                self.replicas.unreachable(i, loop.time())
                failure = exc
            except BaseException:
                self.replicas.ended(i)
                raise
            else:
                self.replicas.reached(i)
                response.then(partial(self.replicas.ended, i))
                if response.status not in self._another or i == order[-1]:
                    return response
                response.close()
                self.replicas.unreachable(i, loop.time())
        raise failure

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

"""Any server that speaks the OpenAI API over HTTP: vLLM, llama-server, Ollama, SGLang."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from backends.base import BackendError, Call, Endpoint, Garbled, Reply, Seen, Stream
from backends.connection import Response, left
from backends.dialects import DIALECTS
from backends.openai_answers import answer, is_ok, plain_objection, stream_objection
from backends.pool import Pool
from backends.probe import Probe
from backends.upstream_errors import ANOTHERS_TURN, error_for


class OpenAIHTTP:
    """One fleet. `probes`: one for each url, or none.

    `places` are the streams that one url carries at once; `now_s` (UTC, since 1970) is for a
    Retry-After that is a date.
    """

    def __init__(
        self,
        urls: Sequence[str],
        api_key: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        now_s: Callable[[], float] = time.time,
        places: int | None = None,
        probes: Sequence[Probe] = (),
    ) -> None:
        headers = {"content-type": "application/json", **bearer(api_key)}
        self._pool = Pool(urls, headers, tls=tls, places=places, another=ANOTHERS_TURN)
        self._probes = probes
        self._now_s = now_s

    async def send(self, call: Call) -> Reply:
        response = await self._ask(call, whole=True)
        body = await response.body()
        if not is_ok(response.status):
            raise self._error(response, body)
        if (objection := plain_objection(response.headers)) is not None:
            raise Garbled(objection)
        return Reply(response.status, response.headers, body, answer(body, call.path))

    async def stream(self, call: Call) -> Stream:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await self._ask(call, whole=False)
        if not is_ok(response.status):
            body = await response.body(left(call.timeout_s, loop.time() - began))
            raise self._error(response, body)
        if (objection := stream_objection(response.headers)) is not None:
            response.close()
            raise Garbled(objection)
        return response

    async def probe(self) -> Sequence[Seen]:
        return await asyncio.gather(*(self._look(i) for i in range(len(self._probes))))

    async def aclose(self) -> None:
        await self._pool.aclose()
        for probe in self._probes:
            await probe.aclose()

    async def _look(self, i: int) -> Seen:
        replicas = self._pool.replicas
        seen = await self._probes[i].look(partial(replicas.in_flight, i))
        replicas.saw(i, seen, asyncio.get_running_loop().time())
        return seen

    async def _ask(self, call: Call, *, whole: bool) -> Response:
        return await self._pool.post(
            call.path, call.body, whole=whole, timeout_s=call.timeout_s, prefix=call.prefix
        )

    def _error(self, response: Response, body: bytes) -> BackendError:
        return error_for(response.status, response.headers, body, now_s=self._now_s())


def open_backend(endpoint: Endpoint) -> OpenAIHTTP:
    dialect = DIALECTS.get(endpoint.engine)
    probes: list[Probe] = []
    if dialect is not None and dialect.status:
        key = bearer(endpoint.api_key)
        probes = [Probe(url, key, dialect, endpoint.model) for url in endpoint.urls]
    return OpenAIHTTP(endpoint.urls, endpoint.api_key, places=endpoint.places, probes=probes)


def open_emulated(endpoint: Endpoint) -> OpenAIHTTP:
    """Open a fleet of which nothing real can be seen: it is never probed."""
    return OpenAIHTTP(endpoint.urls, endpoint.api_key, places=endpoint.places)


def bearer(api_key: str | None) -> Mapping[str, str]:
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}

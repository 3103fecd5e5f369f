"""Any server that speaks the OpenAI API over HTTP: vLLM, llama-server, Ollama, SGLang."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from backends.base import (
    BackendError,
    Call,
    Endpoint,
    Garbled,
    Reply,
    Seen,
    Stream,
)
from backends.connection import Response, left
from backends.dialects import DIALECTS
from backends.pool import Pool
from backends.probe import Probe
from backends.upstream_errors import error_for, error_in_answer

# What an answer has to have, by path; of a path that isn't here, any JSON object will do.
_PROMISED = {"/chat/completions": "choices", "/completions": "choices", "/embeddings": "data"}


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
        self._pool = Pool(urls, headers, tls=tls, places=places)
        self._probes = probes
        self._now_s = now_s

    async def send(self, call: Call) -> Reply:
        response = await self._ask(call, whole=True)
        body = await response.body()
        if not _is_ok(response):
            raise self._error(response, body)
        if (objection := _plain_objection(response)) is not None:
            raise Garbled(objection)
        return Reply(response.status, response.headers, body, _answer(body, call.path))

    async def stream(self, call: Call) -> Stream:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await self._ask(call, whole=False)
        if not _is_ok(response):
            body = await response.body(left(call.timeout_s, loop.time() - began))
            raise self._error(response, body)
        if (objection := _stream_objection(response)) is not None:
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


def _is_ok(response: Response) -> bool:
    return 200 <= response.status < 300  # noqa: PLR2004 (HTTP's own)


def _plain_objection(response: Response) -> str | None:
    coding = response.headers.get(b"content-encoding", b"identity")
    return None if coding.lower() == b"identity" else "the answer is compressed, unasked"


def _stream_objection(response: Response) -> str | None:
    kind = response.headers.get(b"content-type", b"").lower()
    if not kind.startswith(b"text/event-stream"):
        return "the answer is not an event stream"
    return _plain_objection(response)


def _answer(body: bytes, path: str) -> Mapping[str, Any]:
    """Return the JSON object that the path promises. Raises what an error in its place means."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Garbled("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise Garbled("the answer is no JSON object")
    promised = _PROMISED.get(path)
    if promised is not None and promised not in value:
        if value.get("error") is not None:
            raise error_in_answer(value["error"])
        raise Garbled(f"the answer has no `{promised}`")
    return value

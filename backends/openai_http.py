"""Any server that speaks the OpenAI API over HTTP: vLLM, llama-server, Ollama, SGLang."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence

from backends.base import BackendError, Call, Endpoint, Garbled, Reply, Stream
from backends.connection import Response, left
from backends.openai_answers import answer, is_ok, plain_objection, stream_objection
from backends.pool import Pool
from backends.upstream_errors import error_for


class OpenAIHTTP:
    """One fleet. `now_s` (UTC, since 1970) is for a Retry-After that is a date."""

    def __init__(
        self,
        urls: Sequence[str],
        api_key: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        headers = {"content-type": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._pool = Pool(urls, headers, tls=tls)
        self._now_s = now_s

    async def send(self, call: Call) -> Reply:
        response = await self._pool.post(call.path, call.body, whole=True, timeout_s=call.timeout_s)
        body = await response.body()
        if not is_ok(response.status):
            raise self._error(response, body)
        if (objection := plain_objection(response.headers)) is not None:
            raise Garbled(objection)
        return Reply(response.status, response.headers, body, answer(body, call.path))

    async def stream(self, call: Call) -> Stream:
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = await self._pool.post(
            call.path, call.body, whole=False, timeout_s=call.timeout_s
        )
        if not is_ok(response.status):
            body = await response.body(left(call.timeout_s, loop.time() - began))
            raise self._error(response, body)
        if (objection := stream_objection(response.headers)) is not None:
            response.close()
            raise Garbled(objection)
        return response

    async def aclose(self) -> None:
        await self._pool.aclose()

    def _error(self, response: Response, body: bytes) -> BackendError:
        return error_for(response.status, response.headers, body, now_s=self._now_s())


def open_backend(endpoint: Endpoint) -> OpenAIHTTP:
    return OpenAIHTTP(endpoint.urls, endpoint.api_key)

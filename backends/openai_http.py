"""Any server that speaks the OpenAI API over HTTP: vLLM, llama-server, Ollama, SGLang."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from backends.base import BackendError, Call, Endpoint, Garbled, Reply, Stream, Unreachable
from backends.connection import Response, left
from backends.http1 import Client
from backends.upstream_errors import error_for, error_in_answer

REST_S = 1.0  # a url that could not be reached is asked last for so long

# What an answer has to have, by path; of a path that isn't here, any JSON object will do.
_PROMISED = {"/chat/completions": "choices", "/completions": "choices", "/embeddings": "data"}


class OpenAIHTTP:
    """One fleet. Its urls take turns; one that can't be reached gives its turn to the next.

    `now_s` (UTC, since 1970) is for a Retry-After that is a date.
    """

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
        self._clients = [Client(url, headers, tls=tls) for url in urls]
        self._rest_until = [0.0] * len(self._clients)
        self._next = -1
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

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()

    async def _ask(self, call: Call, *, whole: bool) -> Response:
        loop = asyncio.get_running_loop()
        began = loop.time()
        failure = Unreachable("no url")
        for i in self._turn(began):
            try:
                return await self._clients[i].request(
                    "POST",
                    call.path,
                    call.body,
                    whole=whole,
                    timeout_s=left(call.timeout_s, loop.time() - began),
                )
            except Unreachable as exc:
                self._rest_until[i] = loop.time() + REST_S
                failure = exc
        raise failure

    def _turn(self, now: float) -> Sequence[int]:
        """Return every url once: the next in turn first, those that rest last."""
        n = len(self._clients)
        if n == 1:
            return (0,)
        self._next = (self._next + 1) % n
        turn = [(self._next + i) % n for i in range(n)]
        return sorted(turn, key=lambda i: self._rest_until[i] > now)

    def _error(self, response: Response, body: bytes) -> BackendError:
        return error_for(response.status, response.headers, body, now_s=self._now_s())


def open_backend(endpoint: Endpoint) -> OpenAIHTTP:
    return OpenAIHTTP(endpoint.urls, endpoint.api_key)


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

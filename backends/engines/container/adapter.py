"""SageMaker's container contract in front of an engine that speaks the OpenAI API. An ASGI app.

GET /ping is 200 while the model is loaded and the engine answers, 503 otherwise. POST /invocations
and POST /v1/chat/completions hand the body on and the answer back, its events as they come. A
caller that hangs up ends the generation. Nothing of a body is ever logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

import orjson

from backends.base import BackendError, TimedOut
from backends.connection import Response
from backends.engines.container.engine import Engine
from backends.engines.container.engine_kinds import OPENAI, BadBody
from backends.engines.container.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ANSWERS = ("/invocations", OPENAI)
BODY_WITHIN_S = 30.0
PROBE_WITHIN_S = 5.0  # llama-server answers /metrics and /slots between two steps
SILENT_S = 600.0  # SageMaker's own limits (60 s, and 8 minutes of a stream) hang up before
READ_ON = 10  # times the limit: so that the sender of a body over it sees the 413
RETRY_AFTER: Headers = [(b"retry-after", b"1")]
_HANDED_BACK = (b"content-type", b"retry-after")


class _Refused(Exception):  # noqa: N818 (says what happened)
    def __init__(self, status: int, code: str, said: str, headers: Headers | None = None) -> None:
        super().__init__(said)
        self.status, self.code, self.headers = status, code, headers or []


class _HungUp(Exception):  # noqa: N818 (says what happened)
    """Nobody is left to be told."""


class Adapter:
    """`draining` True: running answers end, new ones are refused."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.draining = False
        self._engine = engine
        self._settings = settings
        self._at_most = settings.parallel + settings.queue
        self.running = 0  # requests that the engine answers, or holds in its queue

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "websockets and lifespan are switched off"
        try:
            await self._route(scope["method"], scope["path"], receive, send)
        except _Refused as refused:
            body = _error(refused.code, str(refused), refused.status)
            await _answer(send, refused.status, body, refused.headers)
        except _HungUp:
            return

    async def _route(self, method: str, path: str, receive: Receive, send: Send) -> None:
        probes = self._engine.kind.probes
        if path not in {"/ping", *ANSWERS, *probes}:
            known = ", ".join(("/ping", *ANSWERS, *sorted(probes)))
            raise _Refused(404, "not_found", f"there is no such path (known: {known})")
        allowed = "POST" if path in ANSWERS else "GET"
        if method != allowed:
            said = f"this path takes {allowed}"
            headers = [(b"allow", allowed.encode())]
            raise _Refused(405, "method_not_allowed", said, headers)
        if path == "/ping":
            await self._ping(send)
        elif path in ANSWERS:
            await self._invoke(receive, send)
        else:
            await self._probe(path, send)

    async def _ping(self, send: Send) -> None:
        well = not self.draining and await self._engine.serves()
        await _answer(send, 200 if well else 503, b"")

    async def _probe(self, path: str, send: Send) -> None:
        try:
            response = await self._engine.client.request("GET", path, timeout_s=PROBE_WITHIN_S)
            body = await response.body()
        except BackendError as exc:
            raise _failed(exc) from None
        await _answer(send, response.status, body, _handed_back(response))

    async def _invoke(self, receive: Receive, send: Send) -> None:
        body = await _body(receive, self._settings.body_limit_bytes)
        if self.draining or not self._engine.loaded:
            why = "ends" if self.draining else "has not loaded its model"
            raise _Refused(503, "not_ready", f"this replica {why}", RETRY_AFTER)
        if self.running >= self._at_most:
            said = f"{self.running} requests run or wait here already"
            raise _Refused(429, "overloaded", said, RETRY_AFTER)
        try:
            body = self._engine.kind.body(body, self._settings)
        except BadBody as exc:
            raise _Refused(400, "bad_body", str(exc)) from None
        self.running += 1
        try:
            await _unless_hung_up(self._hand_on(body, send), receive)
        finally:
            self.running -= 1

    async def _hand_on(self, body: bytes, send: Send) -> None:
        try:
            response = await self._engine.client.request(
                "POST", OPENAI, body, whole=False, timeout_s=SILENT_S
            )
        except BackendError as exc:
            raise _failed(exc) from None
        try:
            if _is_stream(response):
                await _stream(response, send, self._broken)
            else:
                await _whole(response, send)
        finally:
            response.close()

    def _broken(self) -> str:
        return "this replica ends" if self.draining else "the engine broke off its answer"


async def _stream(response: Response, send: Send, broken: Callable[[], str]) -> None:
    headers = [*_handed_back(response), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        while data := await response.read(SILENT_S):
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except BackendError:
        # no [DONE] and no finish_reason: nobody takes the beginning for the whole
        event = b"data: %b\n\n" % _error("stream_broken", broken(), 502)
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _whole(response: Response, send: Send) -> None:
    try:
        body = await response.body(SILENT_S)
    except BackendError as exc:
        raise _failed(exc) from None
    await _answer(send, response.status, body, _handed_back(response))


def _is_stream(response: Response) -> bool:
    return response.headers.get(b"content-type", b"").lower().startswith(b"text/event-stream")


def _handed_back(response: Response) -> Headers:
    return [(name, response.headers[name]) for name in _HANDED_BACK if name in response.headers]


def _failed(exc: BackendError) -> _Refused:
    status = 504 if isinstance(exc, TimedOut) else 502
    return _Refused(status, "engine_failed", f"the engine did not answer: {exc}")


def _error(code: str, said: str, status: int) -> bytes:
    kind = "upstream_error" if status >= 500 else "invalid_request_error"  # noqa: PLR2004 (5xx)
    return orjson.dumps({"error": {"message": said, "type": kind, "code": code}})


# ---- the caller's side -------------------------------------------------------------------------


async def _answer(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    head = [(b"content-length", b"%d" % len(body)), *(headers or [])]
    if body and not any(name == b"content-type" for name, _ in head):
        head.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive, limit: int) -> bytes:
    """Return the whole body; raise _Refused (408, 413) or _HungUp."""
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while more and size <= READ_ON * limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _HungUp
                part, more = message.get("body", b""), message.get("more_body", False)
                size += len(part)
                if size <= limit:
                    parts.append(part)
    except TimeoutError:
        raise _Refused(408, "request_timeout", "the body did not come in time") from None
    if size > limit:
        said = f"the body is larger than {limit:,} bytes"
        raise _Refused(413, "body_too_large", said, [(b"connection", b"close")])
    return b"".join(parts)


async def _unless_hung_up(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work, or stop it once the caller hangs up."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _HungUp
        task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""SageMaker endpoints, by their OpenAI path or by InvokeEndpoint (with its response stream).

Which way is a setting of the fleet: the OpenAI path takes a bearer token and answers as the
container does; InvokeEndpoint is signed, works in every region and for every container that answers
the OpenAI API on `/invocations`, and its streams come wrapped in AWS's binary events.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence

from backends import sagemaker_errors
from backends.base import (
    BackendError,
    Broken,
    Call,
    Endpoint,
    Garbled,
    Reply,
    SageMakerTarget,
    Seen,
    Stream,
)
from backends.connection import Response, left
from backends.event_stream import Decoder, Message
from backends.http1 import header_lines
from backends.openai_answers import answer, is_events, is_ok, plain_objection, stream_objection
from backends.pool import Lines, Pool
from backends.sagemaker_identity import Identity, Proof, shared
from backends.urls import Target

EVENTS = b"application/vnd.amazon.eventstream"
JSON = "application/json"


class SageMaker:
    """One fleet. Its urls are doors to the same endpoint, which spreads requests by itself.

    `now_s` (UTC, since 1970) is what requests are signed with.
    """

    def __init__(
        self,
        urls: Sequence[str],
        target: SageMakerTarget,
        identity: Identity,
        *,
        tls: ssl.SSLContext | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._pool = Pool(urls, {"content-type": JSON}, tls=tls)
        self._identity = identity
        self._now_s = now_s
        self._invoke = target.invoke
        self._path = f"/endpoints/{target.endpoint}"
        if not target.invoke and target.inference_component is not None:
            self._path += f"/inference-components/{target.inference_component}"
        chosen = _chosen(target) if target.invoke else {}
        self._signed = {"content-type": JSON, **chosen}
        self._chosen_lines = header_lines(chosen)

    async def send(self, call: Call) -> Reply:
        response = await self._asked(call, stream=False)
        if (objection := plain_objection(response.headers)) is not None:
            raise Garbled(objection)
        body = await response.body()
        return Reply(response.status, response.headers, body, answer(body, call.path))

    async def stream(self, call: Call) -> Stream:
        response = await self._asked(call, stream=True)
        objects = _wrapped_objection if self._invoke else stream_objection
        if (objection := objects(response.headers)) is not None:
            response.close()
            raise Garbled(objection)
        return Unwrapped(response) if self._invoke else response

    async def probe(self) -> tuple[Seen, ...]:
        """Nothing that a request would want to know can be asked of the runtime."""
        return ()

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _asked(self, call: Call, *, stream: bool) -> Response:
        """Return an answer with status 2xx; refused credentials are renewed, once."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def rest() -> float | None:
            return left(call.timeout_s, loop.time() - began)

        proof = await self._identity.current(call.timeout_s)
        response = await self._post(call, proof, rest(), stream=stream)
        if is_ok(response.status):
            return response
        body = await response.body(rest())
        if sagemaker_errors.doubts_identity(response.status, response.headers, body):
            again = await self._identity.renewed(proof, rest())
            if again is not None:
                response = await self._post(call, again, rest(), stream=stream)
                if is_ok(response.status):
                    return response
                body = await response.body(rest())
        raise self._error(response, body)

    async def _post(
        self, call: Call, proof: Proof, timeout_s: float | None, *, stream: bool
    ) -> Response:
        if self._invoke:
            path = f"{self._path}/invocations{'-response-stream' if stream else ''}"
            lines = self._signs(proof, path, call.body)
        else:
            path = f"{self._path}/openai/v1{call.path}"
            lines = _bears(proof)
        return await self._pool.post(
            path, call.body, whole=not stream, timeout_s=timeout_s, lines=lines
        )

    def _signs(self, proof: Proof, path: str, body: bytes) -> Lines:
        def lines(to: Target) -> bytes:
            headers = {**self._signed, "host": to.authority}
            whole = to.base_path + path
            added = proof.signer.signed("POST", whole, headers, body, self._now_s())
            return self._chosen_lines + header_lines(added)

        return lines

    def _error(self, response: Response, body: bytes) -> BackendError:
        return sagemaker_errors.error_for(
            response.status, response.headers, body, now_s=self._now_s()
        )


class Unwrapped:
    """The container's bytes, out of the events that SageMaker puts them in."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._decoder = Decoder()
        self._failure: BackendError | None = None

    async def read(self, timeout_s: float | None = None) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self._failure is None:
            raw = await self._response.read(left(timeout_s, loop.time() - began))
            if not raw:
                if self._decoder.partial:
                    raise self._ended(Broken("closed within an event", received=True))
                return b""
            if payload := self._payload(self._decoder.feed(raw)):
                return payload
        raise self._ended(self._failure)

    async def end(self) -> None:
        await self._response.end()

    async def aclose(self) -> None:
        self._response.close()

    def _payload(self, messages: list[Message]) -> bytes:
        """Return what comes before anything that ends the stream, and keep that for later."""
        parts: list[bytes] = []
        for message in messages:
            kind = message.headers.get(":message-type")
            if kind == "event":
                if message.headers.get(":event-type") == "PayloadPart":
                    parts.append(message.payload)
                continue  # other events may come to be: an SDK leaves them out too
            self._failure = sagemaker_errors.in_stream(message)
            return b"".join(parts)
        if self._decoder.failure is not None:
            self._failure = Garbled(self._decoder.failure)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _ended(self, failure: BackendError) -> BackendError:
        self._response.close()
        return failure


def open_backend(endpoint: Endpoint) -> SageMaker:
    """Raises MissingPackage without botocore."""
    if endpoint.sagemaker is None:
        raise ValueError("`kind: sagemaker` needs the name of an endpoint")
    return SageMaker(endpoint.urls, endpoint.sagemaker, shared(endpoint.sagemaker.region))


def _bears(proof: Proof) -> Lines:
    return lambda _to: proof.bearer


def _chosen(target: SageMakerTarget) -> dict[str, str]:
    """Return the headers that say which part of the endpoint is meant."""
    names = {
        "x-amzn-sagemaker-inference-component": target.inference_component,
        "x-amzn-sagemaker-target-variant": target.variant,
        "x-amzn-sagemaker-prefix-aware-id": target.prefix_aware_id,
    }
    return {name: value for name, value in names.items() if value is not None}


def _wrapped_objection(headers: dict[bytes, bytes]) -> str | None:
    if not headers.get(b"content-type", b"").lower().startswith(EVENTS):
        return "the answer is not a stream of SageMaker's events"
    inner = headers.get(b"x-amzn-sagemaker-content-type")
    if inner is not None and not is_events(inner):
        return "the container's answer is not an event stream"
    return plain_objection(headers)

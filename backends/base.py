"""The port that every backend kind fills, and all that can go wrong at it.

Whose fault it is, first:

* BackendError
  + Unreachable       the network or the host: nothing of the request was sent
  + TimedOut          the backend: nothing came in the time it was given
  + Overloaded        the backend: 429, 503, 529; back off for `retry_after_s`
  + ServerFailed      the backend: any other 5xx
  + Broken            the backend or the network: closed before the answer was whole
  + Garbled           the backend: not the HTTP, JSON or event stream it should be
  + Misconfigured     the operator: key, URL, model name or certificate
  + CircuitOpen       nobody: the fleet failed just now and is left alone; nothing was sent
  + AtLimit           nobody: the fleet has no place for one more; nothing was sent
  + ContextExceeded   nobody: the request is too long for this fleet, a larger one may take it
  + Unreadable        nobody, as far as one can tell: a refusal of the request that is no JSON
  + Rejected          the caller: no fleet would take it; the upstream's error goes to the caller

An error is told by its `code`, by `try_elsewhere` and `try_again`, never by its text. The text is
ours alone: no prompt, completion, header or key is ever in it.
"""

# ruff: noqa: N818 (they read as what happened: `except Overloaded`)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol


class BackendError(Exception):
    """One call failed. `backend_at_fault` says whether its circuit breaker should count it,
    `too_much` whether it says that the backend has more than it can do,
    `may_have_worked` whether it may have cost something: False where it was never sent, or refused.
    `try_again`: the same fleet may answer a moment later.
    """

    code: ClassVar[str] = "backend_error"
    try_elsewhere: ClassVar[bool] = True
    try_again: ClassVar[bool] = False
    backend_at_fault: ClassVar[bool] = True
    too_much: ClassVar[bool] = False
    may_have_worked: ClassVar[bool] = True

    def __init__(self, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{self.code}: {detail}")
        self.detail = detail
        self.retry_after_s = retry_after_s


class Unreachable(BackendError):
    code = "unreachable"
    try_again = True
    may_have_worked = False


class TimedOut(BackendError):
    code = "timed_out"
    too_much = True
    try_again = True


class Overloaded(BackendError):
    code = "overloaded"
    too_much = True
    try_again = True
    may_have_worked = False


class ServerFailed(BackendError):
    code = "server_failed"
    try_again = True


class Broken(BackendError):
    """`received` says whether any byte of an answer had come."""

    code = "broken"
    try_again = True

    def __init__(self, detail: str, *, received: bool) -> None:
        super().__init__(detail)
        self.received = received


class Garbled(BackendError):
    code = "garbled"
    try_again = True


class Misconfigured(BackendError):
    code = "misconfigured"
    may_have_worked = False


class CircuitOpen(BackendError):
    code = "open_circuit"
    backend_at_fault = False
    may_have_worked = False


class AtLimit(BackendError):
    code = "at_limit"
    try_again = True
    backend_at_fault = False
    may_have_worked = False


class ContextExceeded(BackendError):
    """What the upstream said of the lengths: None where it said nothing."""

    code = "context_exceeded"
    backend_at_fault = False
    may_have_worked = False

    def __init__(
        self, detail: str, *, n_prompt_tokens: int | None = None, n_ctx: int | None = None
    ) -> None:
        super().__init__(detail)
        self.n_prompt_tokens = n_prompt_tokens
        self.n_ctx = n_ctx


class Unreadable(BackendError):
    """A 4xx in HTML or the like: a proxy's, or the caller's own fault, which must close no lane."""

    code = "unreadable"
    backend_at_fault = False
    may_have_worked = False


class Rejected(BackendError):
    """Carries the upstream's answer to be relayed; the body may quote the prompt: never log it."""

    code = "rejected"
    try_elsewhere = False
    backend_at_fault = False
    may_have_worked = False

    def __init__(self, detail: str, *, status: int, body: bytes) -> None:
        super().__init__(detail)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it is sent. `timeout_s` bounds a plain answer, or a stream's wait to begin."""

    body: bytes = field(repr=False)
    path: str = "/chat/completions"
    timeout_s: float | None = None
    prefix: bytes = field(default=b"", repr=False)  # a digest: equal ones go to the same replica


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole plain answer; `json` is its body, parsed once. Header names are lower case."""

    status: int
    headers: Mapping[bytes, bytes] = field(repr=False)
    body: bytes = field(repr=False)
    json: Mapping[str, Any] = field(repr=False)


class MissingPackage(Exception):
    """A backend can't be opened: its kind needs a package that is not installed. Says which."""


@dataclass(frozen=True, slots=True)
class SageMakerTarget:
    """What is called at SageMaker: an endpoint, or one inference component or variant of it.

    `invoke`: by InvokeEndpoint and its twin with a response stream, not by the OpenAI path;
    `variant` and `prefix_aware_id` go only with it.
    """

    endpoint: str
    region: str
    inference_component: str | None = None
    invoke: bool = False
    variant: str | None = None
    prefix_aware_id: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a fleet is called. Several urls are equal replicas of it.

    `engine`, `model`: what answers there, and under which name. `places`: streams that one url
    carries at once; None: nobody knows.
    """

    urls: tuple[str, ...]
    api_key: str | None = field(default=None, repr=False)
    engine: str = ""
    model: str = ""
    places: int | None = None
    sagemaker: SageMakerTarget | None = None


SEEN_FOR_S = 10.0  # what a probe saw is unknown again after so long without another


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw of one url, in the order of the endpoint's. None: the engine doesn't tell.

    `loading`: it answers, and says that its model isn't there yet. `unknown`: nothing was learnt.
    `others`: requests at the engine that are none of this backend's.
    """

    state: Literal["up", "loading", "down", "unknown"]
    running: int | None = None
    waiting: int | None = None
    others: int | None = None
    kv_used: float | None = None
    warm: bool | None = None


class Stream(Protocol):
    """The bytes of a streamed answer as they come. Close it however it ends."""

    async def read(self, timeout_s: float | None = None) -> bytes:
        """Return all that has come and wasn't read, b"" at the end; wait for at least one byte.

        TimedOut leaves the stream open: read on, or close it. A cancelled read closes it.
        """
        ...

    async def end(self) -> None:
        """After `[DONE]`: keep the connection if the body ends within a moment, else drop it."""
        ...

    async def aclose(self) -> None:
        """Drop the connection at once, which stops the generation; nothing, if all was read."""
        ...


class Backend(Protocol):
    """Everything here raises a BackendError or returns; cancelling closes the connection."""

    async def send(self, call: Call) -> Reply: ...

    async def stream(self, call: Call) -> Stream:
        """Return as soon as a 200 with the headers of an event stream is there."""
        ...

    async def probe(self) -> Sequence[Seen]:
        """Ask every url what it is doing, in bounded time and memory; () where none can be asked.

        Never part of a request. What is found also decides which url a request goes to.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        ...

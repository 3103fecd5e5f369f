"""With what requests to SageMaker of one region prove who sends them, always ready.

A request never waits for credentials, except the first one and one after a long pause: they are
read again behind requests, and with them the bearer token of the OpenAI path.

The token's form is that of AWS's own generator (sagemaker-core 2.27): `sagemaker-api-key-` and, in
base64, the presigned URL of an action that nobody calls. It works no longer than the credentials.
"""

import asyncio
import base64
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from backends.aws_credentials import Chain
from backends.base import Misconfigured, Unreachable
from backends.http1 import header_lines
from backends.sigv4 import Credentials, Signer

SERVICE = "sagemaker"
TOKEN_HOST = "sagemaker.amazonaws.com"  # noqa: S105 (a host, in every region)

READ_S = 60.0  # botocore renews 10 to 15 minutes before the end: what is younger is good
STALE_S = 300.0  # what is older is not used before it was read again
TOKEN_S = 3600  # at most 43,200; the less it lives, the less one that leaks is worth
RENEW_TOKEN_S = 900.0  # and STALE_S later at the latest: two thirds of its life are never used
RENEWED_S = 60.0  # what is refused so soon after it was found is refused for another reason


class Source(Protocol):
    """Gives credentials; both may block. `read` raises Misconfigured."""

    def read(self) -> Credentials: ...

    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """`bearer` is a header line; `read_at` and `minted_at` are on the identity's clock."""

    credentials: Credentials
    signer: Signer = field(repr=False)
    bearer: bytes = field(repr=False)
    read_at: float
    minted_at: float


class Identity:
    """`clock` is monotonic, `now_s` UTC since 1970, both in seconds."""

    def __init__(
        self,
        region: str,
        source: Source,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._region = region
        self._source = source
        self._clock = clock
        self._now_s = now_s
        self._proof: Proof | None = None
        self._looked_at: float | None = None  # anew, not only read again
        self._anew = False
        self._reading: asyncio.Task[Misconfigured | None] | None = None

    async def current(self, timeout_s: float | None = None) -> Proof:
        """Return the proof of now. Raises Misconfigured where there is none, Unreachable where
        it doesn't come in time.
        """
        proof = self._proof
        age = 0.0 if proof is None else self._clock() - proof.read_at
        if proof is None or age > STALE_S:
            return await self._read(timeout_s)
        if age > READ_S:
            self._started()
        return proof

    async def renewed(self, refused: Proof, timeout_s: float | None = None) -> Proof | None:
        """Return another proof than the refused one, or None: a new one would be the same."""
        proof, now = self._proof, self._clock()
        if proof is None or proof.credentials != refused.credentials:
            return await self.current(timeout_s)
        if self._looked_at is not None and now - self._looked_at < RENEWED_S:
            return None
        self._looked_at = now
        self._proof = None
        self._anew = True
        return await self._read(timeout_s)

    async def _read(self, timeout_s: float | None) -> Proof:
        reading = self._started()
        await asyncio.wait({reading}, timeout=timeout_s)  # others wait for it too: it goes on
        if not reading.done():
            raise Unreachable("the AWS credentials don't come in time")
        failure = reading.result()
        if failure is not None:
            raise Misconfigured(failure.detail)
        assert self._proof is not None
        return self._proof

    def _started(self) -> "asyncio.Task[Misconfigured | None]":
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._refresh())
        return self._reading

    async def _refresh(self) -> Misconfigured | None:
        try:
            credentials = await asyncio.to_thread(self._found)
            if self._anew:  # asked for while this was read
                credentials = await asyncio.to_thread(self._found)
        except Misconfigured as exc:
            return exc
        if self._looked_at is None:
            self._looked_at = self._clock()
        self._proof = self._made(credentials, self._proof)
        return None

    def _found(self) -> Credentials:
        anew, self._anew = self._anew, False
        if anew:
            self._source.forget()
        return self._source.read()

    def _made(self, credentials: Credentials, old: Proof | None) -> Proof:
        now = self._clock()
        if (
            old is not None
            and old.credentials == credentials
            and now - old.minted_at < RENEW_TOKEN_S
        ):
            return Proof(credentials, old.signer, old.bearer, now, old.minted_at)
        signer = Signer(credentials, self._region, SERVICE)
        token = bearer_token(signer, self._now_s())
        bearer = header_lines({"authorization": f"Bearer {token}"})
        return Proof(credentials, signer, bearer, now, now)


def bearer_token(signer: Signer, now_s: float) -> str:
    url = signer.presigned("POST", TOKEN_HOST, {"Action": "CallWithBearerToken"}, TOKEN_S, now_s)
    return "sagemaker-api-key-" + base64.b64encode(f"{url}&Version=1".encode()).decode()


# One for each region, as long as some fleet holds it: fleets share their credentials' reads.
_SHARED: weakref.WeakValueDictionary[str, Identity] = weakref.WeakValueDictionary()


def shared(region: str) -> Identity:
    """Return the identity of this process in a region. Raises MissingPackage."""
    identity = _SHARED.get(region)
    if identity is None:
        identity = _SHARED[region] = Identity(region, Chain())
    return identity

"""The public keys of an OIDC issuer: fetched in the background, kept while the issuer is down.

They are fetched anew every REFRESH_S, and where a token names a key that isn't among them: then at
most every AGAIN_AFTER_S, whoever asks. A key that the issuer withdrew is gone with the next fetch.

* FetchFailed   the issuer: out of reach, too slow, too long, or not a set of keys; the text says it
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from backends.base import BackendError
from backends.http1 import Client
from router.auth.rules import JwtRules
from router.auth.urls import url_fault
from router.runtime import LOG

if TYPE_CHECKING:
    from jwt import PyJWK

REFRESH_S = 300.0
RETRY_S = 15.0  # after a fetch that failed
AGAIN_AFTER_S = 10.0
FETCH_S = 5.0  # both documents together
MOST_BYTES = 262_144  # of a document; the largest known sets of keys have some 20 kB
MOST_KEYS = 100
LEAST_RSA_BITS = 2048  # RFC 7518, section 3.3
DISCOVERY = "/.well-known/openid-configuration"

# Of a key only this is read: neither private parts nor what would choose an algorithm.
_PUBLIC = {
    ("RSA", None): ("RS256", ("kty", "n", "e")),
    ("EC", "P-256"): ("ES256", ("kty", "crv", "x", "y")),
    ("OKP", "Ed25519"): ("EdDSA", ("kty", "crv", "x")),
}

Fetch = Callable[[str], Awaitable[bytes]]
KeySet = Mapping[tuple[str | None, str], "PyJWK"]
"""By `kid` and algorithm."""


class FetchFailed(Exception):  # noqa: N818  (what it says)
    pass


class Jwks:
    """The issuer's keys as last fetched. `clock` is monotonic, in seconds."""

    def __init__(self, rules: JwtRules, fetch: Fetch, clock: Callable[[], float]) -> None:
        self.rules = rules
        self._fetch = fetch
        self._clock = clock
        self.raw: bytes | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self.keys: KeySet = {}
        self.failure: str | None = "they were not fetched yet"

    def keep(self, old: "Jwks") -> None:
        """Take over what another one knows of the same issuer."""

        def source(rules: JwtRules) -> tuple[object, ...]:
            return rules.issuer, rules.jwks_url, rules.algorithms

        if source(old.rules) == source(self.rules):
            self.raw, self.keys, self.failure = old.raw, old.keys, old.failure

    def start(self) -> None:
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def stop(self) -> None:
        """End the refreshing; a fetch that others wait for goes on."""
        await _ended(self._refreshing)

    async def aclose(self) -> None:
        await _ended(self._refreshing)
        await _ended(self._fetching)

    async def again(self) -> None:
        """Fetch the keys now, together with whoever else asks, if that wasn't done just now."""
        if self._fetching is None:
            tried_at = self._tried_at
            if tried_at is not None and self._clock() - tried_at < AGAIN_AFTER_S:
                return
            self._tried_at = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._fetched())
        await asyncio.shield(self._fetching)  # a caller who leaves doesn't end it for the others

    async def _refresh(self) -> None:
        while True:
            await self.again()
            await asyncio.sleep(RETRY_S if self.failure else REFRESH_S)

    async def _fetched(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                raw = await self._document()
            if raw != self.raw:  # the same keys stay the same: what they verified stays verified
                self.keys = key_set(raw, self.rules.algorithms)
                self.raw = raw
            self._told(None)
        except FetchFailed as exc:
            self._told(str(exc))
        except TimeoutError:
            self._told(f"no answer in {FETCH_S:g} s")
        except Exception as exc:  # noqa: BLE001  (a bug of ours must not end the refreshing)
            self._told(f"an error of ours, {type(exc).__name__}")
        finally:
            self._fetching = None

    async def _document(self) -> bytes:
        url = self.rules.jwks_url
        if url is None:
            url = jwks_url(await self._fetch(self.rules.issuer.rstrip("/") + DISCOVERY), self.rules)
        return await self._fetch(url)

    def _told(self, failure: str | None) -> None:
        """Write a line where it begins to fail, and where that ends; not at every try."""
        before, self.failure = self.failure, failure
        if failure is not None and failure != before:
            kept = "those known are kept" if self.keys else "no token is accepted until they are"
            LOG.error("the keys of %s can't be had: %s; %s", self.rules.issuer, failure, kept)
        elif failure is None and before is not None:
            LOG.warning("%d keys of %s are known", len(self.keys), self.rules.issuer)


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def fetch(url: str) -> bytes:
    """GET a JSON document of at most MOST_BYTES; no redirect is followed."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    try:
        client = Client(f"{scheme}://{host}", {"accept": "application/json"})
    except ValueError as exc:
        raise FetchFailed(str(exc)) from None
    try:
        response = await client.request("GET", slash + path or "/", whole=False)
        if response.status != 200:  # noqa: PLR2004  (as HTTP says)
            raise FetchFailed(f"status {response.status}")
        raw = b""
        while part := await response.read():
            raw += part
            if len(raw) > MOST_BYTES:
                raise FetchFailed(f"the answer is longer than {MOST_BYTES:,} bytes")
    except (BackendError, ValueError) as exc:  # ValueError: a path that no request may have
        raise FetchFailed(str(exc)) from None
    else:
        return raw
    finally:
        await client.aclose()


def jwks_url(raw: bytes, rules: JwtRules) -> str:
    """Return where the discovery document says that the keys are; raise FetchFailed."""
    said = _object(raw, "the discovery document")
    if said.get("issuer") != rules.issuer:
        raise FetchFailed("the discovery document is another issuer's")
    url = said.get("jwks_uri")
    if not isinstance(url, str):
        raise FetchFailed("the discovery document has no `jwks_uri`")
    objection = url_fault(url)
    if objection is not None:
        raise FetchFailed(f"`jwks_uri` of the discovery document: {objection}")
    return url


def key_set(raw: bytes, algorithms: tuple[str, ...]) -> KeySet:
    """Return the keys that may verify a signature by these algorithms; raise FetchFailed."""
    listed = _object(raw, "the set of keys").get("keys")
    if not isinstance(listed, list):
        raise FetchFailed("the set of keys has no list `keys`")
    found: dict[tuple[str | None, str], PyJWK] = {}
    for jwk in listed[:MOST_KEYS]:
        usable = _usable(jwk, algorithms)
        if usable is not None:
            kid = jwk.get("kid")
            found.setdefault((kid, usable.algorithm_name), usable)
    if not found:
        raise FetchFailed(f"the set has no key that could verify {', '.join(algorithms)}")
    return found


def _usable(jwk: object, algorithms: tuple[str, ...]) -> "PyJWK | None":
    """Return the key, or None if it is not for verifying, of another kind, broken or weak."""
    from jwt import PyJWK  # noqa: PLC0415  (0.3 s: only where tokens are believed)

    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    if not isinstance(jwk.get("kid"), str | None) or not isinstance(jwk.get("kty"), str):
        return None
    crv = jwk.get("crv")
    kind = (jwk["kty"], None if jwk["kty"] == "RSA" else crv if isinstance(crv, str) else None)
    algorithm, public = _PUBLIC.get(kind, (None, ()))
    if algorithm not in algorithms or jwk.get("alg", algorithm) != algorithm:
        return None
    try:
        key = PyJWK({name: jwk[name] for name in public}, algorithm)
    except Exception:  # noqa: BLE001  (whatever is wrong with one key, the others stay good)
        return None
    return key if getattr(key.key, "key_size", LEAST_RSA_BITS) >= _least(algorithm) else None


def _least(algorithm: str | None) -> int:
    return LEAST_RSA_BITS if algorithm == "RS256" else 0


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        said = orjson.loads(raw)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise FetchFailed(f"{what} is no JSON object")
    return said
